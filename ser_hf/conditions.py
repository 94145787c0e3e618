"""What else a voice may come through: noise, other voices, a telephone, a codec, a room, less time to hear it.

Each condition is a function (waveform, rng) → waveform, both (samples,) float32 at 16 kHz. A clip's noise depends on
the seed and the clip alone, so that two models hear the same, and so does one model at two levels.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import av
import datasets
import numpy as np
import soundfile
import soxr
import torch
from scipy.signal import butter, sosfilt
from torchaudio.functional import mu_law_decoding, mu_law_encoding

from .audio import SAMPLING_RATE, load_audio
from .classifier import EmotionClassifier
from .errors import AudioError
from .evaluation import Evaluation, evaluate_classifier
from .markdown import table
from .modeling import SerFeatureExtractor
from .training.augmentation import reverberate

Condition = Callable[[np.ndarray, np.random.Generator], np.ndarray]

SNRS_DB = (20, 10, 0)
BABBLE_VOICES = 6
BABBLE_CLIPS = 48  # of the data set, decoded once, that the voices are drawn from
TELEPHONE_RATE = 8_000  # Hz
TELEPHONE_BAND = (300, 3_400)  # Hz
TELEPHONE_ORDER = 4  # of the Butterworth band-pass
MU_LAW_LEVELS = 256  # 8 bits
MP3_BIT_RATE = 32_000  # bits per second
GAIN_DB = -20
RT60 = 0.6  # seconds in which a sound decays by 60 dB: a large living room
DIRECT_DB = 0.0  # the direct sound is as strong as all reflections together
FIRST_SECONDS = (1, 2)
FIGURES = ("unweighted_accuracy", "accuracy", "macro_f1")

NOTES = (
    "Noise lies over the whole clip, pauses at its ends included; the signal-to-noise ratio is that of the part where "
    "someone speaks (what trimming leaves), which is stricter than one over the whole clip.",
    f"Babble: {BABBLE_VOICES} clips of other speakers of the same data set at once, equally loud.",
    f"Telephone: {TELEPHONE_BAND[0]} to {TELEPHONE_BAND[1]} Hz (Butterworth, order {TELEPHONE_ORDER}), "
    f"{TELEPHONE_RATE} Hz, µ-law of 8 bits. MP3: {MP3_BIT_RATE // 1000} kbit/s, mono, 16 kHz.",
    f"Reverberation: synthetic, exponentially decaying noise, RT60 {RT60:g} s, direct sound as strong as the rest.",
    "First seconds: of the clip without its silent start; what comes later is not heard. Shorter clips stay whole.",
)


def white_noise(waveform: np.ndarray, rng: np.random.Generator, snr_db: float) -> np.ndarray:
    """Gaussian noise over the whole clip."""
    return _mix(waveform, rng.standard_normal(len(waveform)), snr_db)


def babble(waveform: np.ndarray, rng: np.random.Generator, voices: Sequence[np.ndarray], snr_db: float) -> np.ndarray:
    """Several people speaking at once over the whole clip.

    Args:
        voices: (samples,) each, trimmed clips of other speakers; BABBLE_VOICES of them are drawn, as long as there
            are so many without one twice. Each is repeated from a random moment on for as long as the clip lasts.
    """
    chosen = rng.choice(len(voices), BABBLE_VOICES, replace=len(voices) < BABBLE_VOICES)
    noise = np.zeros(len(waveform))
    for voice in (voices[number] for number in chosen):
        moments = (int(rng.integers(len(voice))) + np.arange(len(waveform))) % len(voice)
        noise += voice[moments] / np.sqrt(_power(voice))
    return _mix(waveform, noise, snr_db)


def telephone(waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A line of the public telephone network: its band, its sampling rate and its 8-bit µ-law (ITU-T G.711)."""
    narrow = soxr.resample(waveform, SAMPLING_RATE, TELEPHONE_RATE)
    band = butter(TELEPHONE_ORDER, TELEPHONE_BAND, btype="bandpass", fs=TELEPHONE_RATE, output="sos")
    line = torch.from_numpy(sosfilt(band, narrow)).float().clamp(-1, 1)
    heard = mu_law_decoding(mu_law_encoding(line, MU_LAW_LEVELS), MU_LAW_LEVELS).numpy()
    return _as_long_as(waveform, soxr.resample(heard, TELEPHONE_RATE, SAMPLING_RATE))


