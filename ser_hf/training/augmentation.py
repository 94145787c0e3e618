"""Other voices, rooms and microphones out of the ones at hand: changes of a waveform or a spectrogram."""

import functools
from pathlib import Path

import numpy as np
import soxr
import torch
import torchaudio
from scipy.signal import oaconvolve

from ..audio import MIN_SECONDS, SAMPLING_RATE, load_audio
from .arguments import AugmentationArguments

BABBLE = Path(__file__).with_name("babble.flac")  # made by make_babble.py
SPEED_GRID = 100  # speeds are rounded to 1/100, so that the resampler's ratio stays small
STRETCH_FFT = 1024  # samples, 64 ms: long enough to hold a few periods of a low voice
ENVELOPE_FFT = 512  # samples, 32 ms
ENVELOPE_QUEFRENCY = 26  # samples, 1.6 ms: what lies below is vocal tract, a pitch period above it, up to 600 Hz
ENVELOPE_ROUNDS = 4
ENVELOPE_GAIN = 2.5  # natural logarithm, 22 dB: no frequency is raised or lowered by more
LOW_EDGE_HZ, HIGH_EDGE_HZ = (50, 400), (3_000, 7_000)  # of the bands that microphones and lines let through
REVERBERATION_SECONDS = (0.15, 0.8)  # RT60 from a small furnished room to a stairwell


def add_noise(waveform: np.ndarray, snr_db: float, rng: np.random.Generator, color: float = 0.0) -> np.ndarray:
    """Gaussian noise at a signal-to-noise ratio; its power falls with frequency ** color (0 white, 1 pink)."""
    noise = rng.standard_normal(len(waveform), dtype=np.float32)
    if color:
        spectrum = np.fft.rfft(noise)
        frequencies = np.arange(1, len(spectrum) + 1)
        noise = np.fft.irfft(spectrum / frequencies ** (color / 2), n=len(waveform)).astype(np.float32)
    return mix_noise(waveform, noise, snr_db)


