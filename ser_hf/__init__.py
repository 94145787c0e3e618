"""Recognise emotion in speech with Hugging Face tools, with figures that hold for unseen voices."""

from typing import TYPE_CHECKING

from .errors import AudioError, DatasetError, HubError, ModelError, SerError
from .registration import register_with_transformers

if TYPE_CHECKING:
    from .classifier import EmotionClassifier, Prediction, Segment

__version__ = "0.1.0"
__all__ = [
    "AudioError",
    "DatasetError",
    "EmotionClassifier",
    "HubError",
    "ModelError",
    "Prediction",
    "Segment",
    "SerError",
]

register_with_transformers()


def __getattr__(name: str):
    # torch and transformers take seconds to import: only who asks for the classifier pays for them.
    if name in ("EmotionClassifier", "Prediction", "Segment"):
        from . import classifier

        return getattr(classifier, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
