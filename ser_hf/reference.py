"""Reference scores: what a checkpoint answers on clips that can be made again, so that a copy can be held to it."""

import copy
import json
from pathlib import Path

import numpy as np

from .audio import SAMPLING_RATE
from .errors import ModelError

REFERENCE_FILE = "reference_scores.json"
CLIPS = ({"seed": 0, "seconds": 0.8}, {"seed": 1, "seconds": 2.1}, {"seed": 2, "seconds": 4.3})
TOLERANCE = 1e-4  # of a score: the same network on another machine
SILENCE_SECONDS = 0.3  # at each end, so that trimming has something to do
HARMONICS = 12
SYLLABLE_HZ = 4.0


def synthetic_clip(seed: int, seconds: float) -> np.ndarray:
    """(samples,) float32 at 16 kHz: a voice-like hum with syllables and noise between silent ends.

    RandomState, since NumPy keeps its stream for ever; rounded to 16 bits, so that a WAV file holds it unchanged.
    """
    random = np.random.RandomState(seed)
    time = np.arange(round(seconds * SAMPLING_RATE)) / SAMPLING_RATE
    pitch = random.uniform(90, 260) * (
        1 + random.uniform(0.05, 0.3) * np.sin(2 * np.pi * random.uniform(0.3, 2) * time)
    )
    phase = 2 * np.pi * np.cumsum(pitch) / SAMPLING_RATE
    loudness = random.uniform(0.05, 1, HARMONICS) / np.arange(1, HARMONICS + 1)
    voice = sum(level * np.sin(k * phase) for k, level in enumerate(loudness, 1))
    voice = voice * (0.2 + np.abs(np.sin(np.pi * SYLLABLE_HZ * time)))
    voice = 0.3 * voice / np.abs(voice).max() + 0.01 * random.standard_normal(len(time))
    silence = np.zeros(round(SILENCE_SECONDS * SAMPLING_RATE))
    samples = np.concatenate([silence, voice, silence])
    return (np.round(samples * 2**15) / 2**15).astype(np.float32)


def reference_of(classifier) -> dict:
    """What `classifier` answers on the reference clips: "clips", how each is made, and "scores", label → score."""
    clips = [(synthetic_clip(**clip), SAMPLING_RATE) for clip in CLIPS]
    return {"clips": list(CLIPS), "scores": [classifier.predict(clip).scores for clip in clips]}


def write_reference_scores(folder: str | Path, model, extractor) -> None:
    """The scores of the model in memory → reference_scores.json beside its checkpoint in `folder`.

    The model's weights are rounded as `save_checkpoint` rounds them; nothing is read from the folder, since these
    scores are what its files are to be held to.
    """
    from .classifier import EmotionClassifier

    # A fresh network: the one that was trained may still compute in 16 bits.
    rounded = type(model)(copy.deepcopy(model.config))
    weights = model.state_dict()
    rounded.load_state_dict(
        {n: w.cpu().half().float() if w.is_floating_point() else w.cpu() for n, w in weights.items()}
    )
    _write(folder, reference_of(EmotionClassifier(rounded, extractor, device="cpu")))


def read_reference_scores(folder: str | Path) -> tuple[dict, bool]:
    """The reference of a checkpoint, and whether it had to be made just now, from the checkpoint's own files.

    Raises:
        ModelError: the file is damaged, or there is none and the checkpoint cannot be loaded.
    """
    path = Path(folder) / REFERENCE_FILE
    if not path.is_file():
        from .classifier import EmotionClassifier

        _write(folder, reference_of(EmotionClassifier.from_pretrained(folder, device="cpu")))
        return json.loads(path.read_text(encoding="utf-8")), True
    try:
        reference = json.loads(path.read_text(encoding="utf-8"))
        if len(reference["clips"]) != len(reference["scores"]) or not reference["clips"]:
            raise KeyError("scores")
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{path} is damaged: delete it, and the scores of the checkpoint as it is now take its place."
        ) from error
    return reference, False


def _write(folder: str | Path, reference: dict) -> None:
    text = json.dumps(reference, indent=1, ensure_ascii=False)
    (Path(folder) / REFERENCE_FILE).write_text(text + "\n", encoding="utf-8")
