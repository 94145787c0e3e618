"""A checkpoint against labelled clips: predictions by clip, and the figures they come to."""

import csv
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import datasets
import numpy as np
from sklearn.metrics import confusion_matrix
from tqdm import tqdm

from .calibration import calibration_figures
from .classifier import EmotionClassifier
from .errors import DatasetError, SerError
from .training.metrics import emotion_metrics, per_class

CSV_COLUMNS = ("file", "speaker", "label", "predicted")  # and then a score for every class
GROUPINGS = ("gender", "intensity", "statement")  # what errors are counted by, where a corpus has the column
VALUES_SHOWN = 30  # speakers, or statements, in a report: those with the most errors
UNKNOWN = "unknown"  # the speaker of every clip where a data set names none
MISTAKES_SHOWN = 10  # of the worst mistakes, and of the pairs of emotions, in a report


@dataclass(frozen=True)
class Evaluation:
    """Predictions on labelled clips.

    Attributes:
        labels: the classes, in the order of `scores` and of the rows and columns of the confusion matrix.
        files, speakers: (clips,) names.
        references, scores: (clips,) class numbers and (clips, classes) probabilities.
        left_out: (file, reason) of clips that could not be used.
        predicted: (clips,) class numbers where they are known apart from the scores: a CSV's scores are rounded, and
            two that were nearly equal may read as equal.
        groups: column of the corpus → (clips,) its values, for those of GROUPINGS that there are.
    """

    labels: list[str]
    files: list[str]
    speakers: list[str]
    references: np.ndarray
    scores: np.ndarray
    left_out: list[tuple[str, str]]
    predicted: np.ndarray | None = None
    groups: dict[str, list[str]] = field(default_factory=dict)

    @property
    def predictions(self) -> np.ndarray:
        return self.scores.argmax(-1) if self.predicted is None else self.predicted

    def figures(self) -> dict:
        """UA, WA, F1, by class, and the confusion matrix (rows: what it is, columns: what was said)."""
        numbers = range(len(self.labels))
        matrix = confusion_matrix(self.references, self.predictions, labels=numbers)
        return {
            **emotion_metrics().compute(predictions=self.predictions, references=self.references),
            "clips": len(self.files),
            "speakers": sorted(set(self.speakers)),
            "per_class": per_class(self.references, self.predictions, self.labels),
            "labels": self.labels,
            "confusion_matrix": matrix.tolist(),
            "left_out": [list(item) for item in self.left_out],
        }

    def calibration(self, threshold: float) -> dict:
        """How far the scores can be believed, as `calibration_figures` returns it.

        Args:
            threshold: the score below which an answer counts as uncertain; 0: none does.
        """
        confidence = np.take_along_axis(self.scores, self.predictions[:, None], axis=1)[:, 0]
        return calibration_figures(confidence, self.predictions == self.references, threshold)

    def among(self, labels: Sequence[str]) -> "Evaluation":
        """What the model says where it may answer these classes alone: the scores of the others are taken away."""
        allowed = np.isin(self.labels, list(labels))
        scores = np.where(allowed, self.scores, 0.0)
        scores /= np.maximum(scores.sum(-1, keepdims=True), np.finfo(float).tiny)
        return replace(self, scores=scores, predicted=np.where(allowed, self.scores, -1.0).argmax(-1))

    def breakdown(self) -> dict:
        """Where the errors are: by pair of emotions, by speaker and by each of `groups`, and the worst of them.

        Returns:
            "pairs": the confused emotions, the most frequent first, with the number and the share of the true one's
            clips; "by": grouping → value → clips, errors, accuracy and UA (over the emotions that occur there);
            "worst_mistakes": wrong clips, the surest first.
        """
        wrong = np.flatnonzero(self.predictions != self.references)
        pairs = Counter(zip(self.references[wrong].tolist(), self.predictions[wrong].tolist(), strict=True))
        clips = np.bincount(self.references, minlength=len(self.labels))
        surest = wrong[np.argsort(-self.scores[wrong, self.predictions[wrong]], kind="stable")]
        return {
            "pairs": [
                {"label": self.labels[i], "predicted": self.labels[j], "errors": n, "share": n / int(clips[i])}
                for (i, j), n in sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
            ],
            "by": {name: self._by(values) for name, values in {"speaker": self.speakers, **self.groups}.items()},
            "worst_mistakes": [
                {
                    "file": self.files[clip],
                    "label": self.labels[self.references[clip]],
                    "predicted": self.labels[self.predictions[clip]],
                    "score": float(self.scores[clip, self.predictions[clip]]),
                    "score_of_label": float(self.scores[clip, self.references[clip]]),
                }
                for clip in surest[:MISTAKES_SHOWN]
            ],
        }

    def _by(self, values: Sequence[str]) -> dict[str, dict[str, float]]:
        """Value → clips, errors, accuracy, UA; in the order of the values."""
        table, right = {}, self.predictions == self.references
        for value in sorted(set(values)):
            mine = np.array([other == value for other in values])
            present = np.unique(self.references[mine])
            recall = [float(right[mine & (self.references == label)].mean()) for label in present]
            table[value] = {
                "clips": int(mine.sum()),
                "errors": int((mine & ~right).sum()),
                "accuracy": float(right[mine].mean()),
                "unweighted_accuracy": float(np.mean(recall)),
            }
        return table

    def write_csv(self, path: Path) -> None:
        """One row per clip: file, speaker, label, predicted, and every score."""
        with path.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow([*CSV_COLUMNS, *self.labels])
            for name, speaker, label, predicted, scores in zip(
                self.files, self.speakers, self.references, self.predictions, self.scores, strict=True
            ):
                names = [self.labels[label], self.labels[predicted]]
                table.writerow([name, speaker, *names, *(f"{score:.6f}" for score in scores)])

    @classmethod
    def read_csv(cls, path: Path) -> "Evaluation":
        """What `write_csv` wrote, but for the clips left out.

        Raises:
            DatasetError: the file is not such a table.
        """
        with path.open(newline="", encoding="utf-8") as file:
            table = csv.reader(file)
            header = next(table, [])
            rows = list(table)
        labels = header[len(CSV_COLUMNS) :]
        number = {label: position for position, label in enumerate(labels)}
        if tuple(header[: len(CSV_COLUMNS)]) != CSV_COLUMNS or not rows:
            raise DatasetError(f"{path} is no table of predictions: {', '.join(CSV_COLUMNS)} and scores are expected.")
        try:
            files, speakers, references, predicted, *scores = zip(*rows, strict=True)
            return cls(
                labels=labels,
                files=list(files),
                speakers=list(speakers),
                references=np.array([number[label] for label in references]),
                scores=np.array(scores, dtype=float).T.reshape(len(rows), len(labels)),
                left_out=[],
                predicted=np.array([number[label] for label in predicted]),
            )
        except (KeyError, ValueError) as error:
            raise DatasetError(
                f"{path} is damaged ({error}): write it again with the command that made it."
            ) from error


