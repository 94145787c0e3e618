"""Recordings as telephones and browsers make them, for the tests of the demo."""

from pathlib import Path

import av
import numpy as np
import soundfile

from ser_hf.audio import SAMPLING_RATE

FORMATS = ("wav", "mp3", "ogg", "flac", "m4a", "webm")
CODECS = {"m4a": ("aac", 44_100, 1_024), "webm": ("libopus", 48_000, 960)}  # codec, Hz, samples in a frame


def write_sound(waveform: np.ndarray, path: Path) -> Path:
    """Writes (samples,) float32 at 16 kHz in the format of the suffix."""
    suffix = path.suffix[1:]
    if suffix not in CODECS:
        soundfile.write(path, waveform, SAMPLING_RATE, format=suffix.upper())
        return path
    codec, rate, frame_size = CODECS[suffix]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray((waveform[None] * 32767).astype(np.int16), format="s16", layout="mono")
        frame.sample_rate = SAMPLING_RATE
        resampler = av.AudioResampler(format=stream.format, layout="mono", rate=rate, frame_size=frame_size)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return path
