"""Results as JSON objects and CSV tables, the same from the command line and from the demo."""

import csv
from collections.abc import Iterable
from typing import TextIO

from .classifier import Prediction, Segment
from .errors import SerError


def prediction_record(file: str, result: Prediction | SerError) -> dict:
    """The JSON object of one file: the prediction, or the error that it gave."""
    if isinstance(result, SerError):
        return {"file": file, "error": str(result)}
    return {"file": file, **result.to_dict()}


def timeline_record(file: str, segments: Iterable[Segment]) -> dict:
    """The JSON object of one recording."""
    return {"file": file, "segments": [segment.to_dict() for segment in segments]}


def write_predictions(records: Iterable[dict], labels: list[str], file: TextIO) -> None:
    """One row for each `prediction_record`; `labels` are the columns of the probabilities."""
    table = csv.writer(file)
    table.writerow(["file", "label", "score", "uncertain", "duration", "error", *labels])
    for record in records:
        scores = record.get("scores", {})
        row = [record.get(name, "") for name in ("file", "label", "score", "uncertain", "duration", "error")]
        row[3] = str(row[3]).lower()
        table.writerow(row + [scores.get(label, "") for label in labels])


def write_segments(segments: Iterable[Segment], labels: list[str], file: TextIO) -> int:
    """One row for each segment, written as it comes; what is not known where nobody speaks stays empty.

    Returns:
        The number of segments.
    """
    table = csv.writer(file)
    table.writerow(["start", "end", "label", "score", "uncertain", *labels])
    count = 0
    for segment in segments:
        scores = segment.scores or {}
        row = [f"{segment.start:.3f}", f"{segment.end:.3f}", segment.label or "", segment.score or ""]
        row.append(str(segment.uncertain).lower() if segment.label else "")
        table.writerow(row + [scores.get(label, "") for label in labels])
        file.flush()
        count += 1
    return count
