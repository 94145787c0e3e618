"""What counts as speech: voices do, and what has no pitch does not."""

import numpy as np
import pytest

from ser_hf.audio import SAMPLING_RATE
from ser_hf.speech import contains_speech, voiced_frames

SECONDS = 3


def noise(color: float) -> np.ndarray:
    """(samples,) whose spectrum falls with frequency to the power of `color`: 0 is white, 1 is brown."""
    spectrum = np.fft.rfft(np.random.default_rng(0).standard_normal(SECONDS * SAMPLING_RATE))
    sound = np.fft.irfft(spectrum / np.arange(1, len(spectrum) + 1) ** color)
    return (0.2 * sound / np.abs(sound).max()).astype(np.float32)


def taps() -> np.ndarray:
    sound = noise(0) * (np.arange(SECONDS * SAMPLING_RATE) % 8_000 < 800)
    return sound.astype(np.float32)


def hum(frequency: float) -> np.ndarray:
    return (0.1 * np.sin(2 * np.pi * frequency * np.arange(SECONDS * SAMPLING_RATE) / SAMPLING_RATE)).astype(
        np.float32
    )


@pytest.mark.parametrize(
    "sound",
    [np.zeros(SECONDS * SAMPLING_RATE, np.float32), noise(0), noise(0.5), noise(1), taps(), hum(50)],
    ids=["silence", "white noise", "pink noise", "brown noise", "taps", "mains hum"],
)
def test_silence_and_noise_are_no_speech(sound):
    assert not contains_speech(sound)


@pytest.mark.parametrize("gain", [1.0, 0.03])
def test_a_voice_is_speech_also_a_quiet_one_and_one_in_noise(speech, gain):
    assert contains_speech(gain * speech)
    level = float(np.sqrt((speech**2).mean()))
    hiss = np.random.default_rng(0).normal(0, level / 2, len(speech)).astype(np.float32)  # 6 dB below
    assert contains_speech(gain * (speech + hiss))


def test_the_voiced_frames_lie_where_the_voice_is(speech):
    pause = np.zeros(2 * SAMPLING_RATE, np.float32)
    voiced = voiced_frames(np.concatenate([pause, speech, pause]))
    assert not voiced[:95].any() and not voiced[-95:].any()  # 20 ms each
    assert voiced.sum() > 20


def test_music_passes_for_speech_as_the_module_says():
    assert contains_speech(hum(220))


@pytest.mark.parametrize("samples", [0, 1, 100, 639, 641])
def test_a_stretch_of_any_length_can_be_asked_about(samples):
    assert not contains_speech(np.zeros(samples, np.float32))
