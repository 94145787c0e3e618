"""Bytes, path or array → mono float32 waveform at 16 kHz. The only decoder of the project.

libsndfile (soundfile) reads WAV, AIFF, FLAC, OGG and MP3; PyAV, whose wheels carry FFmpeg, reads M4A, WebM, MP4, ADTS
and the rest. Both see a file object without a name, so the content decides and never the suffix.
"""

import io
import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from numbers import Real
from pathlib import Path
from typing import Any, BinaryIO

import av
import numpy as np
import soundfile
import soxr

from ser_hf.errors import AudioError

SAMPLING_RATE = 16_000  # Hz, of every waveform in this project
MIN_RATE = 4_000  # Hz, lowest sampling rate taken
MAX_RATE = 192_000  # Hz, highest sampling rate taken
MIN_SECONDS = 0.1  # shortest sound taken
MAX_SECONDS = 600.0  # longest sound taken in one piece, unless the caller says otherwise
SILENCE_PEAK = 1e-4  # of full scale (-80 dB), half the span from lowest to highest sample: no offset counts as sound

BLOCK_FRAMES = 8_192  # frames decoded at a time; also what is lost at most where a damaged FLAC breaks off
UNKNOWN_FRAMES = 2**63 - 1  # libsndfile's SF_COUNT_MAX: the header does not say
STREAMED_BYTES = 0x7FFF_F000  # a RIFF size from here on is a placeholder of a program that wrote to a pipe
HEADER_SLACK = 1_024  # bytes by which healthy WAV files miss the size in their header

# What FFmpeg may take a file for. Left out are raw formats, which make noise of anything, and playlists, which would
# open other files of this machine. Those in the first line tell their length; the others only let it be guessed.
TIMED_CONTAINERS = "mov,matroska,ogg,wav,w64,flac,aiff,caf,asf,avi,flv,au,ape,wv"
UNTIMED_CONTAINERS = "aac,loas,mp3,amr,ac3,eac3,dts,mpegts,mpeg"

Source = str | os.PathLike | bytes | tuple | dict | BinaryIO

logger = logging.getLogger(__name__)


@dataclass
class _Recording:
    """A sound before preparation."""

    name: str  # as messages call it
    rate: float  # Hz
    seconds: float | None  # as the container says, None if it does not
    blocks: Iterator[np.ndarray]  # each (frames, channels) float32
    cut_off: bool = False  # the header announces more bytes than there are


class _Nameless:
    """A binary file without its name, from whose suffix both libraries would draw conclusions."""

    def __init__(self, file: BinaryIO):
        self.read, self.tell, self._seek = file.read, file.tell, file.seek

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        try:
            return self._seek(offset, whence)
        except (OSError, ValueError, OverflowError):
            return -1  # damaged headers point anywhere; both libraries cope with a refusal, not with an exception


class _ForwardSoundFile(soundfile.SoundFile):
    """Reads from front to back: the base class seeks after every read, which garbles MP3 and fails on cut-off FLAC."""

    def seekable(self) -> bool:
        return False


def load_audio(source: Source, *, max_seconds: float | None = MAX_SECONDS) -> np.ndarray:
    """Returns (samples,) float32, mono at 16 kHz, full scale ±1 (float sources are taken as they are, not clipped).

    `source` is a path, bytes, a binary file (read from its start), (array, rate) or (rate, array), {"array",
    "sampling_rate"} or {"bytes", "path"}. Arrays: (samples,), (samples, channels) or (channels, samples), float or
    integer (scaled to ±1), rate in Hz. `max_seconds=None` lifts the limit of length.

    Raises AudioError if it is missing, unreadable, empty, silent, not finite, shorter than MIN_SECONDS, longer than
    `max_seconds`, or if its rate is outside MIN_RATE to MAX_RATE.
    """
    limit = float("inf") if max_seconds is None else max_seconds
    with _open(source) as recording:
        if recording.seconds is not None and recording.seconds > limit:
            raise _too_long(recording.name, f"{recording.seconds:.1f} s", limit)
        pieces, samples = [], 0
        for piece in _prepare(recording):
            pieces.append(piece)
            samples += len(piece)
            if samples > limit * SAMPLING_RATE:
                raise _too_long(recording.name, f"more than {limit:g} s", limit)
    if samples < MIN_SECONDS * SAMPLING_RATE:
        raise AudioError(
            f"{recording.name} is too short: {samples / SAMPLING_RATE:.3f} s, expected at least {MIN_SECONDS} s. "
            "Record a word or more."
        )
    waveform = np.concatenate(pieces)
    if (float(waveform.max()) - float(waveform.min())) / 2 <= SILENCE_PEAK:
        raise AudioError(
            f"{recording.name} is silent: no sample is above {SILENCE_PEAK:g} of full scale, expected speech. "
            "Check the microphone, the recording level and, for an integer array, its type."
        )
    return waveform