def evaluate_classifier(
    classifier: EmotionClassifier,
    dataset: datasets.Dataset,
    rows: Sequence[int] | None = None,
    batch_size: int = 16,
    sources: Iterable | None = None,
    description: str = "Predicting",
) -> Evaluation:
    """Predicts every clip from its file, exactly as the command line and the demo do.

    Args:
        dataset: a corpus with the common columns; its class names must be among the classifier's.
        rows: which clips; all by default.
        sources: what is heard in place of the clips' files, one for each, such as (array, rate).
        description: for the progress bar.

    Raises:
        DatasetError: a class that the model does not know, or no clip that can be used.
    """
    clips = dataset if rows is None else dataset.select(rows)
    names = dataset.features["label"].names
    occurring = {names[label] for label in clips["label"]}
    unknown = sorted(occurring - set(classifier.labels))
    if unknown:
        raise DatasetError(
            f"The data set has clips of {', '.join(unknown)}, which the model does not know: it knows "
            f"{', '.join(classifier.labels)}. Leave those clips out (finetune/evaluate.py --common_emotions), or "
            "train a model with these classes."
        )
    number = {name: position for position, name in enumerate(classifier.labels)}
    labels = list(clips["label"])
    speakers = clips["speaker"] if "speaker" in clips.column_names else [UNKNOWN] * len(clips)
    file_names = clips["file"] if "file" in clips.column_names else [audio["path"] for audio in clips["audio"]]
    columns = {name: clips[name] for name in GROUPINGS if name in clips.column_names}
    groups: dict[str, list[str]] = {name: [] for name in columns}
    files, said_by, references, scores, left_out = [], [], [], [], []
    results = classifier.stream(clips["audio"] if sources is None else sources, batch_size=batch_size)
    for position, (_, result) in enumerate(tqdm(results, total=len(clips), desc=description, unit="clip")):
        if isinstance(result, SerError):
            left_out.append((file_names[position], str(result)))
            continue
        files.append(file_names[position])
        said_by.append(speakers[position])
        for name, values in columns.items():
            groups[name].append(str(values[position]))
        references.append(number[names[labels[position]]])
        scores.append([result.scores[label] for label in classifier.labels])
    if not files:
        raise DatasetError(f"None of the {len(left_out)} clips can be used. The first: {left_out[0][1]}")
    return Evaluation(
        classifier.labels, files, said_by, np.array(references), np.array(scores), left_out, groups=groups
    )


