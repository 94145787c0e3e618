"""A checkpoint against labelled clips: predictions by clip, and the figures they come to."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import datasets
import numpy as np
from sklearn.metrics import confusion_matrix
from tqdm import tqdm

from .classifier import EmotionClassifier
from .errors import DatasetError, SerError
from .training.metrics import emotion_metrics, per_class


@dataclass(frozen=True)
class Evaluation:
    """Predictions on labelled clips.

    Attributes:
        labels: the classes, in the order of `scores` and of the rows and columns of the confusion matrix.
        files, speakers: (clips,) names.
        references, scores: (clips,) class numbers and (clips, classes) probabilities.
        left_out: (file, reason) of clips that could not be used.
    """

    labels: list[str]
    files: list[str]
    speakers: list[str]
    references: np.ndarray
    scores: np.ndarray
    left_out: list[tuple[str, str]]

    @property
    def predictions(self) -> np.ndarray:
        return self.scores.argmax(-1)

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

    def write_csv(self, path: Path) -> None:
        """One row per clip: file, speaker, label, predicted, and every score."""
        with path.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(["file", "speaker", "label", "predicted", *self.labels])
            for name, speaker, label, predicted, scores in zip(
                self.files, self.speakers, self.references, self.predictions, self.scores, strict=True
            ):
                names = [self.labels[label], self.labels[predicted]]
                table.writerow([name, speaker, *names, *(f"{score:.6f}" for score in scores)])


def evaluate_classifier(
    classifier: EmotionClassifier, dataset: datasets.Dataset, rows: Sequence[int] | None = None, batch_size: int = 16
) -> Evaluation:
    """Predicts every clip from its file, exactly as the command line and the demo do.

    Args:
        dataset: a corpus with the common columns; its class names must be among the classifier's.
        rows: which clips; all by default.

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
            f"{', '.join(classifier.labels)}. Leave those clips out, or train a model with these classes."
        )
    number = {name: position for position, name in enumerate(classifier.labels)}
    speakers = clips["speaker"] if "speaker" in clips.column_names else ["unknown"] * len(clips)
    file_names = clips["file"] if "file" in clips.column_names else [audio["path"] for audio in clips["audio"]]
    files, said_by, references, scores, left_out = [], [], [], [], []
    results = classifier.stream((audio for audio in clips["audio"]), batch_size=batch_size)
    for position, (_, result) in enumerate(tqdm(results, total=len(clips), desc="Predicting", unit="clip")):
        if isinstance(result, SerError):
            left_out.append((file_names[position], str(result)))
            continue
        files.append(file_names[position])
        said_by.append(speakers[position])
        references.append(number[names[clips[position]["label"]]])
        scores.append([result.scores[label] for label in classifier.labels])
    if not files:
        raise DatasetError(f"None of the {len(left_out)} clips can be used. The first: {left_out[0][1]}")
    return Evaluation(classifier.labels, files, said_by, np.array(references), np.array(scores), left_out)


def format_report(figures: dict, protocol: str) -> str:
    """The figures as text: never without the protocol that they were measured under."""
    speakers = figures["speakers"]
    lines = [
        f"{protocol}: {figures['clips']} clips of {len(speakers)} speakers ({', '.join(speakers)})",
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


def _bare(speaker: str) -> str:
    return str(speaker).lstrip("0") or "0"
