"""Metrics of emotion recognition as `evaluate.Metric` subclasses: nothing is downloaded.

UA, the unweighted accuracy, is the mean recall over the classes: what the field reports, since a class with few clips
counts as much as one with many. WA, the weighted accuracy, is plain accuracy (Schuller et al., Interspeech 2009).
"""

import datasets
import evaluate
import numpy as np
from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support, recall_score

CITATION = "Schuller, Steidl, Batliner: The INTERSPEECH 2009 Emotion Challenge, Interspeech 2009."


class _EmotionMetric(evaluate.Metric):
    """predictions, references: class numbers, (clips,)."""

    def _info(self) -> evaluate.MetricInfo:
        integer = datasets.Value("int64")
        return evaluate.MetricInfo(
            description=type(self).__doc__,
            citation=CITATION,
            inputs_description=_EmotionMetric.__doc__,
            features=datasets.Features({"predictions": integer, "references": integer}),
        )


class UnweightedAccuracy(_EmotionMetric):
    """UA: mean recall over the classes that occur in the references."""

    def _compute(self, predictions, references) -> dict[str, float]:
        present = np.unique(references)
        recall = recall_score(references, predictions, labels=present, average="macro", zero_division=0)
        return {"unweighted_accuracy": float(recall)}


class WeightedAccuracy(_EmotionMetric):
    """WA: share of the clips that are right."""

    def _compute(self, predictions, references) -> dict[str, float]:
        return {"accuracy": float(accuracy_score(references, predictions))}


class EmotionF1(_EmotionMetric):
    """F1 averaged over the classes that occur in the references, plainly (macro) and by their frequency (weighted)."""

    def _compute(self, predictions, references) -> dict[str, float]:
        present = np.unique(references)
        return {
            f"{average}_f1": float(f1_score(references, predictions, labels=present, average=average, zero_division=0))
            for average in ("macro", "weighted")
        }


def emotion_metrics() -> evaluate.CombinedEvaluations:
    """All of the above together: `.compute(predictions=, references=)` → one dict."""
    return evaluate.combine([UnweightedAccuracy(), WeightedAccuracy(), EmotionF1()])


def per_class(references, predictions, labels: list[str]) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and number of clips of each class, by its name."""
    columns = precision_recall_fscore_support(
        references, predictions, labels=range(len(labels)), average=None, zero_division=0
    )
    names = ("precision", "recall", "f1", "clips")
    return {
        label: {name: float(column[number]) for name, column in zip(names, columns, strict=True)}
        for number, label in enumerate(labels)
    }
