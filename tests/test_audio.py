"""What a person gets from `ser_hf.audio`: the sound they gave, at 16 kHz, or one sentence on what is wrong with it.

Every sound is a sine sweep the tests write themselves, in each format with the library that writes it.
"""

import io
import logging
import os
import struct
import sys
import tracemalloc
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from ser_hf.audio import (
    MAX_RATE,
    MAX_SECONDS,
    MIN_RATE,
    MIN_SECONDS,
    SAMPLING_RATE,
    SILENCE_PEAK,
    audio_seconds,
    load_audio,
    read_blocks,
)
from ser_hf.errors import AudioError

SECONDS = 1.5
RATES = [4_000, 8_000, 11_025, 16_000, 22_050, 24_414, 44_100, 44_101, 48_000, 96_000, 192_000]  # Hz
SOUNDFILE_FORMATS = [
    ("WAV", "PCM_U8"),
    ("WAV", "PCM_16"),
    ("WAV", "PCM_24"),
    ("WAV", "PCM_32"),
    ("WAV", "FLOAT"),
    ("WAV", "DOUBLE"),
    ("WAV", "ULAW"),
    ("WAV", "ALAW"),
    ("WAV", "MS_ADPCM"),
    ("RF64", "PCM_16"),
    ("AIFF", "PCM_16"),
    ("AIFF", "PCM_24"),
    ("FLAC", "PCM_16"),
    ("FLAC", "PCM_24"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
    ("MP3", "MPEG_LAYER_III"),
]
PYAV_FORMATS = {
    "M4A": ("ipod", "aac", 44_100),
    "ADTS AAC": ("adts", "aac", 22_050),
    "WebM with Opus": ("webm", "libopus", 48_000),
    "Matroska with FLAC": ("matroska", "flac", 16_000),
    "MP4 with MP3": ("mp4", "libmp3lame", 44_100),
    "QuickTime with stereo PCM": ("mov", "pcm_s16le", 48_000),
    "AVI with AC-3": ("avi", "ac3", 48_000),
    "Ogg with FLAC": ("ogg", "flac", 48_000),
    "AMR": ("amr", "libopencore_amrnb", 8_000),
    "WAV with MP3": ("wav", "libmp3lame", 44_100),
}
SPEECH = np.float32(0.5)  # amplitude of the test sounds


@pytest.fixture(autouse=True)
def warnings_are_heard(caplog):
    """A demo that was served in this process has silenced them: they name the file."""
    caplog.set_level("WARNING", logger="ser_hf.audio")


def sweep(rate, seconds=SECONDS, top=1_500.0):
    """(samples,) float32, a sine from 200 Hz to `top`; the same curve at any rate."""
    time = np.arange(round(seconds * rate)) / rate
    return (SPEECH * np.sin(2 * np.pi * (200 * time + (top - 200) / (2 * seconds) * time**2))).astype(np.float32)


def tone(rate, hertz, seconds=SECONDS):
    return (SPEECH * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def written(samples, rate, format="WAV", subtype=None):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=format, subtype=subtype)
    return file.getvalue()


def encoded(samples, rate, format, codec, layout="mono", picture=False, sound=True, seekable=True, title=""):
    """The bytes PyAV writes; with `seekable` off, as to a pipe: no length goes back into the header."""
    file = io.BytesIO()
    file.seekable = lambda: seekable
    with av.open(file, "w", format=format) as container:
        container.metadata["title"] = title
        streams = []
        if picture:
            video = container.add_stream("mpeg4", rate=10)
            video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
            frames = [av.VideoFrame.from_ndarray(np.full((64, 64, 3), i, np.uint8)) for i in range(10)]
            for index, frame in enumerate(frames):
                frame.pts, frame.time_base = index, Fraction(1, 10)
            streams.append((video, frames))
        if sound:
            audio = container.add_stream(codec, rate=rate, layout=layout)
            channels = audio.layout.nb_channels
            planes = np.ascontiguousarray(np.broadcast_to(samples, (channels, len(samples))))
            frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout=layout)
            frame.sample_rate, frame.pts = rate, 0
            resampler = av.AudioResampler(format=audio.format.name, layout=layout, rate=rate)
            streams.append((audio, [*resampler.resample(frame), *resampler.resample(None)]))
        for stream, frames in streams:
            for frame in [*frames, None]:
                container.mux(stream.encode(frame))
    return file.getvalue()