def read_blocks(source: Source, block_seconds: float = 30.0) -> Iterator[np.ndarray]:
    """Yields what `load_audio` returns in blocks of `block_seconds` (the last may be shorter), in constant memory.

    Length and silence are not checked. Raises AudioError, also midway, if the source is missing, unreadable, empty or
    not finite, or if its rate is outside MIN_RATE to MAX_RATE.
    """
    size = round(block_seconds * SAMPLING_RATE)
    if size < 1:
        raise ValueError(f"block_seconds is {block_seconds}, expected a positive number of seconds")
    with _open(source) as recording:
        pending, samples = [], 0
        for piece in _prepare(recording):
            pending.append(piece)
            samples += len(piece)
            if samples >= size:
                joined = np.concatenate(pending)
                for start in range(0, samples - size + 1, size):
                    yield joined[start : start + size]
                samples %= size
                pending = [joined[len(joined) - samples :]]
        if samples:
            yield np.concatenate(pending)


def audio_seconds(source: Source) -> float | None:
    """Returns the length in seconds by the header, None if it states none. Raises AudioError as `read_blocks` does."""
    with _open(source) as recording:
        return recording.seconds


@contextmanager
def _open(source: Source) -> Iterator[_Recording]:
    with ExitStack() as stack:
        if isinstance(source, tuple) and len(source) == 2:
            array, rate = reversed(source) if isinstance(source[0], Real) else source
            recording = _open_array(array, rate)
        elif isinstance(source, dict) and source.get("array") is not None:
            recording = _open_array(source["array"], source.get("sampling_rate"))
        else:
            recording = _open_file(*_binary_file(source, stack), stack)
        if not MIN_RATE <= recording.rate <= MAX_RATE:
            raise AudioError(
                f"{recording.name} has a sampling rate of {recording.rate} Hz, expected {MIN_RATE} to {MAX_RATE}. "
                f"Resample it: {SAMPLING_RATE} Hz is enough."
            )
        yield recording


def _open_array(array: Any, rate: Any) -> _Recording:
    try:
        samples = np.asarray(array)
    except Exception as error:  # whatever a foreign __array__ raises
        raise AudioError(f"A {type(array).__name__} was given as audio, expected an array: {error}") from error
    name = f"The {samples.dtype} array of shape {samples.shape}"
    if not isinstance(rate, Real) or isinstance(rate, bool):
        raise AudioError(f"{name} came with the sampling rate {rate!r}, expected a number in Hz: pass (array, rate).")
    if samples.dtype.kind not in "iuf":
        raise AudioError(f"{name} cannot be a waveform: expected float or integer samples. Convert it to float32.")
    if samples.ndim not in (1, 2):
        raise AudioError(f"{name} cannot be a waveform: expected (samples,) or (samples, channels). Pass one clip.")
    if samples.size == 0:
        raise AudioError(f"{name} is empty: it holds no samples. Pass at least {MIN_SECONDS} s of sound.")
    if samples.ndim == 1:
        samples = samples[:, np.newaxis]
    elif samples.shape[0] < samples.shape[1]:
        samples = samples.T
    blocks = (_as_float(samples[start : start + BLOCK_FRAMES]) for start in range(0, len(samples), BLOCK_FRAMES))
    return _Recording(name, rate, len(samples) / rate if rate else None, blocks)


