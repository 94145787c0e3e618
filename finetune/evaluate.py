"""Any checkpoint on any labelled data set.

python finetune/evaluate.py --data_dir RAVDESS                        the embedded one, on the speakers it never heard
python finetune/evaluate.py --model M --data_dir D --speakers 1 11 20 21 [--json out.json] [--csv out.csv]
python finetune/evaluate.py --dataset emodb --data_dir D --common_emotions      on the emotions that both sides know
python finetune/evaluate.py --data_dir RAVDESS --conditions [--output RESULTS.md]     with noise, over a telephone, …
"""

import argparse
import json
import logging
import sys
from pathlib import Path

import _repository  # noqa: F401

from ser_hf.corpora.arguments import dataset_parser
from ser_hf.errors import exit_code

MARKERS = "conditions"  # the part of the Markdown file that is written here
FIGURES = ("unweighted_accuracy", "accuracy", "macro_f1", "weighted_f1")


def main() -> int:
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    parser = dataset_parser("Evaluate a checkpoint on a labelled data set.")
    parser.add_argument("--model", help="a folder or a Hub name (default: the embedded checkpoint)")
    parser.add_argument("--speakers", nargs="+", help="whose clips; 'all' for everyone's (default: those never heard)")
    parser.add_argument(
        "--common_emotions",
        action="store_true",
        help="leave out clips of emotions that the model does not know; it may still answer any of its own",
    )
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument(
        "--conditions", action="store_true", help="also with noise, over a telephone, in a room, cut short …"
    )
    parser.add_argument("--output", type=Path, help="Markdown file that the table of --conditions is put into")
    parser.add_argument("--seed", type=int, default=0, help="of the noise and the room of --conditions")
    parser.add_argument(
        "--store", action="store_true", help="put the figures into the checkpoint's metrics.json and model card"
    )
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--csv", type=Path, help="write one row per clip to this file")
    options = parser.parse_args()
    if options.output and not options.conditions:
        parser.error("--output is for the table of --conditions: give both.")
    return exit_code(lambda: evaluate(options))


def evaluate(options: argparse.Namespace) -> None:
    from ser_hf.calibration import format_calibration
    from ser_hf.classifier import EMBEDDED, EmotionClassifier
    from ser_hf.corpora.arguments import load_dataset_arguments
    from ser_hf.errors import ModelError
    from ser_hf.evaluation import (
        evaluate_classifier,
        format_breakdown,
        format_report,
        own_test_speakers,
        rows_of_classes,
        rows_of_speakers,
    )
    from ser_hf.results import write_json

    model = options.model or EMBEDDED
    classifier = EmotionClassifier.from_pretrained(model)
    corpus = load_dataset_arguments(options)
    unheard = own_test_speakers(model, corpus.name) if "speaker" in corpus.dataset.column_names else None
    if options.store and not (Path(model) / "metrics.json").is_file():
        raise ModelError(
            f"{model} has no metrics.json to store figures in: give a folder that finetune/train.py wrote."
        )
    if options.store and options.speakers:
        raise ModelError("--store is for the figures of everyone whom the model never heard: leave --speakers out.")
    wanted = options.speakers or unheard or ["all"]
    everyone = wanted == ["all"]
    rows = list(range(len(corpus.dataset))) if everyone else rows_of_speakers(corpus.dataset, wanted)
    if options.common_emotions:
        clips = len(rows)
        rows, unknown = rows_of_classes(corpus.dataset, rows, classifier.labels)
        if unknown:
            print(f"{clips - len(rows)} of {clips} clips left out, the model does not know: {', '.join(unknown)}")
    evaluation = evaluate_classifier(classifier, corpus.dataset, rows, options.batch_size)
    figures = evaluation.figures()
    heard = sorted(set(figures["speakers"]) - set(unheard)) if unheard is not None else []
    if heard:
        setting = f"{corpus.name}, LEAKY: {len(heard)} of these speakers were there in training or validation"
    elif unheard is not None:
        setting = f"{corpus.name}, unseen speakers"
    elif "speaker" not in corpus.dataset.column_names:
        setting = f"{corpus.name}, speakers unknown; whether the model has heard them is not known"
    else:
        setting = f"{corpus.name}, given speakers; whether the model has heard them is not known"
    breakdown = evaluation.breakdown()
    calibration = evaluation.calibration(classifier.uncertainty_threshold)
    figures = {
        "model": str(options.model or "embedded"), "setting": setting, **figures, "calibration": calibration,
        "breakdown": breakdown,
    }  # fmt: skip
    print(format_report(figures, setting))
    print("\n" + format_calibration(calibration))
    if options.common_emotions:
        common = [name for name, row in figures["per_class"].items() if row["clips"]]
        among = evaluation.among(common).figures()
        figures["among_common_emotions"] = {"emotions": common, **{name: among[name] for name in FIGURES}}
        print(
            f"Where the model may answer only {', '.join(common)}: UA {100 * among['unweighted_accuracy']:.2f} %   "
            f"WA {100 * among['accuracy']:.2f} %   macro F1 {100 * among['macro_f1']:.2f} %"
        )
    print("\n" + format_breakdown(breakdown, folder_of(corpus.dataset)))
    if options.json:
        write_json(options.json, figures)
    if options.csv:
        evaluation.write_csv(options.csv)
    if options.conditions:
        under_conditions(options, classifier, corpus.dataset, rows, figures)
    if options.store:
        store(Path(model) / "metrics.json", corpus.name, figures)


