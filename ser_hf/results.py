"""What a cross-validation leaves on disk, read back and put together: one JSON and one CSV per fold.

Every figure comes from the CSVs, clip by clip; the JSONs add what the clips cannot tell: settings, sizes, minutes.
"""

import json
import os
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import bootstrap
from sklearn.metrics import confusion_matrix

from .calibration import BINS
from .errors import DatasetError
from .evaluation import Evaluation
from .settings import different_settings
from .splits import LEAKY_PROTOCOLS, PROTOCOLS, Fold, get_fold

FIGURES = ("unweighted_accuracy", "accuracy", "macro_f1", "weighted_f1")
RESAMPLES = 10_000  # of the bootstrap
BOOTSTRAP_SEED = 0
BOOTSTRAP_BATCH = 500  # resamples at once: 500 × 24 speakers × 64 cells of a matrix are 6 MB
CONFIDENCE = 0.95
SAME_FIGURE = 1e-9  # by which a figure of the JSON may miss the one of the CSV


@dataclass(frozen=True)
class FoldResult:
    """One fold: `record` is its JSON, `evaluation` its CSV."""

    number: int
    record: dict
    evaluation: Evaluation

    @property
    def figures(self) -> dict[str, float]:
        """UA, WA and F1, from the CSV."""
        figures = self.evaluation.figures()
        return {name: figures[name] for name in FIGURES}


def fold_numbers(protocol: str, num_folds: int | None, wanted: Sequence[int] | None = None) -> list[int]:
    """The folds that make a complete run: all of them, but for random clips the first, which is one 80/20 split.

    Args:
        wanted: these instead.

    Raises:
        DatasetError: one of those wanted does not exist.
    """
    folds = [Fold(number, [], [], []) for number in range(1, (num_folds or PROTOCOLS[protocol]) + 1)]
    if wanted:
        return sorted({get_fold(folds, number).number for number in wanted})
    return [fold.number for fold in folds][: 1 if protocol in LEAKY_PROTOCOLS else None]