def _as_float(samples: np.ndarray) -> np.ndarray:
    """Returns float32 of the same shape; integers scaled to [-1, 1], unsigned ones having their zero in the middle."""
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes inf, which is reported as such
        values = samples.astype(np.float32)
    if samples.dtype.kind == "f":
        return values
    full_scale = np.float32(2.0 ** (8 * samples.dtype.itemsize - 1))
    return (values - full_scale if samples.dtype.kind == "u" else values) / full_scale


def _binary_file(source: Any, stack: ExitStack) -> tuple[str, BinaryIO]:
    """Returns how messages call the file, and the file, seekable and not empty."""
    path = None
    if isinstance(source, dict):
        path, source = source.get("path"), source.get("bytes")
        source = path if source is None else source
    try:
        if isinstance(source, bytes | bytearray):
            name, file = str(path or "The sound in memory"), io.BytesIO(source)
        elif isinstance(source, str | os.PathLike):
            name, file = os.fspath(source), stack.enter_context(_open_path(Path(source)))
        elif hasattr(source, "read") and not isinstance(source, io.TextIOBase):
            name, file = str(getattr(source, "name", "The file object")), source
            if not source.seekable():
                file = io.BytesIO(source.read())
        else:
            raise AudioError(
                f"A {type(source).__name__} was given as audio, expected a path, bytes, a file opened in binary mode, "
                "(array, sampling rate) or a dict of datasets. An array needs its sampling rate."
            )
        size = file.seek(0, io.SEEK_END)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise AudioError(f"{path or source} cannot be opened: {_reason(error)}. Check that it may be read.") from error
    if size == 0:
        raise AudioError(f"{name} is empty (0 bytes), expected a sound. Record or upload it again.")
    return name, file


def _open_path(path: Path) -> BinaryIO:
    if path.is_dir():
        raise AudioError(f"{path} is a folder, expected an audio file. Name the files in it one by one.")
    if not path.is_file():  # which also keeps named pipes, that would block for ever, from being opened
        raise AudioError(f"There is no file {path}, expected an audio file. Check its name and folder.")
    return path.open("rb")


def _open_file(name: str, file: BinaryIO, stack: ExitStack) -> _Recording:
    """Gives the file to the first of the two libraries that gets a sample out of it."""
    failures, cause = [], None
    for library, opener in {"libsndfile": _open_libsndfile, "FFmpeg": _open_ffmpeg}.items():
        try:
            file.seek(0)
            recording = opener(name, _Nameless(file), stack)
            first = next(recording.blocks, None)
        except AudioError:
            raise
        except Exception as error:  # foreign bytes make the libraries raise nearly everything, MemoryError included
            failures.append(f"{library}: {_reason(error)}")
            cause = error
            continue
        if first is not None:
            recording.blocks = chain([first], recording.blocks)
            return recording
        failures.append(f"{library}: it holds no samples")
    raise AudioError(
        f"{name} cannot be read as audio ({'; '.join(failures)}). Expected a complete WAV, AIFF, FLAC, OGG, MP3, M4A, "
        "WebM or MP4 file. Check that it plays, or convert it: ffmpeg -i INPUT -ac 1 -ar 16000 output.wav"
    ) from cause


def _reason(error: Exception) -> str:
    """What the library itself says, without the repr of the file object that both put next to it."""
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return str(text).rstrip(".") or type(error).__name__


def _open_libsndfile(name: str, file: _Nameless, stack: ExitStack) -> _Recording:
    cut_off = is_cut_off(file)
    sound = stack.enter_context(_ForwardSoundFile(file))
    seconds = sound.frames / sound.samplerate if 0 < sound.frames < UNKNOWN_FRAMES else None
    return _Recording(name, sound.samplerate, seconds, _libsndfile_blocks(sound), cut_off)


def _libsndfile_blocks(sound: soundfile.SoundFile) -> Iterator[np.ndarray]:
    while len(block := sound.read(BLOCK_FRAMES, dtype="float32", always_2d=True)):
        yield block


def is_cut_off(file: BinaryIO | _Nameless) -> bool:
    """Whether a WAV or AIFF header announces more bytes than there are, which libsndfile passes over in silence."""
    kind, announced, size = file.read(4), file.read(4), file.seek(0, io.SEEK_END)
    file.seek(0)
    order = {b"RIFF": "little", b"FORM": "big"}.get(kind)
    return order is not None and size + HEADER_SLACK < int.from_bytes(announced, order) < STREAMED_BYTES


