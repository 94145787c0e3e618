"""Other voices, rooms and microphones out of the ones at hand: changes of a waveform or a spectrogram."""

import numpy as np
import soxr
import torch
import torchaudio

from ..audio import MIN_SECONDS, SAMPLING_RATE
from .arguments import AugmentationArguments

SPEED_GRID = 100  # speeds are rounded to 1/100, so that the resampler's ratio stays small
STRETCH_FFT = 1024  # samples, 64 ms: long enough to hold a few periods of a low voice


def add_noise(waveform: np.ndarray, snr_db: float, rng: np.random.Generator, color: float = 0.0) -> np.ndarray:
    """Gaussian noise at a signal-to-noise ratio; its power falls with frequency ** color (0 white, 1 pink)."""
    noise = rng.standard_normal(len(waveform), dtype=np.float32)
    if color:
        spectrum = np.fft.rfft(noise)
        frequencies = np.arange(1, len(spectrum) + 1)
        noise = np.fft.irfft(spectrum / frequencies ** (color / 2), n=len(waveform)).astype(np.float32)
    power, noise_power = np.mean(np.square(waveform)), np.mean(np.square(noise))
    scale = np.sqrt(power / max(noise_power, 1e-12) / 10 ** (snr_db / 10))
    return waveform + np.float32(scale) * noise


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
    if rng.random() < settings.noise_probability:
        waveform = add_noise(waveform, rng.uniform(*settings.noise_snr_db), rng, color=rng.uniform(0, 1.5))
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