def wav_header(samples=b"", rate=16_000, channels=1, bits=16, data_bytes=None, riff_bytes=None, tag=1):
    """A WAV put together by hand, so that its header may lie."""
    block = channels * bits // 8
    data_bytes = len(samples) if data_bytes is None else data_bytes
    riff_bytes = 36 + len(samples) if riff_bytes is None else riff_bytes
    fmt = struct.pack("<HHIIHH", tag, channels % 2**16, rate, rate * block % 2**32, block % 2**16, bits)
    return (
        b"RIFF"
        + struct.pack("<I4s4sI", riff_bytes, b"WAVE", b"fmt ", 16)
        + fmt
        + b"data"
        + struct.pack("<I", data_bytes)
        + samples
    )


def pcm16(samples):
    return (samples * 32767).astype("<i2").tobytes()


def assert_same_sound(waveform, expected, correlation=0.9, seconds=0.06):
    """The same sound, up to the delay of a codec and the padding of its last frame."""
    assert waveform.dtype == np.float32 and waveform.ndim == 1
    assert abs(len(waveform) - len(expected)) <= seconds * SAMPLING_RATE
    size = len(waveform) + len(expected)
    crossed = np.fft.irfft(np.fft.rfft(waveform, size) * np.conj(np.fft.rfft(expected, size)), size)
    lag = (int(np.argmax(crossed)) + size // 2) % size - size // 2
    assert abs(lag) <= seconds * SAMPLING_RATE
    a, b = waveform[max(lag, 0) :], expected[max(-lag, 0) :]
    overlap = min(len(a), len(b))
    assert np.corrcoef(a[:overlap], b[:overlap])[0, 1] > correlation
    assert np.std(a[:overlap]) == pytest.approx(np.std(b[:overlap]), rel=0.15)  # the level is kept too


def loudest_hertz(waveform):
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    return np.argmax(spectrum) * SAMPLING_RATE / len(waveform)


REFERENCE = sweep(SAMPLING_RATE)


# --- formats, rates, channels ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("format", "subtype"), SOUNDFILE_FORMATS)
def test_every_format_of_libsndfile_gives_its_sound(format, subtype):
    content = written(sweep(48_000), 48_000, format, subtype)
    assert_same_sound(load_audio(content), REFERENCE)
    assert audio_seconds(content) == pytest.approx(SECONDS, abs=0.05)


@pytest.mark.parametrize(("format", "codec", "rate"), PYAV_FORMATS.values(), ids=PYAV_FORMATS)
def test_every_format_of_ffmpeg_gives_its_sound(format, codec, rate):
    layout = "stereo" if format == "mov" else "mono"
    correlation = 0.85 if format == "amr" else 0.9  # a telephone codec keeps speech, less so sines
    assert_same_sound(
        load_audio(encoded(sweep(rate), rate, format, codec, layout)), REFERENCE, correlation, seconds=0.1
    )


def test_the_sound_of_a_video_is_taken():
    content = encoded(sweep(44_100), 44_100, "mp4", "aac", picture=True)
    assert_same_sound(load_audio(content), REFERENCE)
    assert audio_seconds(content) == pytest.approx(SECONDS, abs=0.05)


def test_a_picture_longer_than_the_sound_does_not_make_the_sound_look_cut_off(caplog):
    content = encoded(sweep(48_000, 0.5), 48_000, "matroska", "flac", picture=True)  # one second of picture
    assert len(load_audio(content)) == 0.5 * SAMPLING_RATE
    assert audio_seconds(content) in (None, 0.5)
    assert not caplog.records


def test_a_title_in_a_foreign_encoding_does_no_harm():
    content = encoded(sweep(44_100), 44_100, "ipod", "aac", title="Muenchen")
    assert b"Muenchen" in content
    assert_same_sound(load_audio(content.replace(b"Muenchen", b"M\xfcnchen.")), REFERENCE)


@pytest.mark.parametrize("rate", RATES)
def test_every_rate_becomes_16_khz(rate):
    waveform = load_audio((sweep(rate), rate))
    assert abs(len(waveform) - SECONDS * SAMPLING_RATE) <= 1
    assert_same_sound(waveform, REFERENCE, correlation=0.999, seconds=0.001)


@pytest.mark.parametrize("rate", RATES)
def test_resampling_keeps_the_pitch_and_folds_nothing_back(rate):
    assert loudest_hertz(load_audio(written(tone(rate, 440), rate))) == pytest.approx(440, abs=1)
    if rate > 2 * 12_000:
        with pytest.raises(AudioError, match="silent"):  # 12 kHz is beyond 16 kHz sound and must not come back as 4
            load_audio((0.05 * tone(rate, 12_000) * np.hanning(round(SECONDS * rate)), rate))


@pytest.mark.parametrize("channels", [2, 6])
def test_channels_are_averaged(channels):
    samples = np.stack([tone(SAMPLING_RATE, 300 * (index + 1)) for index in range(channels)], axis=1)
    np.testing.assert_allclose(
        load_audio(written(samples, SAMPLING_RATE, subtype="FLOAT")), samples.mean(axis=1), atol=1e-6
    )


def test_a_voice_on_one_of_two_channels_is_kept_at_half_level():
    samples = np.stack([REFERENCE, np.zeros_like(REFERENCE)], axis=1)
    np.testing.assert_allclose(load_audio((samples, SAMPLING_RATE)), REFERENCE / 2, atol=1e-6)


def test_16_khz_mono_is_untouched():
    np.testing.assert_array_equal(load_audio(written(REFERENCE, SAMPLING_RATE, subtype="FLOAT")), REFERENCE)


@pytest.mark.parametrize(
    ("content", "suffix"),
    [
        (written(sweep(44_100), 44_100, "AIFF"), "wav"),
        (written(sweep(44_100), 44_100, "MP3"), "wav"),
        (written(sweep(44_100), 44_100, "WAV"), "mp3"),
        (written(sweep(44_100), 44_100, "WAV"), "raw"),  # soundfile would ask for a rate
        (written(sweep(44_100), 44_100, "FLAC"), "txt"),
        (encoded(sweep(44_100), 44_100, "ipod", "aac"), "wav"),
        (encoded(sweep(44_100), 44_100, "adts", "aac"), "mp4"),
        (encoded(sweep(48_000), 48_000, "webm", "libopus"), "m3u8"),  # FFmpeg would look for a playlist
    ],
    ids=["AIFF.wav", "MP3.wav", "WAV.mp3", "WAV.raw", "FLAC.txt", "M4A.wav", "ADTS.mp4", "WebM.m3u8"],
)
def test_the_content_decides_and_not_the_suffix(tmp_path, content, suffix):
    path = tmp_path / f"clip.{suffix}"
    path.write_bytes(content)
    assert_same_sound(load_audio(path), REFERENCE)
    with path.open("rb") as file:
        assert_same_sound(load_audio(file), REFERENCE)


# --- sources ---------------------------------------------------------------------------------------------------------


class Pipe(io.RawIOBase):
    """A binary file that cannot seek, as standard input or a network stream."""

    def __init__(self, content):
        self.content = io.BytesIO(content)

    def readable(self):
        return True

    def readinto(self, buffer):
        return self.content.readinto(buffer)


def test_all_sources_of_one_sound_give_one_waveform(tmp_path):
    content, path = written(REFERENCE, SAMPLING_RATE, subtype="FLOAT"), tmp_path / "clip.wav"
    path.write_bytes(content)
    at_its_end = io.BytesIO(content)
    at_its_end.seek(0, io.SEEK_END)
    sources = [
        str(path),
        path,
        content,
        bytearray(content),
        at_its_end,
        Pipe(content),
        (REFERENCE, SAMPLING_RATE),
        (SAMPLING_RATE, REFERENCE),
        (np.int64(SAMPLING_RATE), REFERENCE.tolist()),
        (REFERENCE.astype(np.float64), float(SAMPLING_RATE)),
        {"array": REFERENCE, "sampling_rate": SAMPLING_RATE, "path": None},
        {"bytes": content, "path": None},
        {"bytes": content, "path": "elsewhere/clip.wav"},
        {"bytes": None, "path": str(path)},
    ]
    for source in sources:
        np.testing.assert_array_equal(load_audio(source), REFERENCE)
    assert not at_its_end.closed


def test_a_torch_tensor_is_an_array():
    torch = pytest.importorskip("torch")
    np.testing.assert_array_equal(load_audio((torch.from_numpy(REFERENCE)[None], SAMPLING_RATE)), REFERENCE)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64"])
def test_integers_are_scaled_to_one(dtype):
    info = np.iinfo(dtype)
    middle = 0 if info.min else info.max // 2 + 1
    full_scale = float(info.max) - middle
    samples = (REFERENCE.astype(np.float64) * full_scale * 0.99 + middle).astype(dtype)
    waveform = load_audio((SAMPLING_RATE, samples))
    np.testing.assert_allclose(waveform, REFERENCE * 0.99, atol=0.02 if "int8" in dtype else 1e-4)


def test_the_shorter_axis_holds_the_channels():
    samples = np.stack([REFERENCE, 0.5 * REFERENCE], axis=1)
    for shaped in (samples, samples.T, samples.T.copy(), np.asfortranarray(samples)):
        np.testing.assert_allclose(load_audio((shaped, SAMPLING_RATE)), 0.75 * REFERENCE, atol=1e-6)


def test_the_waveform_belongs_to_the_caller():
    given_array = REFERENCE.copy()
    load_audio((given_array, SAMPLING_RATE))[:] = 0
    np.testing.assert_array_equal(given_array, REFERENCE)


# --- lengths ---------------------------------------------------------------------------------------------------------


def test_a_tenth_of_a_second_is_enough_and_less_is_not():
    for rate in RATES:
        samples = tone(rate, 440, 1.0)
        needed = int(np.ceil(MIN_SECONDS * rate))
        assert len(load_audio((samples[:needed], rate))) >= MIN_SECONDS * SAMPLING_RATE - 1
        with pytest.raises(AudioError, match=r"too short.*at least 0.1 s"):
            load_audio((samples[: needed - rate // 1_000], rate))


@pytest.mark.parametrize(
    ("content", "seconds"),
    [
        (written(sweep(8_000), 8_000, "WAV"), SECONDS),
        (encoded(sweep(44_100), 44_100, "ipod", "aac"), SECONDS),
        (encoded(sweep(48_000), 48_000, "webm", "libopus"), SECONDS),
        (encoded(sweep(48_000), 48_000, "webm", "libopus", seekable=False), None),  # as a browser records
        (encoded(sweep(48_000), 48_000, "flac", "flac", seekable=False), None),
        (
            encoded(sweep(44_100), 44_100, "adts", "aac"),
            None,  # FFmpeg guesses from the bit rate, which may be far off
        ),
        (encoded(sweep(8_000), 8_000, "amr", "libopencore_amrnb"), None),
    ],
    ids=["WAV", "M4A", "WebM", "WebM from a pipe", "FLAC from a pipe", "ADTS", "AMR"],
)
def test_audio_seconds_is_what_the_header_says_or_none(content, seconds):
    assert audio_seconds(content) == (None if seconds is None else pytest.approx(seconds, abs=0.05))
    with pytest.raises(AudioError, match=r"too long.*at most 1 s.*timeline"):
        load_audio(content, max_seconds=1)
    assert_same_sound(load_audio(content, max_seconds=None), REFERENCE, seconds=0.1, correlation=0.85)


def test_audio_seconds_of_an_array_is_its_length():
    assert audio_seconds((REFERENCE, SAMPLING_RATE)) == SECONDS


def test_ten_hours_are_refused_by_their_header_before_anything_is_decoded(tmp_path):
    path, size = tmp_path / "meeting.wav", 10 * 3_600 * 8_000 * 2
    path.write_bytes(wav_header(pcm16(sweep(8_000)), rate=8_000, data_bytes=size, riff_bytes=size + 36))
    os.truncate(path, size + 44)  # sparse: no disk is used
    tracemalloc.start()
    try:
        with pytest.raises(AudioError, match=r"meeting.wav is too long: 36000.0 s, expected at most 600 s.*timeline"):
            load_audio(path)
        assert tracemalloc.get_traced_memory()[1] < 2e6  # bytes
    finally:
        tracemalloc.stop()
    assert audio_seconds(path) == 36_000


def test_the_limit_itself_is_allowed():
    assert len(load_audio((REFERENCE, SAMPLING_RATE), max_seconds=SECONDS)) == len(REFERENCE)
    assert MAX_SECONDS == 600


# --- what a person can get wrong -------------------------------------------------------------------------------------

DAMAGED = {
    "empty": (b"", "empty.*0 bytes.*again"),
    "text renamed": (b"Dear all,\nthe meeting is moved.\n" * 50, "cannot be read as audio.*Expected.*convert"),
    "zeros": (bytes(10_000), "cannot be read as audio"),
    "picture": (b"\x89PNG\r\n\x1a\n" + bytes(1_000), "cannot be read as audio"),
    "header of a WAV cut": (wav_header()[:30], "cannot be read as audio.*complete"),
    "header of a FLAC cut": (written(REFERENCE, 16_000, "FLAC")[:30], "cannot be read as audio"),
    "header of an M4A cut": (encoded(REFERENCE, 16_000, "ipod", "aac")[:300], "cannot be read as audio"),
    "no samples in a WAV": (wav_header(), "no samples"),
    "no samples in an AIFF": (written(REFERENCE[:0], 16_000, "AIFF"), "no samples"),
    "too short": (written(REFERENCE[:1_500], 16_000), "too short: 0.094 s, expected at least 0.1 s"),
    "silent": (written(np.zeros(16_000), 16_000), "is silent.*expected speech.*microphone"),
    "silent but for an offset": (written(np.full(16_000, 0.1), 16_000), "is silent"),
    "silent A-law": (written(np.zeros(8_000), 8_000, "WAV", "ALAW"), "is silent"),
    "NaN": (written(np.r_[REFERENCE, np.nan], 16_000, subtype="FLOAT"), "NaN or infinite"),
    "infinite": (written(np.r_[REFERENCE, np.inf], 48_000, subtype="FLOAT"), "NaN or infinite"),
    "beyond float32": (
        written(np.append(REFERENCE.astype(float), 1e300), 16_000, subtype="DOUBLE"),
        "NaN or infinite",
    ),
    "rate too low": (written(REFERENCE, 2_000), "sampling rate of 2000 Hz, expected 4000 to 192000"),
    "rate too high": (written(REFERENCE, 384_000), "sampling rate of 384000 Hz, expected 4000 to 192000"),
    "video without sound": (
        encoded(None, None, "mp4", None, picture=True, sound=False),
        "video without an audio track.*with sound",
    ),
    "Matroska without sound": (
        encoded(None, None, "matroska", None, picture=True, sound=False),
        "video without an audio track",
    ),
    "2**16 - 1 channels": (wav_header(bytes(40_000), channels=2**16 - 1), "cannot be read as audio"),
    "rate zero": (wav_header(pcm16(REFERENCE), rate=0), "cannot be read as audio|sampling rate"),
}


@pytest.mark.parametrize(("content", "message"), DAMAGED.values(), ids=DAMAGED)
def test_a_file_that_cannot_be_used_is_named_with_its_reason(tmp_path, content, message):
    path = tmp_path / "clip.wav"
    path.write_bytes(content)
    with pytest.raises(AudioError, match=f"(?s)clip.wav.*{message}"):
        load_audio(path)
    with pytest.raises(AudioError, match=f"(?s){message}"):
        load_audio(content)


def test_what_the_libraries_said_is_chained():
    with pytest.raises(AudioError) as caught:
        load_audio(b"hello " * 100)
    assert isinstance(caught.value.__cause__, av.error.FFmpegError)
    assert "libsndfile: Format not recognised" in str(caught.value)


def test_a_damaged_header_leaves_no_traceback_of_the_libraries_behind(monkeypatch):
    printed = []
    monkeypatch.setattr(sys, "unraisablehook", printed.append)
    with pytest.raises(AudioError, match="cannot be read as audio"):
        load_audio(written(REFERENCE, 16_000, "AIFF")[:40])
    assert not printed


def test_missing_files_and_folders_are_told_apart(tmp_path):
    with pytest.raises(AudioError, match=r"no file .*nowhere.wav.*Check"):
        load_audio(tmp_path / "nowhere.wav")
    with pytest.raises(AudioError, match=r"is a folder, expected an audio file"):
        load_audio(tmp_path)
    with pytest.raises(AudioError, match=r"no file .*clip.wav"):
        load_audio({"bytes": None, "path": str(tmp_path / "clip.wav")})
    with pytest.raises(AudioError, match="cannot be opened"):
        load_audio("a" * 5_000)
    with pytest.raises(AudioError, match="no file"):
        load_audio("null\0byte.wav")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_named_pipe_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(AudioError, match="no file"):
        load_audio(tmp_path / "pipe.wav")


CLOSED = io.BytesIO(b"RIFF")
CLOSED.close()

UNSUITABLE = {
    "no rate": (REFERENCE, "ndarray.*needs its sampling rate"),
    "rate None": ((REFERENCE, None), "sampling rate None, expected a number"),
    "rate as text": ({"array": REFERENCE, "sampling_rate": "16000"}, "sampling rate '16000', expected a number"),
    "rate zero": ((REFERENCE, 0), "sampling rate of 0 Hz, expected 4000 to 192000"),
    "rate NaN": ((REFERENCE, float("nan")), "sampling rate of nan Hz, expected 4000 to 192000"),
    "rate low": ((REFERENCE, MIN_RATE - 1), "sampling rate of 3999 Hz"),
    "rate high": ((REFERENCE, MAX_RATE + 1), "sampling rate of 192001 Hz"),
    "complex": ((REFERENCE.astype(complex), 16_000), "complex128.*expected float or integer"),
    "object": ((np.array([None] * 9), 16_000), "object.*expected float or integer"),
    "text": ((np.array(["a"] * 9), 16_000), "expected float or integer"),
    "boolean": ((REFERENCE > 0, 16_000), "bool.*expected float or integer"),
    "ragged": (([[1.0], [1.0, 2.0]], 16_000), "expected an array"),
    "3-D": ((np.ones((2, 2, 1_600)), 16_000), r"\(2, 2, 1600\).*expected \(samples,\)"),
    "0-D": ((5.0, 16_000), r"shape \(\).*expected \(samples,\)"),
    "no samples": ((np.empty(0), 16_000), "is empty.*no samples"),
    "no channels": ((np.empty((16_000, 0)), 16_000), "is empty.*no samples"),
    "silent": ((np.full(16_000, SILENCE_PEAK), 16_000), "is silent"),
    "a list of 16-bit values": (([0, 900] * 8_000, 16_000), "int64.*is silent.*type"),
    "NaN": ((np.full(16_000, np.nan), 16_000), "NaN or infinite"),
    "nothing": (None, "NoneType was given as audio, expected a path"),
    "an empty dict": ({"bytes": None, "path": None}, "expected a path"),
    "three things": ((REFERENCE, 16_000, 1), "tuple was given as audio"),
    "a text file": (io.StringIO("RIFF"), "opened in binary mode"),
    "a closed file": (CLOSED, "cannot be opened.*closed"),
}


@pytest.mark.parametrize(("source", "message"), UNSUITABLE.values(), ids=UNSUITABLE)
def test_a_source_that_cannot_be_used_says_what_came_and_what_was_expected(source, message):
    with pytest.raises(AudioError, match=f"(?s){message}"):
        load_audio(source)


def test_quiet_speech_is_not_silence():
    quiet = REFERENCE * np.float32(4 * SILENCE_PEAK)
    np.testing.assert_array_equal(load_audio((quiet, SAMPLING_RATE)), quiet)


@pytest.mark.parametrize("playlist", ["#EXTM3U\n#EXTINF:2,\n{}\n#EXT-X-ENDLIST\n", "ffconcat version 1.0\nfile {}\n"])
def test_an_uploaded_playlist_opens_no_other_file(tmp_path, monkeypatch, playlist):
    (tmp_path / "secret.wav").write_bytes(written(REFERENCE, SAMPLING_RATE))
    monkeypatch.chdir(tmp_path)
    for name in ("secret.wav", tmp_path / "secret.wav"):
        with pytest.raises(AudioError, match="cannot be read as audio"):
            load_audio(playlist.format(name).encode())


# --- damaged, but not lost -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data_bytes", [0, 0xFFFF_FFFF])
def test_a_wav_streamed_by_ffmpeg_gives_all_its_samples(data_bytes, caplog):
    content = wav_header(pcm16(REFERENCE), data_bytes=data_bytes, riff_bytes=data_bytes)
    np.testing.assert_allclose(load_audio(content), REFERENCE, atol=1e-4)
    assert not caplog.records  # such a header is common and no damage


@pytest.mark.parametrize(
    "content",
    [
        written(sweep(44_100), 44_100, "WAV"),
        written(sweep(44_100), 44_100, "AIFF"),
        written(sweep(44_100), 44_100, "FLAC"),
        written(sweep(44_100), 44_100, "MP3"),
        encoded(sweep(48_000), 48_000, "webm", "libopus"),
    ],
    ids=["WAV", "AIFF", "FLAC", "MP3", "WebM"],
)
def test_of_a_file_cut_off_the_beginning_is_used_with_a_warning(content, caplog):
    with caplog.at_level(logging.WARNING, logger="ser_hf.audio"):
        waveform = load_audio(content[: len(content) * 2 // 3])
    assert 0.4 * SECONDS < len(waveform) / SAMPLING_RATE < 0.8 * SECONDS
    assert np.corrcoef(waveform[800:8_000], REFERENCE[800:8_000])[0, 1] > 0.9
    assert f"only the first {len(waveform) / SAMPLING_RATE:.2f} s" in caplog.text


def test_a_damaged_packet_in_the_middle_costs_only_itself(caplog):
    content = bytearray(encoded(sweep(44_100), 44_100, "adts", "aac"))
    middle = content.index(b"\xff\xf1", len(content) // 2)
    content[middle + 7 : middle + 60] = b"\xff" * 53
    waveform = load_audio(bytes(content))
    assert len(waveform) / SAMPLING_RATE == pytest.approx(SECONDS, abs=0.15)
    assert "packets could not be decoded and are left out" in caplog.text


def test_healthy_files_give_no_warning(caplog):
    for format, subtype in SOUNDFILE_FORMATS:
        load_audio(
            written(
                sweep(44_100 if subtype != "OPUS" else 48_000),
                44_100 if subtype != "OPUS" else 48_000,
                format,
                subtype,
            )
        )
    for format, codec, rate in PYAV_FORMATS.values():
        load_audio(encoded(sweep(rate), rate, format, codec, "stereo" if format == "mov" else "mono"))
    assert not caplog.records


# --- nothing but AudioError ------------------------------------------------------------------------------------------

FUZZ = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
SEEDS = {
    "WAV": written(sweep(8_000, 0.3), 8_000, "WAV"),
    "AIFF": written(sweep(8_000, 0.3), 8_000, "AIFF"),
    "FLAC": written(sweep(8_000, 0.3), 8_000, "FLAC"),
    "OGG": written(sweep(8_000, 0.3), 8_000, "OGG", "VORBIS"),
    "MP3": written(sweep(8_000, 0.3), 8_000, "MP3"),
    "M4A": encoded(sweep(8_000, 0.3), 8_000, "ipod", "aac"),
    "WebM": encoded(sweep(8_000, 0.3), 8_000, "webm", "libopus"),
    "ADTS": encoded(sweep(8_000, 0.3), 8_000, "adts", "aac"),
}


def loads_or_says_why(source):
    try:
        waveform = load_audio(source)
    except AudioError as error:
        assert len(str(error)) > 20
        return
    assert waveform.dtype == np.float32 and waveform.ndim == 1
    assert MIN_SECONDS * SAMPLING_RATE <= len(waveform) <= MAX_SECONDS * SAMPLING_RATE
    assert np.isfinite(waveform).all()


@FUZZ
@given(
    magic=st.sampled_from(
        [b"", b"RIFF", b"FORM", b"fLaC", b"OggS", b"ID3", b"\xff\xfb", b"\x1aE\xdf\xa3", b"\0\0\0 ftyp"]
    ),
    tail=st.binary(max_size=3_000),
)
def test_arbitrary_bytes_raise_nothing_but_audio_error(magic, tail):
    loads_or_says_why(magic + tail)


@FUZZ
@given(
    name=st.sampled_from(sorted(SEEDS)),
    edits=st.lists(
        st.tuples(
            st.integers(0, 120),
            st.sampled_from([b"\xff" * 4, b"\0" * 4, b"\xff\xff\xff\x7f", b"\x7f", b"\x80", b"\x01"]),
        ),
        min_size=1,
        max_size=6,
    ),
    keep=st.floats(0.05, 1),
)
def test_mutated_headers_raise_nothing_but_audio_error(name, edits, keep):
    content = bytearray(SEEDS[name])
    for position, value in edits:
        content[position : position + len(value)] = value
    loads_or_says_why(bytes(content[: int(len(content) * keep)]))


@FUZZ
@given(
    channels=st.integers(0, 2**16 - 1),
    rate=st.integers(0, 2**32 - 1),
    bits=st.sampled_from([0, 1, 8, 16, 24, 32, 64, 65_528]),
    tag=st.sampled_from([0, 1, 2, 3, 6, 7, 17, 85, 0xFFFE]),
    data_bytes=st.integers(0, 2**32 - 1),
)
def test_absurd_wav_headers_raise_nothing_but_audio_error(channels, rate, bits, tag, data_bytes):
    loads_or_says_why(wav_header(bytes(range(256)) * 20, rate, channels, bits, data_bytes, tag=tag))


@FUZZ
@given(
    samples=npst.arrays(
        dtype=st.one_of(npst.scalar_dtypes(), st.sampled_from([np.dtype(object), np.dtype("U3")])),
        shape=npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=12),
    ),
    repeats=st.sampled_from([1, 200]),
    rate=st.one_of(st.sampled_from(RATES), st.integers(-(10**12), 10**12), st.floats(), st.none(), st.booleans()),
)
def test_arbitrary_arrays_raise_nothing_but_audio_error(samples, repeats, rate):
    loads_or_says_why((np.repeat(samples, repeats, axis=0) if samples.ndim else samples, rate))


@FUZZ
@given(
    length=st.integers(1_700, 5_000),
    rate=st.sampled_from(RATES),
    channels=st.integers(1, 6),
    dtype=st.sampled_from(["int16", "int32", "float32", "float64"]),
)
def test_arrays_of_sound_keep_their_length(length, rate, channels, dtype):
    noise = np.random.default_rng(length).uniform(-0.5, 0.5, (length, channels))
    samples = noise.astype(dtype) if "float" in dtype else (noise * np.iinfo(dtype).max).astype(dtype)
    if length < MIN_SECONDS * rate:
        with pytest.raises(AudioError, match="too short"):
            load_audio((samples, rate))
    else:
        assert abs(len(load_audio((samples, rate))) - length * SAMPLING_RATE / rate) <= 1


# --- blocks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source",
    [
        written(sweep(44_100), 44_100, "WAV"),
        written(sweep(24_414), 24_414, "FLAC"),
        written(sweep(48_000), 48_000, "MP3"),  # whose decoder garbles what is read piece by piece with seeks between
        written(sweep(16_000), 16_000, "OGG", "VORBIS"),
        encoded(sweep(44_100), 44_100, "ipod", "aac"),
        encoded(sweep(48_000), 48_000, "webm", "libopus"),
        (sweep(11_025), 11_025),
    ],
    ids=["WAV", "FLAC", "MP3", "OGG", "M4A", "WebM", "array"],
)
@pytest.mark.parametrize("block_seconds", [0.01, 0.5, 0.7, 30.0])
def test_blocks_are_the_waveform_cut_in_pieces(source, block_seconds):
    blocks = list(read_blocks(source, block_seconds))
    np.testing.assert_array_equal(np.concatenate(blocks), load_audio(source))
    assert {len(block) for block in blocks[:-1]} <= {round(block_seconds * SAMPLING_RATE)}
    assert 0 < len(blocks[-1]) <= round(block_seconds * SAMPLING_RATE)


def test_an_mp3_read_in_blocks_is_the_mp3_read_whole():
    content = written(sweep(48_000), 48_000, "MP3")
    whole, _ = soundfile.read(io.BytesIO(content), dtype="float32")
    np.testing.assert_allclose(load_audio(content), load_audio((whole, 48_000)), atol=1e-6)


def test_silent_short_and_long_recordings_have_blocks():
    assert [len(block) for block in read_blocks((np.zeros(40_000), SAMPLING_RATE), 1.0)] == [16_000, 16_000, 8_000]
    assert [len(block) for block in read_blocks((np.zeros(100), SAMPLING_RATE), 1.0)] == [100]


def test_blocks_raise_what_load_audio_raises(tmp_path):
    for name in ("empty", "text renamed", "no samples in a WAV", "NaN", "rate too low", "video without sound"):
        content, message = DAMAGED[name]
        with pytest.raises(AudioError, match=f"(?s){message}"):
            list(read_blocks(content))
    with pytest.raises(AudioError, match="no file"):
        list(read_blocks(tmp_path / "nowhere.wav"))
    with pytest.raises(ValueError, match="block_seconds is 0, expected a positive"):
        next(read_blocks((REFERENCE, SAMPLING_RATE), 0))


def test_twenty_minutes_are_read_in_little_memory(tmp_path):
    path, minute = tmp_path / "long.wav", tone(MIN_RATE, 440, 60)
    with soundfile.SoundFile(path, "w", MIN_RATE, 1) as file:
        for _ in range(20):
            file.write(minute)
    tracemalloc.start()
    try:
        samples = sum(len(block) for block in read_blocks(path, 10.0))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert samples == 20 * 60 * SAMPLING_RATE  # 77 MB as float32
    assert peak < 4e6  # bytes: a few blocks of 640 kB


# --- the corpus ------------------------------------------------------------------------------------------------------


def originals():
    root = Path(os.environ.get("SER_DATA_DIR", "")) / "ravdess_original_wav"
    return sorted(root.rglob("*.wav")) if "SER_DATA_DIR" in os.environ else []


@pytest.mark.real_data
@pytest.mark.skipif(not originals(), reason="needs SER_DATA_DIR with ravdess_original_wav")
def test_the_original_wavs_of_ravdess_decode_to_their_flacs():
    speech = Path(os.environ["SER_DATA_DIR"]) / "ravdess" / "Audio_Speech_Actors_01-24"
    assert len(originals()) == 9
    assert {soundfile.info(path).samplerate for path in originals()} == {48_000}
    for path in originals():
        original, flac = load_audio(path), load_audio(speech / path.parent.name / f"{path.stem}.flac")
        assert abs(len(original) - len(flac)) <= 2  # samples
        overlap = min(len(original), len(flac))
        assert np.corrcoef(original[:overlap], flac[:overlap])[0, 1] > 0.99