def _open_ffmpeg(name: str, file: _Nameless, stack: ExitStack) -> _Recording:
    whitelist = {"format_whitelist": f"{TIMED_CONTAINERS},{UNTIMED_CONTAINERS}"}
    container = stack.enter_context(av.open(file, container_options=whitelist, metadata_errors="replace"))
    stream = container.streams.best("audio")
    if stream is None and container.streams.video:
        raise AudioError(f"{name} is a video without an audio track, expected speech. Choose one with sound.")
    frames = _ffmpeg_frames(name, container, stream) if stream else iter(())
    first = next(frames, None)
    if first is None:
        return _Recording(name, SAMPLING_RATE, None, iter(()))
    seconds = None
    if container.format.name.split(",")[0] in TIMED_CONTAINERS.split(","):
        if stream.duration is not None:
            seconds = float(stream.duration * stream.time_base)
        elif container.duration is not None and len(container.streams) == 1:  # else it may be the picture's
            seconds = container.duration / av.time_base
    blocks = (_frame_samples(name, frame, first.sample_rate) for frame in chain([first], frames))
    return _Recording(name, first.sample_rate, seconds, blocks)


def _ffmpeg_frames(name: str, container: Any, stream: Any) -> Iterator[av.AudioFrame]:
    damaged = 0
    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except av.FFmpegError:  # one bad packet of many: left out, as players do
            damaged += 1
    if damaged:
        logger.warning("%s is damaged: %d packets could not be decoded and are left out", name, damaged)


def _frame_samples(name: str, frame: av.AudioFrame, rate: int) -> np.ndarray:
    if frame.sample_rate != rate:
        raise AudioError(
            f"{name} changes its sampling rate midway, from {rate} to {frame.sample_rate} Hz, expected one rate. "
            "Convert it to WAV first."
        )
    samples = frame.to_ndarray()  # planar: (channels, frames), packed: (1, frames * channels)
    return _as_float(samples.T if frame.format.is_planar else samples.reshape(-1, frame.layout.nb_channels))


def _prepare(recording: _Recording) -> Iterator[np.ndarray]:
    """Yields (samples,) float32, mono at 16 kHz, in pieces of whatever length."""
    if recording.rate == SAMPLING_RATE:
        yield from _mono(recording)
        return
    stream = soxr.ResampleStream(float(recording.rate), SAMPLING_RATE, num_channels=1, dtype="float32", quality="HQ")
    for block in _mono(recording):
        yield _finite(recording.name, stream.resample_chunk(block))
    yield _finite(recording.name, stream.resample_chunk(np.empty(0, np.float32), last=True))


def _mono(recording: _Recording) -> Iterator[np.ndarray]:
    """Yields (frames,) float32, the mean of the channels, as far as the sound can be decoded."""
    frames, damage = 0, None
    while True:
        try:
            block = next(recording.blocks, None)
        except AudioError:
            raise
        except Exception as error:  # as in _open_file; what came before it is good
            damage = error
            break
        if block is None:
            break
        frames += len(block)
        with np.errstate(over="ignore", invalid="ignore"):  # reported by _finite
            mono = block.mean(axis=1, dtype=np.float32)
        yield _finite(recording.name, mono)
    read, announced = frames / recording.rate, recording.seconds or 0.0
    if damage or recording.cut_off or announced > read + MIN_SECONDS:
        extent = f"{read:.2f} s" + (f" of {announced:.2f} s" if announced > read else "")
        reason = f" ({_reason(damage)})" if damage else ""
        logger.warning("%s is damaged or cut off: only the first %s are used%s", recording.name, extent, reason)


def _finite(name: str, block: np.ndarray) -> np.ndarray:
    if not np.isfinite(block).all():
        raise AudioError(f"{name} holds NaN or infinite samples, expected finite ones in [-1, 1]. Export it again.")
    return block


def _too_long(name: str, length: str, limit: float) -> AudioError:
    return AudioError(
        f"{name} is too long: {length}, expected at most {limit:g} s in one piece. "
        "Use timeline for long recordings (python -m ser_hf timeline)."
    )
