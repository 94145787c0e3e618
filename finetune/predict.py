"""Labels a folder of clips, a table or a data set of the Hub, of any size: Parquet shards, one row per clip.

    python finetune/predict.py recordings/ --output labels                     a folder, and the folders in it
    python finetune/predict.py calls.csv --output labels --audio_column path   a CSV, TSV or JSON Lines file
    python finetune/predict.py owner/dataset --output labels --model M         from the Hub, with another checkpoint
    accelerate launch --num_processes 4 finetune/predict.py …                  on four GPUs

Stopped and started again, it goes on where it was. The exit code is 1 if a clip could not be used.
"""

import argparse
import logging
import os
import sys

import _repository  # noqa: F401

from ser_hf.errors import exit_code


def main() -> int:
    is_main_process = os.environ.get("RANK", "0") == "0"
    logging.basicConfig(level=logging.INFO if is_main_process else logging.ERROR, format="%(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    parser = argparse.ArgumentParser(description="Label a folder, a table or a data set with a checkpoint.")
    parser.add_argument("source", help="a folder, a CSV, TSV or JSON Lines file, or owner/data set on the Hub")
    parser.add_argument("--output", required=True, help="folder of the labels")
    parser.add_argument("--model", help="a folder or a Hub name (default: the embedded checkpoint)")
    parser.add_argument("--data_dir", help="where a table's relative paths are looked for besides its own folder")
    parser.add_argument("--audio_column", help="table, Hub: where the sound is (default: audio, path, …)")
    parser.add_argument("--dataset_config", help="Hub: which configuration")
    parser.add_argument("--dataset_split", help="Hub: which split (default: all of them)")
    parser.add_argument("--streaming", action="store_true", help="Hub: read row by row, without the whole download")
    parser.add_argument("--batch_size", type=positive, default=16, help="clips heard together (default 16)")
    parser.add_argument("--clips_per_shard", type=positive, default=1000, help="clips in a file (default 1000)")
    options = parser.parse_args()
    failed = 0

    def job() -> None:
        nonlocal failed
        failed = predict(options, is_main_process)

    try:
        return exit_code(job) or int(failed > 0)
    except KeyboardInterrupt:
        print("Stopped: the same command goes on from here.", file=sys.stderr)
        return 130


def predict(options: argparse.Namespace, is_main_process: bool) -> int:
    """The number of clips that could not be used."""
    from ser_hf.labelling import find_clips, format_summary, label_clips

    def clips():
        return find_clips(
            options.source, options.data_dir, audio_column=options.audio_column,
            dataset_config=options.dataset_config, dataset_split=options.dataset_split, streaming=options.streaming,
        )  # fmt: skip

    summary = label_clips(
        options.model, clips, options.output, clips_per_shard=options.clips_per_shard, batch_size=options.batch_size
    )
    if is_main_process:
        print(f"{options.output}: {format_summary(summary)}")
    return summary["failed"]


def positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError(text)
    return number


if __name__ == "__main__":
    sys.exit(main())
