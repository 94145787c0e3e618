"""Augmentation does what its settings say, and the same for the same seed."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter

from ser_hf.audio import MIN_SECONDS, SAMPLING_RATE
from ser_hf.training.arguments import AugmentationArguments
from ser_hf.training.augmentation import (
    add_noise,
    augment,
    babble,
    change_speed,
    limit_band,
    mask_spectrogram,
    mix_noise,
    move_formants,
    reverberate,
)


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


@pytest.mark.parametrize("factor", [0.85, 1.0, 1.2])
def test_formants_move_and_the_pitch_stays(factor):
    """A buzz of 125 Hz through a resonance at 1500 Hz: the loudest harmonic moves to `factor` times that."""
    buzz = np.zeros(SAMPLING_RATE, dtype=np.float32)
    buzz[:: SAMPLING_RATE // 125] = 1
    resonance = 2 * np.cos(2 * np.pi * 1500 / SAMPLING_RATE) * 0.97
    vowel = lfilter([1], [1, -resonance, 0.97**2], buzz).astype(np.float32)
    moved = move_formants(vowel, factor)
    assert len(moved) == len(vowel)
    peak = peak_frequency(moved)
    assert peak == pytest.approx(1500 * factor, abs=125)  # to the harmonic
    assert peak / 125 == pytest.approx(round(peak / 125), abs=0.02)  # a harmonic of the same pitch
    if factor == 1:
        assert np.allclose(moved, vowel, atol=1e-5 * np.abs(vowel).max() + 1e-6)


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


NOTHING = AugmentationArguments(noise_probability=0, gain_db=0, speed_probability=0, crop_fraction=0)


def test_a_narrow_band_lets_nothing_through_outside_it():
    noise = np.random.default_rng(0).standard_normal(SAMPLING_RATE).astype(np.float32)
    power = np.square(np.abs(np.fft.rfft(limit_band(noise, 300, 3_400))))  # one bin a hertz
    assert power[:299].sum() + power[3_402:].sum() < 1e-6 * power.sum()
    assert power[300:3_400].mean() == pytest.approx(np.square(np.abs(np.fft.rfft(noise)))[300:3_400].mean(), rel=1e-3)


def test_a_room_goes_on_sounding_after_the_clip_and_fades_in_the_time_it_is_named_for():
    click = np.zeros(2 * SAMPLING_RATE, dtype=np.float32)
    click[0] = 1
    room = reverberate(click, 0.5, np.random.default_rng(0), direct_db=3)
    energy = np.square(room[1:], dtype=np.float64)
    assert 10 * np.log10(1 / energy.sum()) == pytest.approx(3, abs=0.5)
    left = 10 * np.log10(energy[::-1].cumsum()[::-1] / energy.sum())  # Schroeder's backward integration
    assert np.flatnonzero(left < -30)[0] / SAMPLING_RATE == pytest.approx(0.25, abs=0.03)  # 30 dB in half of RT60


def test_noise_comes_with_a_stretch_of_itself_at_either_end_no_longer_than_asked():
    noisy = dataclasses.replace(NOTHING, noise_probability=1, noise_snr_db=[20, 20], silence_seconds=0.5)
    clips = [augment(tone(), noisy, np.random.default_rng(seed)) for seed in range(20)]
    assert all(SAMPLING_RATE < len(clip) <= 2 * SAMPLING_RATE for clip in clips)
    quiet = dataclasses.replace(noisy, noise_probability=0)
    assert len(augment(tone(), quiet, np.random.default_rng(0))) == SAMPLING_RATE


@given(samples=st.integers(1_600, 80_000), seed=st.integers(0, 2**32))
@settings(deadline=None, max_examples=20)
def test_babble_is_as_long_as_asked_and_never_silent(samples, seed):
    voices = babble(samples, np.random.default_rng(seed))
    assert voices.shape == (samples,) and voices.dtype == np.float32
    assert np.sqrt(np.mean(np.square(voices))) > 0.01


def test_babble_has_the_ratio_it_was_asked_for():
    noise = mix_noise(tone(), babble(SAMPLING_RATE, np.random.default_rng(0)), 5.0) - tone()
    assert 10 * np.log10(np.mean(tone() ** 2) / np.mean(noise**2)) == pytest.approx(5, abs=0.1)
