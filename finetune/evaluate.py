"""Any checkpoint on any labelled data set.

python finetune/evaluate.py --data_dir RAVDESS                        the embedded one, on the speakers it never heard
python finetune/evaluate.py --model M --data_dir D --speakers 1 11 20 21 [--json out.json] [--csv out.csv]
"""

import argparse
import json
import logging
import sys
from pathlib import Path

import _repository  # noqa: F401

from ser_hf.errors import exit_code


def main() -> int:
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    parser = argparse.ArgumentParser(description="Evaluate a checkpoint on a labelled data set.")
    parser.add_argument("--model", help="a folder or a Hub name (default: the embedded checkpoint)")
    parser.add_argument("--dataset", default="ravdess", help="name of the corpus (default: ravdess)")
    parser.add_argument("--data_dir", help="its folder (default: SER_DATA_DIR, else it is downloaded)")
    parser.add_argument("--channel", default="speech", choices=["speech", "song", "both"], help="of RAVDESS")
    parser.add_argument("--speakers", nargs="+", help="whose clips; 'all' for everyone's (default: those never heard)")
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--csv", type=Path, help="write one row per clip to this file")
    options = parser.parse_args()
    return exit_code(lambda: evaluate(options))


def evaluate(options: argparse.Namespace) -> None:
    from ser_hf.classifier import EMBEDDED, EmotionClassifier
    from ser_hf.corpora import load_corpus
    from ser_hf.evaluation import (
        evaluate_classifier,
        format_breakdown,
        format_report,
        own_test_speakers,
        rows_of_speakers,
    )

    model = options.model or EMBEDDED
    classifier = EmotionClassifier.from_pretrained(model)
    corpus = load_corpus(
        options.dataset, options.data_dir, **({"channel": options.channel} if options.dataset == "ravdess" else {})
    )
    unheard = own_test_speakers(model, corpus.name)
    wanted = options.speakers or unheard or ["all"]
    everyone = wanted == ["all"]
    rows = list(range(len(corpus.dataset))) if everyone else rows_of_speakers(corpus.dataset, wanted)
    evaluation = evaluate_classifier(classifier, corpus.dataset, rows, options.batch_size)
    figures = evaluation.figures()
    heard = sorted(set(figures["speakers"]) - set(unheard)) if unheard is not None else []
    if heard:
        setting = f"{corpus.name}, LEAKY: {len(heard)} of these speakers were there in training or validation"
    elif unheard is not None:
        setting = f"{corpus.name}, unseen speakers"
    else:
        setting = f"{corpus.name}, given speakers; whether the model has heard them is not known"
    breakdown = evaluation.breakdown()
    figures = {"model": str(options.model or "embedded"), "setting": setting, **figures, "breakdown": breakdown}
    print(format_report(figures, setting))
    print("\n" + format_breakdown(breakdown, folder_of(corpus.dataset)))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if options.csv:
        evaluation.write_csv(options.csv)


def folder_of(dataset) -> str:
    """The folder that the names of the clips start from; empty where they have none."""
    first = dataset[0]
    path = first["audio"]["path"] or ""
    return path.removesuffix(first["file"]) if path.endswith(first.get("file") or path) else ""


if __name__ == "__main__":
    sys.exit(main())