def store(path: Path, corpus: str, figures: dict) -> None:
    """Into metrics.json: calibration and conditions for the corpus of the training, else the figures of a stranger."""
    from ser_hf.report import write_card
    from ser_hf.results import write_json

    metrics = json.loads(path.read_text(encoding="utf-8"))
    if corpus == metrics["dataset"]:
        metrics["calibration"] = {"temperature": metrics["temperature"], **figures["calibration"]}
        metrics.update({name: figures[name] for name in ("conditions",) if name in figures})
    else:
        emotions = [name for name, row in figures["per_class"].items() if row["clips"]]
        names = ("clips", *FIGURES, "among_common_emotions", "conditions")
        found = {name: figures[name] for name in names if name in figures}
        metrics.setdefault("cross_corpus", {})[corpus] = {"emotions": emotions, **found}
    write_json(path, metrics)
    if "corpus" in metrics:  # else the checkpoint is older than this way of writing cards
        write_card(path.parent)


def under_conditions(options: argparse.Namespace, classifier, dataset, rows: list[int], figures: dict) -> None:
    """Adds "conditions" to the figures, condition by condition, and prints and writes their table."""
    from ser_hf.conditions import NOTES, evaluate_conditions, format_conditions
    from ser_hf.markdown import write_between_markers
    from ser_hf.results import write_json
    from ser_hf.settings import portable

    def row(of: dict) -> dict:
        return {name: of[name] for name in ("clips", *FIGURES[:3])}

    measured = figures["conditions"] = {"clean": row(figures)}
    for name, evaluation in evaluate_conditions(classifier, dataset, rows, options.seed, options.batch_size):
        measured[name] = row(evaluation.figures())
        if options.json:
            write_json(options.json, figures)
    table = format_conditions(measured)
    print(f"\n{figures['setting']}, under other conditions\n\n{table}")
    if options.output:
        words = portable(["evaluate.py", *sys.argv[1:]], left_out=("data_dir", "json", "csv", "output", "batch_size"))
        about = [
            f"Model: {Path(figures['model']).name}; {figures['setting']}: {', '.join(figures['speakers'])}.",
            *NOTES,
            f"Command: `python finetune/{' '.join(words)}`",
        ]
        text = "\n\n".join([table, "\n".join(f"- {line}" for line in about)])
        write_between_markers(options.output, text, MARKERS)


def folder_of(dataset) -> str:
    """The folder that the names of the clips start from; empty where they have none."""
    first = dataset[0]
    path = first["audio"]["path"] or ""
    return path.removesuffix(first["file"]) if path.endswith(first.get("file") or path) else ""


if __name__ == "__main__":
    sys.exit(main())
