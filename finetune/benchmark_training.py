"""What training saves by computing once what no epoch changes: the states of an encoder's frozen layers.

    python finetune/benchmark_training.py configs/whisper_base.yaml --data_dir RAVDESS [--clips 96] [--epochs 2]
        [--json out.json] [any field of the configuration]

The same configuration is trained on the same clips twice in turns: with the states kept (its `num_views`), and plain,
every clip augmented and encoded anew in every epoch.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import _repository  # noqa: F401

from ser_hf.errors import ModelError, exit_code

TURNS = 2
UNTESTED = [
    "--eval_strategy", "no", "--save_strategy", "no", "--logging_strategy", "no", "--load_best_model_at_end", "false",
    "--refit", "false", "--disable_tqdm", "true",
]  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description="Training with kept encoder states against plain training.")
    parser.add_argument("config", help="such as configs/whisper_base.yaml")
    parser.add_argument("--clips", type=int, default=96, help="of the training speakers (default 96)")
    parser.add_argument("--epochs", type=int, default=2, help="(default 2)")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options, settings = parser.parse_known_args()
    return exit_code(lambda: benchmark(options, settings))


def benchmark(options: argparse.Namespace, settings: list[str]) -> None:
    from ser_hf.training.arguments import parse_arguments

    given = [options.config, *settings, *UNTESTED, "--num_train_epochs", str(options.epochs)]
    num_views = parse_arguments([*given, "--output_dir", "unused"])[2].num_views
    if not num_views:
        raise ModelError(f"{options.config} keeps no states: set num_views, such as --num_views 8.")
    taken: dict[str, list[dict]] = {"kept states": [], "plain": []}
    for _ in range(TURNS):
        for name, views in (("kept states", num_views), ("plain", 0)):
            taken[name].append(train(given, views, options.clips))
    rows = {
        name: {what: min(run[what] for run in runs) for what in ("prepare_seconds", "epoch_seconds")}
        for name, runs in taken.items()
    }
    kept, plain = rows["kept states"], rows["plain"]
    print(
        f"{options.clips} clips, {options.epochs} epochs, {num_views} augmented views, {taken['plain'][0]['hardware']}"
    )
    print(f"{'':<14}{'prepared in':>14}{'an epoch':>12}{'clips/s':>10}")
    for name, row in rows.items():
        rate = options.clips / row["epoch_seconds"]
        print(f"{name:<14}{row['prepare_seconds']:>12.1f} s{row['epoch_seconds']:>10.1f} s{rate:>10.1f}")
    ratio = plain["epoch_seconds"] / kept["epoch_seconds"]
    saved = plain["epoch_seconds"] - kept["epoch_seconds"]
    pays = (kept["prepare_seconds"] - plain["prepare_seconds"]) / saved if saved > 0 else float("inf")
    print(
        f"An epoch with kept states is {ratio:.2f} x as fast; keeping them pays after {pays:.1f} epochs of all runs."
    )
    if options.json:
        result = {"clips": options.clips, "epochs": options.epochs, "num_views": num_views, "ratio": ratio, **rows}
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def train(given: list[str], num_views: int, clips: int) -> dict:
    """Seconds of preparation (decoding aside) and of an epoch, without a cache of an earlier run."""
    import datasets
    import numpy as np

    from ser_hf.splits import Fold
    from ser_hf.training.arguments import parse_arguments
    from ser_hf.training.fine_tuning import build_trainer, hardware
    from ser_hf.training.folds import load_data

    with tempfile.TemporaryDirectory() as folder:
        datasets.config.HF_DATASETS_CACHE, before = Path(folder), datasets.config.HF_DATASETS_CACHE
        try:
            arguments = parse_arguments([*given, "--num_views", str(num_views), "--output_dir", folder])
            corpus, fold = load_data(arguments[1])
            rows = np.random.default_rng(0).permutation(fold.train)[:clips].tolist()
            part = replace(corpus, dataset=corpus.dataset.select(rows))
            started = time.perf_counter()
            trainer = build_trainer(*arguments, part, Fold(1, list(range(len(rows))), [], []))
            prepared = time.perf_counter() - started
            seconds = trainer.train().metrics["train_runtime"] / trainer.args.num_train_epochs
            return {"prepare_seconds": prepared, "epoch_seconds": seconds, "hardware": hardware(trainer.args)}
        finally:
            datasets.config.HF_DATASETS_CACHE = before


if __name__ == "__main__":
    sys.exit(main())
