"""The endpoints for programs: `gradio_client`, plain HTTP and MCP. Each gives what the command line prints as JSON."""

from pathlib import Path

import gradio as gr

from ser_hf.classifier import EmotionClassifier
from ser_hf.records import prediction_record, timeline_record

from .batch import predictions
from .timeline import segments_of
from .uploads import explain, open_upload

SCORES = {"type": "object", "additionalProperties": {"type": "number"}, "description": "probability of each emotion"}
PREDICTION = {
    "type": "object",
    "properties": {
        "file": {"type": "string"},
        "label": {"type": "string", "description": "the most probable emotion"},
        "score": {"type": "number", "description": "its probability"},
        "scores": SCORES,
        "uncertain": {"type": "boolean", "description": "the score is below the model's threshold"},
        "duration": {"type": "number", "description": "seconds"},
    },
}
FAILURE = {"type": "object", "properties": {"file": {"type": "string"}, "error": {"type": "string"}}}
NOTHING = {"type": "null"}
SEGMENT = {
    "type": "object",
    "properties": {
        "start": {"type": "number", "description": "seconds"},
        "end": {"type": "number", "description": "seconds"},
        "label": {"anyOf": [{"type": "string"}, NOTHING], "description": "null where there is no speech"},
        "score": {"anyOf": [{"type": "number"}, NOTHING]},
        "scores": {"anyOf": [SCORES, NOTHING]},
        "uncertain": {"type": "boolean"},
    },
}
TIMELINE = {
    "type": "object",
    "properties": {"file": {"type": "string"}, "segments": {"type": "array", "items": SEGMENT}},
}
BATCH = {"type": "array", "items": {"anyOf": [PREDICTION, FAILURE]}}


def add_endpoints(classifier: EmotionClassifier, max_seconds: float) -> None:
    """Adds /predict, /timeline and /batch to the Blocks around it."""

    def predict(file: str) -> dict:
        """The emotion of one clip of speech.

        Args:
            file: A sound file: WAV, MP3, OGG, FLAC, M4A, WebM or MP4.
        """
        try:
            with open_upload(_given(file)) as source:
                return prediction_record(Path(file).name, classifier.predict(source))
        except Exception as error:
            raise _as_message(error) from error

    def timeline(file: str, window: float = 3.0, hop: float = 1.0) -> dict:
        """The emotions of a recording of any length, window by window.

        Args:
            file: A sound file: WAV, MP3, OGG, FLAC, M4A, WebM or MP4.
            window: Seconds that the model listens to at a time.
            hop: Seconds from one window to the next.
        """
        try:
            with open_upload(_given(file)) as source:
                segments = segments_of(classifier, source, window, hop, max_seconds)
                return timeline_record(Path(file).name, segments)
        except Exception as error:
            raise _as_message(error) from error

    def batch(files: list[str]) -> list[dict]:
        """The emotion of each of many clips; a file that cannot be used has an "error" in place of the emotion.

        Args:
            files: Sound files: WAV, MP3, OGG, FLAC, M4A, WebM or MP4.
        """
        try:
            return list(predictions(classifier, _given(files)))
        except Exception as error:
            raise _as_message(error) from error

    file, files = (gr.File(label="sound", file_count=count, visible=False) for count in ("single", "multiple"))
    window_seconds, hop_seconds = (
        gr.Number(value, label=label, visible=False) for label, value in (("window", 3.0), ("hop", 1.0))
    )
    gr.on([], predict, file, typed_json(PREDICTION, "prediction"), api_name="predict")
    gr.on([], timeline, [file, window_seconds, hop_seconds], typed_json(TIMELINE, "timeline"), api_name="timeline")
    gr.on([], batch, files, typed_json(BATCH, "predictions"), api_name="batch")


def typed_json(schema: dict, label: str) -> gr.JSON:
    """A JSON output whose type stands on the API page; never seen on the page itself."""
    component = gr.JSON(label=label, visible=False)
    component.api_info = lambda: schema
    return component


def _given(value):
    if not value:
        raise gr.Error("No file was given: send a sound file.", print_exception=False)
    return value


def _as_message(error: Exception) -> gr.Error:
    """What Gradio hands to the caller."""
    return error if isinstance(error, gr.Error) else gr.Error(explain(error), print_exception=False)
