"""Load a checkpoint once; predict files, batches, and timelines of long recordings."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from transformers import AutoConfig, AutoFeatureExtractor, AutoModelForAudioClassification
from transformers.utils import logging as transformers_logging

from . import audio, modeling  # noqa: F401  (modeling registers our model types with the Auto classes)
from .errors import AudioError, ModelError, SerError
from .speech import contains_speech

EMBEDDED = Path(__file__).parent / "assets" / "whisper_base_ravdess"
DEFAULT_BATCH_SIZE = 16


@dataclass(frozen=True)
class Prediction:
    """What the model says of one clip.

    Attributes:
        label, score: the most probable emotion and its probability.
        scores: every emotion's probability, in the order of the model's classes.
        duration: of the clip as it came, seconds.
        bounds: where the part lies that the model listened to, (start, end) in seconds: silent ends are cut.
        attention: (frames,) weights over that part, summing to 1; None if the model has none.
        uncertain: the score lies below the model's `uncertainty_threshold`, so that "not sure" is the better answer.
    """

    label: str
    score: float
    scores: dict[str, float]
    duration: float
    bounds: tuple[float, float] = field(repr=False)
    attention: np.ndarray | None = field(default=None, repr=False, compare=False)
    uncertain: bool = False

    def to_dict(self) -> dict:
        """What the command line and the demo give as JSON."""
        return {name: getattr(self, name) for name in ("label", "score", "scores", "uncertain", "duration")}


@dataclass(frozen=True)
class Segment:
    """One window of a timeline; start and end in seconds.

    Label and scores are None where `contains_speech` finds no speech. `uncertain` is as for a `Prediction`, and False
    there.
    """

    start: float
    end: float
    label: str | None
    score: float | None
    scores: dict[str, float] | None
    uncertain: bool = False

    def to_dict(self) -> dict:
        """The fields in their order, for JSON."""
        return asdict(self)


class EmotionClassifier:
    """A checkpoint, ready to predict. Make one with `from_pretrained` and keep it: loading is the slow part."""

    def __init__(self, model, feature_extractor, name: str = "", device: str | None = None):
        self.name = name
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.model = model.eval().to(self.device)
        self.feature_extractor = feature_extractor
        labels = model.config.id2label
        self.labels = [labels[number] for number in range(len(labels))]

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path | None = None,
        *,
        device: str | None = None,
        revision: str | None = None,
        trust_remote_code: bool = False,
    ) -> "EmotionClassifier":
        """Loads a checkpoint: None is the embedded one; else a folder or a Hub name.

        Raises:
            ModelError: nothing there, not a model of this project, or a checkpoint whose weights do not fill it.
        """
        name = str(model or EMBEDDED)
        if Path(name).is_dir() and not (Path(name) / "config.json").is_file():
            raise ModelError(
                f"The folder {name} has no config.json, so it holds no checkpoint; "
                "give the folder that finetune/train.py wrote, or a Hub name."
            )
        options = {"trust_remote_code": trust_remote_code}
        if revision is not None:
            options["revision"] = revision
        try:
            with quiet_loading():
                config = AutoConfig.from_pretrained(name, **options)
                network, loading = AutoModelForAudioClassification.from_pretrained(
                    name, config=config, output_loading_info=True, ignore_mismatched_sizes=True, **options
                )
                extractor = AutoFeatureExtractor.from_pretrained(name, **options)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise ModelError(
                f"The model '{name}' cannot be loaded: {_first_line(error)} "
                "Give a folder with config.json and model.safetensors, or the name of a Hub repository."
            ) from error
        absent = sorted(loading["missing_keys"]) + sorted(key for key, *_ in loading["mismatched_keys"])
        if absent:
            raise ModelError(
                f"The checkpoint '{name}' lacks {len(absent)} of the model's weights, or has them in another shape "
                f"(the first is '{absent[0]}'): they would be random and so would its answers. Use a complete "
                "audio-classification checkpoint."
            )
        return cls(network, extractor, name=name, device=device)

    @property
    def max_seconds(self) -> float:
        """The longest clip that `predict` takes, seconds."""
        return getattr(self.feature_extractor, "max_seconds", 60.0)

    @property
    def uncertainty_threshold(self) -> float:
        """The score below which an answer counts as uncertain; 0 for models that have no such threshold."""
        return getattr(self.model.config, "uncertainty_threshold", 0.0)

    def predict(self, inputs, *, batch_size: int = DEFAULT_BATCH_SIZE, on_error: str = "raise"):
        """The emotion of one clip, or of each of a list of clips.

        Args:
            inputs: a path, bytes, (array, rate), or a list of these.
            batch_size: clips that go through the model together; a list is sorted by length for that.
            on_error: "raise", or "return": the `AudioError` stands in the list in the clip's place.

        Returns:
            A `Prediction`, or for a list a list of them in the same order.

        Raises:
            AudioError: a clip cannot be used; with on_error="return" only where the input is no list.
        """
        if not isinstance(inputs, list):
            return self._predict_waveforms([self._load(inputs)])[0]
        results: list[Prediction | SerError | None] = [None] * len(inputs)
        waveforms: dict[int, np.ndarray] = {}
        for number, source in enumerate(inputs):
            try:
                waveforms[number] = self._load(source)
            except AudioError as error:
                if on_error == "raise":
                    raise
                results[number] = error
        order = sorted(waveforms, key=lambda number: len(waveforms[number]))
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            for number, prediction in zip(batch, self._predict_waveforms([waveforms[n] for n in batch]), strict=True):
                results[number] = prediction
        return results

    def stream(
        self, inputs: Iterable, *, batch_size: int = DEFAULT_BATCH_SIZE, block: int | None = None
    ) -> Iterator[tuple]:
        """(input, `Prediction` or `SerError`) for any number of clips, in order, decoding a block ahead at a time."""
        iterator = iter(inputs)
        while sources := list(islice(iterator, block or 4 * batch_size)):
            yield from zip(sources, self.predict(sources, batch_size=batch_size, on_error="return"), strict=True)

    def timeline(
        self, source, *, window: float = 3.0, hop: float = 1.0, batch_size: int = DEFAULT_BATCH_SIZE
    ) -> list[Segment]:
        """The emotion of every window of a recording of any length, in memory that does not grow with it.

        Args:
            source: as for `predict`, of any length.
            window, hop: length of a window and the step to the next, seconds.
        """
        return list(self.iter_timeline(source, window=window, hop=hop, batch_size=batch_size))

    def iter_timeline(
        self, source, *, window: float = 3.0, hop: float = 1.0, batch_size: int = DEFAULT_BATCH_SIZE
    ) -> Iterator[Segment]:
        """`timeline`, segment by segment, while the recording is being read."""
        if not audio.MIN_SECONDS <= window <= self.max_seconds:
            raise AudioError(f"The window is {window:g} s; choose {audio.MIN_SECONDS:g} to {self.max_seconds:g} s.")
        if hop <= 0:
            raise AudioError(f"The hop is {hop:g} s; it has to be positive.")
        windows = _windows(audio.read_blocks(source), window, hop)
        while batch := list(islice(windows, batch_size)):
            speech = [contains_speech(samples) for _, samples in batch]
            heard = [samples for (_, samples), spoken in zip(batch, speech, strict=True) if spoken]
            predictions = iter(self._predict_waveforms(heard) if heard else [])
            for (start, samples), spoken in zip(batch, speech, strict=True):
                end = start + len(samples) / audio.SAMPLING_RATE
                if spoken:
                    prediction = next(predictions)
                    yield Segment(
                        start, end, prediction.label, prediction.score, prediction.scores, prediction.uncertain
                    )
                else:
                    yield Segment(start, end, None, None, None)

    def _load(self, source) -> np.ndarray:
        return audio.load_audio(source, max_seconds=self.max_seconds)

    @torch.inference_mode()
    def _predict_waveforms(self, waveforms: Sequence[np.ndarray]) -> list[Prediction]:
        """[(samples,)] at 16 kHz → predictions."""
        extractor = self.feature_extractor
        inputs = extractor(list(waveforms), sampling_rate=audio.SAMPLING_RATE, return_tensors="pt", padding=True).to(
            self.device
        )
        output = self.model(**inputs)
        probabilities = output.logits.float().softmax(-1).cpu().numpy()
        attention = getattr(output, "pooling_weights", None)
        predictions = []
        for row, waveform in enumerate(waveforms):
            start, end = extractor.trim_bounds(waveform) if hasattr(extractor, "trim_bounds") else (0, len(waveform))
            weights = None
            if attention is not None:
                weights = attention[row].float().cpu().numpy()
                weights = weights[: int(np.flatnonzero(weights > 0)[-1]) + 1]
            best = int(probabilities[row].argmax())
            predictions.append(
                Prediction(
                    label=self.labels[best],
                    score=float(probabilities[row, best]),
                    scores=dict(zip(self.labels, map(float, probabilities[row]), strict=True)),
                    duration=len(waveform) / audio.SAMPLING_RATE,
                    bounds=(start / audio.SAMPLING_RATE, end / audio.SAMPLING_RATE),
                    attention=weights,
                    uncertain=bool(probabilities[row, best] < self.uncertainty_threshold),
                )
            )
        return predictions


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Keeps transformers' progress bar and its table of keys off the screen: what matters is raised as an error."""
    bars, verbosity = transformers_logging.is_progress_bar_enabled(), transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


def _windows(blocks: Iterable[np.ndarray], window: float, hop: float) -> Iterator[tuple[float, np.ndarray]]:
    """(start in seconds, samples) of every full window, and of the shorter rest that no full one covers."""
    size, step = round(window * audio.SAMPLING_RATE), max(1, round(hop * audio.SAMPLING_RATE))
    held, held_at, next_at, covered = np.zeros(0, dtype=np.float32), 0, 0, 0  # positions in samples
    for block in blocks:
        held = np.concatenate([held, block])
        while next_at + size <= held_at + len(held):
            covered = next_at + size
            yield next_at / audio.SAMPLING_RATE, held[next_at - held_at : next_at - held_at + size]
            next_at += step
        keep_from = min(max(next_at - held_at, 0), len(held))
        held, held_at = held[keep_from:], held_at + keep_from
    total = held_at + len(held)
    start = max(next_at, held_at)
    if total > covered and total - start >= audio.MIN_SECONDS * audio.SAMPLING_RATE:
        yield start / audio.SAMPLING_RATE, held[start - held_at :]


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__
