"""Where a recording holds speech: the detector behind the stretches of a timeline that carry no emotion.

A frame of 40 ms counts as voiced if it is louder than MIN_LEVEL_DB and repeats itself at the pitch of a voice: the
normalised autocorrelation has a peak of at least MIN_PERIODICITY between 70 and 400 Hz (Boersma, 1993). A window holds
speech if it has MIN_VOICED_SECONDS of such frames. Silence, hiss, wind, keys and taps are left out; music, a hum above
70 Hz and anything else with a pitch are not, and whispering is.
"""

import numpy as np

from .audio import SAMPLING_RATE

FRAME = SAMPLING_RATE * 40 // 1000  # samples: two periods of the lowest pitch, and a half
HOP = SAMPLING_RATE * 20 // 1000  # samples
FFT_SIZE = 1024  # at least FRAME + the longest lag, so that the autocorrelation does not wrap around
LAGS = (SAMPLING_RATE // 400, SAMPLING_RATE // 70)  # samples, the periods of the highest and the lowest pitch
MIN_PERIODICITY = 0.6
MIN_LEVEL_DB = -65.0  # of full scale, root mean square
MIN_VOICED_SECONDS = 0.2


def contains_speech(samples: np.ndarray) -> bool:
    """Whether a stretch of sound holds speech by the rule above; samples (n,) float32 at 16 kHz."""
    return voiced_frames(samples).sum() * HOP >= MIN_VOICED_SECONDS * SAMPLING_RATE


def voiced_frames(samples: np.ndarray) -> np.ndarray:
    """(frames,) bool, one for every HOP samples; samples (n,) float32 at 16 kHz."""
    if len(samples) < FRAME:
        samples = np.pad(samples, (0, FRAME - len(samples)))
    frames = np.lib.stride_tricks.sliding_window_view(samples, FRAME)[::HOP]
    frames = (frames - frames.mean(axis=1, keepdims=True)).astype(np.float32)
    loud = np.sqrt((frames**2).mean(axis=1)) > 10 ** (MIN_LEVEL_DB / 20)
    window = np.hanning(FRAME).astype(np.float32)
    low, high = LAGS
    correlation = _autocorrelation(frames * window)[:, : high + 2]
    expected = _autocorrelation(window[None])[0, : high + 2]  # of the window alone, which would favour short lags
    periodicity = correlation / np.maximum(correlation[:, :1], 1e-12) / (expected / expected[0])
    inner = periodicity[:, low : high + 1]
    # A local maximum: low rumble is alike at every short lag, and repeats itself at none.
    peaks = (inner >= periodicity[:, low - 1 : high]) & (inner >= periodicity[:, low + 1 : high + 2])
    return loud & (np.where(peaks, inner, 0).max(axis=1) >= MIN_PERIODICITY)


def _autocorrelation(frames: np.ndarray) -> np.ndarray:
    return np.fft.irfft(np.abs(np.fft.rfft(frames, FFT_SIZE)) ** 2, FFT_SIZE)