def write_json(path: Path, content: dict) -> None:
    """Written beside its place and moved there: a JSON that is there is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    unfinished.replace(path)


def read_record(folder: Path, number: int) -> dict | None:
    """The JSON of a fold, None where the fold is not finished.

    Raises:
        DatasetError: it is not JSON.
    """
    path = folder / f"fold_{number}.json"
    if not path.is_file() or not path.with_suffix(".csv").is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DatasetError(f"{path} is not JSON ({error}): delete it, and run the fold again.") from error


def read_folds(folder: Path) -> list[FoldResult]:
    """The finished folds in a folder `results/<system>/<protocol>`, in the order of their numbers.

    Raises:
        DatasetError: a file cannot be read, or a fold's two files do not tell the same.
    """
    numbers = sorted(int(found[1]) for path in folder.glob("fold_*.json") if (found := _number_in(path)))
    folds = []
    for number in numbers:
        record = read_record(folder, number)
        if record is None:
            continue
        path = folder / f"fold_{number}.csv"
        fold = FoldResult(number, record, Evaluation.read_csv(path))
        for name, value in fold.figures.items():
            if abs(value - record["test"][name]) > SAME_FIGURE:
                raise DatasetError(
                    f"{path} comes to {name} {value:.4f}, fold_{number}.json beside it says "
                    f"{record['test'][name]:.4f}: they are not of one run. Run the fold again with --overwrite."
                )
        folds.append(fold)
    return folds


def pool(folds: Sequence[FoldResult]) -> Evaluation:
    """The test clips of all folds together.

    Raises:
        DatasetError: the folds do not have the same classes, or a clip is in two of them.
    """
    first = folds[0].evaluation
    for fold in folds:
        if fold.evaluation.labels != first.labels:
            raise DatasetError(
                f"Fold {folds[0].number} has the classes {', '.join(first.labels)}, fold {fold.number} "
                f"{', '.join(fold.evaluation.labels)}: they cannot be put together. Run them with the same data."
            )
    parts = [fold.evaluation for fold in folds]
    files = [file for part in parts for file in part.files]
    if len(set(files)) < len(files):
        twice = next(file for file in files if files.count(file) > 1)
        raise DatasetError(f"The clip {twice} is tested in two folds: the folds are not of one protocol and seed.")
    return Evaluation(
        labels=first.labels,
        files=files,
        speakers=[speaker for part in parts for speaker in part.speakers],
        references=np.concatenate([part.references for part in parts]),
        scores=np.concatenate([part.scores for part in parts]),
        left_out=[item for part in parts for item in part.left_out],
        predicted=np.concatenate([part.predictions for part in parts]),
    )


def speaker_interval(evaluation: Evaluation, seed: int = BOOTSTRAP_SEED) -> tuple[float, float] | None:
    """The bootstrap 95 % interval of UA over speakers: how much of the figure is who happened to be tested.

    Whole speakers are drawn with replacement, as often as there are speakers, since the clips of one speaker are
    right or wrong together (Efron and Tibshirani 1993, section 8.5); the percentiles of the UA of the pooled clips.

    Returns:
        (low, high) as fractions; None for fewer than two speakers, who tell nothing of others.
    """
    speakers = np.asarray(evaluation.speakers)
    names = np.unique(speakers)
    if len(names) < 2:
        return None
    numbers = range(len(evaluation.labels))
    matrices = np.stack(
        [
            confusion_matrix(evaluation.references[mine], evaluation.predictions[mine], labels=numbers)
            for mine in (speakers == name for name in names)
        ]
    )

    def resampled(drawn: np.ndarray, axis: int = -1) -> np.ndarray:
        """(..., speakers) speaker numbers → (...,) UA."""
        return unweighted_accuracy(matrices[np.moveaxis(drawn, axis, -1)].sum(axis=-3))

    result = bootstrap(
        (np.arange(len(names)),),
        resampled,
        n_resamples=RESAMPLES,
        batch=BOOTSTRAP_BATCH,
        vectorized=True,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def unweighted_accuracy(matrix: np.ndarray) -> np.ndarray:
    """(..., classes, classes) counts, rows true → (...,) mean recall over the classes that occur."""
    clips = matrix.sum(axis=-1)
    right = np.diagonal(matrix, axis1=-2, axis2=-1)
    recall = np.divide(right, clips, where=clips > 0, out=np.zeros(clips.shape))
    return recall.sum(axis=-1) / (clips > 0).sum(axis=-1)


def summarize(folds: Sequence[FoldResult]) -> dict:
    """Figures by fold, their mean and standard deviation (n - 1), the pooled figures and the interval of UA.

    Raises:
        DatasetError: there is no fold, or they were not made with the same settings.
    """
    if not folds:
        raise DatasetError("There is no finished fold: run finetune/cross_validate.py.")
    first = folds[0].record
    for fold in folds[1:]:
        changed = different_settings(first["settings"], fold.record["settings"])
        if changed:
            raise DatasetError(
                f"Folds {folds[0].number} and {fold.number} of {first['system']} ({first['protocol_name']}) were made "
                f"with different settings ({changed}): run one of them again with --overwrite."
            )
    by_fold = {fold.number: fold.figures for fold in folds}
    complete = fold_numbers(first["protocol_name"], first["settings"].get("num_folds"))
    pooled = pool(folds)
    figures = pooled.figures()
    interval = speaker_interval(pooled)
    uninterrupted = [fold.record["total_minutes"] for fold in folds if not fold.record.get("resumed")]
    return {
        "system": first["system"],
        "protocol_name": first["protocol_name"],
        "protocol": first["protocol"],
        "dataset": first["dataset"],
        "channel": first["channel"],
        "folds": sorted(by_fold),
        "missing_folds": sorted(set(complete) - set(by_fold)),
        "parameters": first["parameters"],
        "by_fold": {str(number): by_fold[number] for number in sorted(by_fold)},
        "mean": {name: statistics.fmean(row[name] for row in by_fold.values()) for name in FIGURES},
        "standard_deviation": {
            name: statistics.stdev(row[name] for row in by_fold.values()) if len(by_fold) > 1 else None
            for name in FIGURES
        },
        "pooled": {name: figures[name] for name in FIGURES},
        "expected_calibration_error": pooled.calibration(threshold=0.0)["expected_calibration_error"],
        "interval": {
            "of": "unweighted_accuracy of the pooled clips, bootstrap over speakers",
            "confidence": CONFIDENCE,
            "bounds": None if interval is None else list(interval),
            "resamples": RESAMPLES,
            "seed": BOOTSTRAP_SEED,
        },
        "clips": figures["clips"],
        "speakers": figures["speakers"],
        "per_class": figures["per_class"],
        "labels": figures["labels"],
        "confusion_matrix": figures["confusion_matrix"],
        # An interrupted fold's clock began anew when it was resumed, so its minutes are left out.
        "minutes_per_fold": statistics.fmean(uninterrupted) if uninterrupted else None,
        "hardware": sorted({fold.record["hardware"] for fold in folds}),
    }


def format_summary(summary: dict) -> str:
    """The summary as text; a run that is not complete says so in its first line."""
    count, missing = len(summary["folds"]), summary["missing_folds"]
    lines = [
        f"{summary['system']}: {summary['protocol']}; {completeness(summary)}"
        + (f" (missing: {', '.join(map(str, missing))})" if missing else ""),
        f"{'fold':<10}{'UA %':>8}{'WA %':>8}{'F1 %':>8}",
    ]
    for number, row in summary["by_fold"].items():
        lines.append(f"{number:<10}{_percent(row)}")
    lines.append(f"{'mean':<10}{_percent(summary['mean'])}")
    if count > 1:
        lines.append(f"{'± s.d.':<10}{_percent(summary['standard_deviation'])}")
    lines.append(f"{'pooled':<10}{_percent(summary['pooled'])}")
    bounds = summary["interval"]["bounds"]
    speakers = len(summary["speakers"])
    lines.append(
        f"UA, 95 % interval over {speakers} speakers: {100 * bounds[0]:.1f} to {100 * bounds[1]:.1f} %"
        if bounds
        else f"UA has no interval: {speakers} speaker says nothing of others"
    )
    error = 100 * summary["expected_calibration_error"]
    lines.append(f"Expected calibration error of the pooled clips (ECE, {BINS} bins): {error:.2f} %")
    return "\n".join([*lines, "", *_matrix_lines(summary)])


def completeness(summary: dict) -> str:
    """ "6 folds", or where some are missing "4 of 6 folds"."""
    done, missing = len(summary["folds"]), len(summary["missing_folds"])
    if missing:
        return f"{done} of {done + missing} folds"
    return f"{done} fold{'s' * (done > 1)}"


def _number_in(path: Path) -> re.Match | None:
    return re.fullmatch(r"fold_(\d+)\.json", path.name)


def _percent(row: dict[str, float]) -> str:
    return "".join(f"{100 * row[name]:>8.2f}" for name in FIGURES[:3])


def _matrix_lines(summary: dict) -> list[str]:
    """The pooled confusion matrix as text: rows what it is, columns what was said."""
    labels = summary["labels"]
    width = max(map(len, labels)) + 2
    lines = ["is / said".ljust(width) + "".join(f"{label[:8]:>10}" for label in labels)]
    for label, row in zip(labels, summary["confusion_matrix"], strict=True):
        lines.append(f"{label:<{width}}" + "".join(f"{count:>10}" for count in row))
    return lines