def mp3(waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Encoded and decoded in memory."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=SAMPLING_RATE, bit_rate=MP3_BIT_RATE, layout="mono")
        samples = np.clip(waveform, -1, 1).astype(np.float32)[None]
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate = SAMPLING_RATE
        container.mux([*stream.encode(frame), *stream.encode(None)])
    decoded, _ = soundfile.read(io.BytesIO(file.getvalue()), dtype="float32")
    return _as_long_as(waveform, decoded)


def gain(waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Further from the microphone, without its noise."""
    return waveform * np.float32(10 ** (GAIN_DB / 20))


def reverberation(waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A room of RT60 seconds, some steps away from the microphone; the clip ends where it ended."""
    return reverberate(waveform, RT60, rng, DIRECT_DB)


def first_seconds(waveform: np.ndarray, rng: np.random.Generator, seconds: float) -> np.ndarray:
    """What has been heard so long after someone began to speak."""
    start, end = SerFeatureExtractor().trim_bounds(waveform)
    return waveform[start : min(end, start + round(seconds * SAMPLING_RATE))]


def conditions(voices: Sequence[np.ndarray]) -> dict[str, Condition]:
    """Name → condition, for a clip.

    Args:
        voices: trimmed clips of other speakers than the clip's own, for the babble; without any there is none.
    """
    noises = {"white noise": white_noise}
    if len(voices):
        noises["babble"] = partial(babble, voices=voices)
    return {
        **{f"{name}, {snr} dB": partial(noise, snr_db=snr) for name, noise in noises.items() for snr in SNRS_DB},
        "telephone": telephone,
        "MP3, 32 kbit/s": mp3,
        "gain −20 dB": gain,
        "reverberation": reverberation,
        **{f"first {seconds} s": partial(first_seconds, seconds=seconds) for seconds in FIRST_SECONDS},
    }


def evaluate_conditions(
    classifier: EmotionClassifier,
    dataset: datasets.Dataset,
    rows: Sequence[int],
    seed: int = 0,
    batch_size: int = 16,
) -> Iterator[tuple[str, Evaluation]]:
    """(name, what `evaluate_classifier` gives) under one condition after the other.

    Each clip is decoded once and kept: 64 kB for a second. There is no babble where a clip has no speaker but its own.

    Args:
        rows: which clips; babble may be of any clip of the data set.
    """
    speakers = list(dataset["speaker"]) if "speaker" in dataset.column_names else None
    voices = _voices(dataset, speakers, seed) if speakers else {}
    sources = list(dataset.select(rows)["audio"])
    waveforms = [_decode(source, classifier.max_seconds) for source in sources]

    def others(row: int) -> list[np.ndarray]:
        if speakers is None:
            return []
        return [voice for name, clips in voices.items() if name != speakers[row] for voice in clips]

    def heard(name: str):
        for row, source, waveform in zip(rows, sources, waveforms, strict=True):
            if waveform is None:
                yield source  # which fails once more, by its name
            else:
                changed = conditions(others(row))[name](waveform, np.random.default_rng((seed, row)))
                yield changed, SAMPLING_RATE

    for name in min((conditions(others(row)) for row in rows), key=len):
        yield name, evaluate_classifier(classifier, dataset, rows, batch_size, heard(name), description=name)


def format_conditions(figures: dict[str, dict]) -> str:
    """Markdown: a row for each condition, with what it costs against the first one.

    Args:
        figures: condition → "clips" and FIGURES.
    """
    clean = next(iter(figures.values()))["unweighted_accuracy"]
    lines = [
        [
            name,
            str(row["clips"]),
            *(f"{100 * row[figure]:.1f}" for figure in FIGURES),
            f"{100 * (clean - row['unweighted_accuracy']):.1f}",
        ]
        for name, row in figures.items()
    ]
    return table(["condition", "clips", "UA %", "WA %", "F1 %", "UA lost, points"], lines, text=(0,))


def _voices(dataset: datasets.Dataset, speakers: list[str], seed: int) -> dict[str, list[np.ndarray]]:
    """Speaker → some trimmed clips: of every speaker as many as of the others, BABBLE_CLIPS in all or a few more."""
    names = sorted(set(speakers))
    wanted = max(BABBLE_VOICES, -(-BABBLE_CLIPS // len(names)))
    extractor, rng = SerFeatureExtractor(), np.random.default_rng(seed)
    voices: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for row in rng.permutation(len(speakers)).tolist():
        clips = voices[speakers[row]]
        waveform = _decode(dataset[row]["audio"]) if len(clips) < wanted else None
        if waveform is not None:
            start, end = extractor.trim_bounds(waveform)
            clips.append(waveform[start:end])
    return voices


def _decode(source, max_seconds: float | None = None) -> np.ndarray | None:
    try:
        return load_audio(source, max_seconds=max_seconds)
    except AudioError:
        return None


def _mix(waveform: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """Both together, the noise that far below the part where someone speaks."""
    start, end = SerFeatureExtractor().trim_bounds(waveform)
    scale = np.sqrt(_power(waveform[start:end]) / _power(noise) / 10 ** (snr_db / 10))
    return (waveform + scale * noise).astype(np.float32)


def _power(samples: np.ndarray) -> float:
    return float(np.mean(np.square(samples, dtype=np.float64)))


def _as_long_as(waveform: np.ndarray, changed: np.ndarray) -> np.ndarray:
    return np.pad(changed, (0, max(0, len(waveform) - len(changed))))[: len(waveform)].astype(np.float32)