def mix_noise(waveform: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """The sum of two equally long waveforms, the noise `snr_db` below the other's mean power."""
    power, noise_power = np.mean(np.square(waveform)), np.mean(np.square(noise))
    scale = np.sqrt(power / max(noise_power, 1e-12) / 10 ** (snr_db / 10))
    return waveform + np.float32(scale) * noise


@functools.cache
def _babble_recording() -> np.ndarray:
    return load_audio(BABBLE)


def babble(samples: int, rng: np.random.Generator) -> np.ndarray:
    """(samples,) of many voices at once: an excerpt of a recording of synthetic ones, at a speed of its own.

    No voice of a corpus is in it, so that no test speaker is heard in training, not even as noise.
    """
    recording = _babble_recording()
    if rng.random() < 0.5:
        recording = recording[::-1]
    start = int(rng.integers(len(recording)))
    speed = rng.uniform(0.85, 1.15)
    wanted = int(samples * speed) + SPEED_GRID
    excerpt = np.take(recording, np.arange(start, start + wanted), mode="wrap")
    return np.resize(change_speed(excerpt, speed), samples)


def change_speed(waveform: np.ndarray, speed: float) -> np.ndarray:
    """Played `speed` times as fast: shorter, and higher in pitch and formants, if above 1."""
    steps = round(speed * SPEED_GRID)
    return waveform if steps == SPEED_GRID else soxr.resample(waveform, steps, SPEED_GRID, quality="LQ")


def stretch_time(waveform: np.ndarray, rate: float) -> np.ndarray:
    """`rate` times as fast with the pitch kept: shorter if above 1 (a phase vocoder)."""
    window, hop = torch.hann_window(STRETCH_FFT), STRETCH_FFT // 4
    missing = max(0, STRETCH_FFT - len(waveform))
    padded = torch.from_numpy(np.pad(waveform, (0, missing)))
    spectrum = torch.stft(padded, STRETCH_FFT, hop, window=window, return_complex=True)
    advance = torch.linspace(0, torch.pi * hop, spectrum.shape[0])[:, None]
    stretched = torchaudio.functional.phase_vocoder(spectrum, rate, advance)
    return torch.istft(stretched, STRETCH_FFT, hop, window=window, length=round(len(waveform) / rate)).numpy()


def move_formants(waveform: np.ndarray, factor: float) -> np.ndarray:
    """Formants `factor` times as high, as of a shorter vocal tract if above 1; pitch and length stay.

    The spectral envelope, smoothed by the cepstrum, is stretched along the frequency axis in every frame.
    """
    window, hop = torch.hann_window(ENVELOPE_FFT), ENVELOPE_FFT // 4
    missing = max(0, ENVELOPE_FFT - len(waveform))
    padded = torch.from_numpy(np.pad(waveform, (0, missing)))
    spectrum = torch.stft(padded, ENVELOPE_FFT, hop, window=window, return_complex=True)
    level = spectrum.abs().clamp(min=1e-5).log()  # (bins, frames)
    envelope = torch.full_like(level, -torch.inf)
    for _ in range(ENVELOPE_ROUNDS):  # the "true envelope" (Röbel and Rodet, 2005): it lies on the harmonics
        cepstrum = torch.fft.irfft(level.maximum(envelope), dim=0)
        cepstrum[ENVELOPE_QUEFRENCY : ENVELOPE_FFT - ENVELOPE_QUEFRENCY + 1] = 0
        envelope = torch.fft.rfft(cepstrum, dim=0).real
    bins = len(envelope)
    position = (torch.arange(bins) / factor).clamp(max=bins - 1)
    below = position.long().clamp(max=bins - 2)
    moved = torch.lerp(envelope[below], envelope[below + 1], (position - below)[:, None])
    gain = (moved - envelope).clamp(-ENVELOPE_GAIN, ENVELOPE_GAIN).exp()
    return torch.istft(spectrum * gain, ENVELOPE_FFT, hop, window=window, length=len(padded)).numpy()[: len(waveform)]


def limit_band(waveform: np.ndarray, low: float, high: float) -> np.ndarray:
    """Nothing below `low` or above `high` Hz, as over a telephone or a cheap microphone."""
    spectrum = np.fft.rfft(waveform)
    frequencies = np.fft.rfftfreq(len(waveform), 1 / SAMPLING_RATE)
    spectrum[(frequencies < low) | (frequencies > high)] = 0
    return np.fft.irfft(spectrum, n=len(waveform)).astype(np.float32)


def reverberate(waveform: np.ndarray, rt60: float, rng: np.random.Generator, direct_db: float = 3.0) -> np.ndarray:
    """As heard in a room: noise that decays by 60 dB in `rt60` seconds is the response, no later than the clip's end.

    Args:
        direct_db: level of the direct sound over that of all reflections together, dB.
    """
    time = np.arange(round(rt60 * SAMPLING_RATE)) / SAMPLING_RATE
    reflections = rng.standard_normal(len(time)) * 10 ** (-3 * time / rt60)
    reflections *= 10 ** (-direct_db / 20) / np.sqrt(np.square(reflections).sum())
    wet = oaconvolve(waveform, reflections)[: len(waveform)]
    return (waveform + wet).astype(np.float32)


def augment(waveform: np.ndarray, settings: AugmentationArguments, rng: np.random.Generator) -> np.ndarray:
    """(samples,) float32 → another take on the same clip, as `settings` say; at least MIN_SECONDS long."""
    if settings.crop_fraction > 0:
        cut = int(len(waveform) * rng.uniform(0, settings.crop_fraction))
        start = int(rng.integers(0, cut + 1))
        cropped = waveform[start : len(waveform) - (cut - start)]
        waveform = cropped if len(cropped) >= MIN_SECONDS * SAMPLING_RATE else waveform
    if rng.random() < settings.speed_probability:
        waveform = change_speed(waveform, rng.uniform(*settings.speed))
    if rng.random() < settings.stretch_probability:
        waveform = stretch_time(waveform, rng.uniform(*settings.stretch))
    if settings.formant_probability and rng.random() < settings.formant_probability:
        waveform = move_formants(waveform, rng.uniform(*settings.formants))
    if settings.reverberation_probability and rng.random() < settings.reverberation_probability:
        waveform = reverberate(waveform, rng.uniform(*REVERBERATION_SECONDS), rng)
    if rng.random() < settings.noise_probability:
        if settings.silence_seconds:  # noise is heard before and after the words too, where trimming has cut a clip
            ends = rng.uniform(0, settings.silence_seconds, 2) * SAMPLING_RATE
            waveform = np.pad(waveform, (int(ends[0]), int(ends[1])))
        snr_db = rng.uniform(*settings.noise_snr_db)
        if settings.babble_share and rng.random() < settings.babble_share:
            waveform = mix_noise(waveform, babble(len(waveform), rng), snr_db)
        else:
            waveform = add_noise(waveform, snr_db, rng, color=rng.uniform(0, 1.5))
    if settings.band_probability and rng.random() < settings.band_probability:
        waveform = limit_band(waveform, rng.uniform(*LOW_EDGE_HZ), rng.uniform(*HIGH_EDGE_HZ))
    if settings.gain_db:
        waveform = waveform * np.float32(10 ** (rng.uniform(-settings.gain_db, settings.gain_db) / 20))
    return np.asarray(waveform, dtype=np.float32)


def mask_spectrogram(
    features: torch.Tensor, settings: AugmentationArguments, rng: np.random.Generator
) -> torch.Tensor:
    """SpecAugment (Park et al., Interspeech 2019) on (frames, mels): bands and stretches are set to the mean."""
    features = features.clone()
    frames, mels = features.shape
    mean = features.mean()
    for _ in range(settings.frequency_masks):
        width = int(rng.integers(0, min(settings.frequency_mask_bins, mels) + 1))
        start = int(rng.integers(0, mels - width + 1))
        features[:, start : start + width] = mean
    for _ in range(settings.time_masks):
        width = int(rng.integers(0, int(frames * settings.time_mask_fraction) + 1))
        start = int(rng.integers(0, frames - width + 1))
        features[start : start + width] = mean
    return features
