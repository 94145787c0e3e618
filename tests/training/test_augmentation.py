"""Augmentation does what its settings say, and the same for the same seed."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_hf.audio import MIN_SECONDS, SAMPLING_RATE
from ser_hf.training.arguments import AugmentationArguments
from ser_hf.training.augmentation import add_noise, augment, change_speed, mask_spectrogram


def tone(seconds: float = 1.0, frequency: float = 440.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * frequency * np.arange(int(seconds * SAMPLING_RATE)) / SAMPLING_RATE)).astype(
        np.float32
    )


def peak_frequency(waveform: np.ndarray) -> float:
    return np.abs(np.fft.rfft(waveform)).argmax() * SAMPLING_RATE / len(waveform)


@pytest.mark.parametrize("snr_db", [0.0, 10.0, 30.0])
@pytest.mark.parametrize("color", [0.0, 1.0])
def test_noise_has_the_ratio_it_was_asked_for(snr_db, color):
    clean = tone()
    noise = add_noise(clean, snr_db, np.random.default_rng(0), color) - clean
    measured = 10 * np.log10(np.mean(clean**2) / np.mean(noise**2))
    assert measured == pytest.approx(snr_db, abs=0.1)


@pytest.mark.parametrize("speed", [0.85, 1.0, 1.15])
def test_speed_changes_length_and_pitch_together(speed):
    faster = change_speed(tone(), speed)
    assert len(faster) == pytest.approx(SAMPLING_RATE / speed, abs=50)
    assert peak_frequency(faster) == pytest.approx(440 * speed, rel=0.01)


def test_a_time_stretch_keeps_the_pitch():
    only_stretch = AugmentationArguments(
        noise_probability=0,
        gain_db=0,
        speed_probability=0,
        crop_fraction=0,
        stretch_probability=1,
        stretch=[1.25, 1.25],
    )
    stretched = augment(tone(), only_stretch, np.random.default_rng(0))
    assert len(stretched) == pytest.approx(SAMPLING_RATE / 1.25, abs=400)
    assert peak_frequency(stretched) == pytest.approx(440, rel=0.02)


@settings(max_examples=40, deadline=None)
@given(samples=st.integers(1_600, 40_000), seed=st.integers(0, 2**31))
def test_any_clip_stays_finite_long_enough_and_the_same_for_the_same_seed(samples, seed):
    clip = tone(samples / SAMPLING_RATE)
    settings_ = AugmentationArguments()
    one = augment(clip, settings_, np.random.default_rng(seed))
    two = augment(clip, settings_, np.random.default_rng(seed))
    np.testing.assert_array_equal(one, two)
    assert one.dtype == np.float32 and np.isfinite(one).all()
    assert len(one) >= 0.8 * MIN_SECONDS * SAMPLING_RATE


def test_with_everything_off_the_clip_is_untouched():
    off = AugmentationArguments(noise_probability=0, gain_db=0, speed_probability=0, crop_fraction=0)
    np.testing.assert_array_equal(augment(tone(), off, np.random.default_rng(0)), tone())


def test_spectrogram_masks_are_bands_and_stretches_of_the_mean():
    features = torch.randn(200, 80)
    masks = AugmentationArguments(time_masks=1, time_mask_fraction=0.2, frequency_masks=1, frequency_mask_bins=20)
    masked = mask_spectrogram(features, masks, np.random.default_rng(3))
    changed = masked != features
    frames, bins = changed.all(dim=1), changed.all(dim=0)
    assert 0 < frames.sum() <= 40 and 0 < bins.sum() <= 20
    assert torch.equal(changed, frames[:, None] | bins[None, :])
    assert masked[changed].unique().numel() == 1