def format_report(figures: dict, protocol: str) -> str:
    """The figures as text: never without the protocol that they were measured under."""
    speakers = figures["speakers"]
    of_whom = f"of {len(speakers)} speaker{'s' * (len(speakers) > 1)} ({', '.join(speakers)})"
    if speakers == [UNKNOWN]:
        of_whom = "of unknown speakers"
    lines = [
        f"{protocol}: {figures['clips']} clips {of_whom}",
        f"UA {100 * figures['unweighted_accuracy']:.2f} %   WA {100 * figures['accuracy']:.2f} %   "
        f"macro F1 {100 * figures['macro_f1']:.2f} %   weighted F1 {100 * figures['weighted_f1']:.2f} %",
        "",
        f"{'emotion':<12}{'precision':>10}{'recall':>10}{'F1':>10}{'clips':>8}",
    ]
    for label, row in figures["per_class"].items():
        lines.append(
            f"{label:<12}{row['precision']:>10.3f}{row['recall']:>10.3f}{row['f1']:>10.3f}{row['clips']:>8.0f}"
        )
    if figures["left_out"]:
        lines += ["", f"{len(figures['left_out'])} clips left out:", *(": ".join(i) for i in figures["left_out"])]
    return "\n".join(lines)


def format_breakdown(breakdown: dict, folder: str = "") -> str:
    """The breakdown as text.

    Args:
        folder: where the files of the worst mistakes lie, so that one can listen to them.
    """
    pairs, mistakes = breakdown["pairs"], breakdown["worst_mistakes"]
    if not pairs:
        return "No clip was named wrongly."
    lines = ["Errors by emotion", f"{'is':<12}{'was called':<12}{'errors':>8}{'of its clips':>14}"]
    for row in pairs[:MISTAKES_SHOWN]:
        lines.append(f"{row['label']:<12}{row['predicted']:<12}{row['errors']:>8}{100 * row['share']:>12.1f} %")
    if len(pairs) > MISTAKES_SHOWN:
        rest = sum(row["errors"] for row in pairs[MISTAKES_SHOWN:])
        lines.append(f"{rest} more errors in {len(pairs) - MISTAKES_SHOWN} other pairs")
    for grouping, table in breakdown["by"].items():
        width = max(map(len, table)) + 2
        lines += ["", f"Errors by {grouping}", f"{'':<{width}}{'errors':>8}{'clips':>8}{'WA %':>8}{'UA %':>8}"]
        worst = sorted(table, key=lambda value: -table[value]["errors"])[:VALUES_SHOWN]
        for value in (value for value in table if value in worst):
            row = table[value]
            accuracies = f"{100 * row['accuracy']:>8.1f}{100 * row['unweighted_accuracy']:>8.1f}"
            lines.append(f"{value:<{width}}{row['errors']:>8}{row['clips']:>8}{accuracies}")
        if len(table) > len(worst):
            lines.append(f"and {len(table) - len(worst)} more with no more errors than these")
    place = f", in {folder}" if folder else ""
    lines += ["", f"The worst mistakes: wrong and sure of it{place}"]
    for row in mistakes:
        said = f"{row['predicted']} ({row['score']:.2f}), is {row['label']} ({row['score_of_label']:.2f})"
        lines.append(f"{row['file']}: {said}")
    return "\n".join(lines)


def own_test_speakers(model: str | Path, corpus_name: str) -> list[str] | None:
    """The speakers that a checkpoint of ours never heard, from the metrics.json beside it; None where it has none."""
    path = Path(model) / "metrics.json"
    if not path.is_file():
        return None
    metrics = json.loads(path.read_text(encoding="utf-8"))
    return metrics["test"]["speakers"] if metrics.get("dataset") == corpus_name else None


def rows_of_speakers(dataset: datasets.Dataset, speakers: Sequence[str]) -> list[int]:
    """Row numbers of these speakers' clips; "1" and "01" are the same speaker.

    Raises:
        DatasetError: one of them is not in the data set.
    """
    known = {_bare(name): name for name in dataset["speaker"]}
    missing = [name for name in speakers if _bare(name) not in known]
    if missing:
        raise DatasetError(
            f"The data set has no speaker {', '.join(missing)}; it has {', '.join(sorted(known.values()))}."
        )
    wanted = {known[_bare(name)] for name in speakers}
    return [row for row, speaker in enumerate(dataset["speaker"]) if speaker in wanted]


def rows_of_classes(
    dataset: datasets.Dataset, rows: Sequence[int], classes: Sequence[str]
) -> tuple[list[int], list[str]]:
    """Those of the rows whose class is among `classes`, and the names of the classes that occur and are not.

    Raises:
        DatasetError: no row is left.
    """
    names, labels = dataset.features["label"].names, list(dataset["label"])
    occurring = {names[labels[row]] for row in rows}
    kept = [row for row in rows if names[labels[row]] in classes]
    if not kept:
        raise DatasetError(
            f"The data set and the model have no emotion in common: {', '.join(sorted(occurring)) or 'none'} here, "
            f"the model knows {', '.join(classes)}."
        )
    return kept, sorted(occurring - set(classes))


def _bare(speaker: str) -> str:
    return str(speaker).lstrip("0") or "0"
