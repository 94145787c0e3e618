"""What all corpora share: sound files found in folders, each read once, compared, and put into the common columns."""

import hashlib
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path, PurePath
from typing import Any

from datasets import Audio, ClassLabel, Dataset, Features, Value

from ser_hf.audio import MIN_SECONDS, SAMPLING_RATE, audio_seconds, is_cut_off, load_audio
from ser_hf.corpora import Corpus, corpus_folder
from ser_hf.errors import AudioError, DatasetError
from ser_hf.labels import LabelMap, emotion_of, in_order, is_known_emotion

logger = logging.getLogger(__name__)

# Where a clip is there in two forms, the one whose suffix comes first is kept. The content decides how a file is read.
SOUND_SUFFIXES = (
    ".wav", ".flac", ".wave", ".aif", ".aiff", ".aifc", ".au", ".caf", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".aac",
    ".wma", ".amr", ".3gp", ".webm", ".mp4",
)  # fmt: skip
# The columns besides audio, label, corpus, file and duration; one that a corpus knows nothing for is left out.
CLIP_COLUMNS = ("speaker", "gender", "intensity", "statement", "repetition", "channel", "language")
DECODING_THREADS = min(4, os.cpu_count() or 1)
_DEEPEST = 6  # folders between the data folder and a clip
_TROUBLES_LOGGED = 20  # in the one line of the log; the corpus has them all
_NAMES_SHOWN = 10  # of what a folder without clips holds

LeftOut = list[tuple[Path, str]]  # files with the reason why they are no part of the corpus


@dataclass(frozen=True)
class Clip:
    """What is known of a clip before it is heard; None: not known."""

    emotion: str
    speaker: str | None = None
    gender: str | None = None  # "female" or "male"
    intensity: str | None = None
    statement: str | None = None
    repetition: int | None = None
    channel: str | None = None  # "speech" or "song"
    language: str | None = None  # ISO 639-1


@dataclass(frozen=True)
class Sound:
    """What reading a file said."""

    duration: float = 0.0  # seconds
    digest: str | None = None  # of its waveform; None where only the header was read
    fault: str | None = None  # why it can't be used


@dataclass(frozen=True)
class Recording:
    path: Path
    clip: Any  # a Clip, or a corpus's own class with the same attributes
    sound: Sound


@dataclass(frozen=True)
class Layout:
    """A published corpus whose file names say everything."""

    name: str
    title: str
    emotions: tuple[str, ...]  # in the order of the classes
    parse: Callable[[Path], Clip]  # raises DatasetError for a name outside the convention
    example: str  # where a clip lies
    license: str
    citation: str

    def load(self, data_dir: str | os.PathLike | None = None, *, verify: bool = True) -> Corpus:
        """Load the corpus from its folder.

        Args:
            data_dir: the corpus's folder or one above it; None: `SER_DATA_DIR`.
            verify: decode every clip, to find broken files and recordings that are there twice. False: headers only.

        Raises:
            DatasetError: no folder, or no usable clip in it.
        """
        root = find_folder(self.name, self.title, data_dir)
        left_out: LeftOut = []
        recordings = read_recordings(parsed(walk_sounds(root), self.parse, left_out), left_out, verify)
        recordings = one_per_clip(recordings, left_out)
        recordings.sort(key=lambda recording: (recording.clip.speaker or "", recording.path.stem))
        if not recordings:
            raise DatasetError(nothing_found(f"clip of {self.title}", self.example, root, left_out))
        return make_corpus(
            self.name, recordings, [root], self.emotions, left_out, license=self.license, citation=self.citation
        )


def find_folder(name: str, title: str, data_dir: str | os.PathLike | None) -> Path:
    """`corpus_folder` of the given folder or of `SER_DATA_DIR`, as an absolute path.

    Raises:
        DatasetError: neither is given, or it is no folder.
    """
    given = data_dir if data_dir is not None else os.environ.get("SER_DATA_DIR")
    if not given:
        raise DatasetError(
            f"{title} is not downloaded by this program: get it from its publisher and pass its folder with "
            "--data_dir, or set SER_DATA_DIR to the folder above it."
        )
    return corpus_folder(name, given).absolute()


def walk(root: Path, deepest: int = _DEEPEST) -> Iterator[tuple[Path, list[str], list[Path]]]:
    """Each folder from `root` down with the names of its visible subfolders and its visible files, both sorted.

    Links are followed, a folder that was there before is not entered again.
    """
    entered = set()
    for folder, subfolders, files in os.walk(root, followlinks=True):
        path = Path(folder)
        entered.add(path.resolve())
        visible = sorted(name for name in subfolders if not name.startswith((".", "__MACOSX")))
        yield path, visible, [path / name for name in sorted(files) if not name.startswith(".")]
        is_deepest = len(path.relative_to(root).parts) >= deepest
        subfolders[:] = [] if is_deepest else [n for n in visible if (path / n).resolve() not in entered]


def walk_sounds(root: Path, deepest: int = _DEEPEST) -> Iterator[Path]:
    """All files with the suffix of a sound."""
    for _, _, files in walk(root, deepest):
        yield from (file for file in files if suffix(file) in SOUND_SUFFIXES)


def parsed(paths: Iterable[Path], parse: Callable[[Path], Any], left_out: LeftOut) -> Iterator[tuple[Path, Any]]:
    """The files whose name says which clip they are; the others go to `left_out`."""
    for path in paths:
        try:
            yield path, parse(path)
        except DatasetError as error:
            left_out.append((path, str(error)))


def name_parts(pattern: re.Pattern, path: str | Path, parts: str, example: str) -> tuple[str, ...]:
    """The groups of a file's name, without folders and suffix, by a pattern.

    Raises:
        DatasetError: the name does not follow the pattern; the message says of which parts it should be.
    """
    stem = Path(path).stem
    match = pattern.fullmatch(stem)
    if not match:
        raise DatasetError(f"{stem!r} is not {parts}, like {example}")
    return match.groups()


def decode(codes: dict[str, Any], code: str, field: str, stem: str) -> Any:
    """What a code in a file name stands for.

    Raises:
        DatasetError: nothing; the message says which codes there are.
    """
    if code not in codes:
        first, last = min(codes), max(codes)
        numbered = first.isdecimal() and int(last) - int(first) == len(codes) - 1
        known = f"{first} to {last}" if numbered else f"one of {', '.join(codes)}"
        raise DatasetError(f"{stem!r} has no valid {field}: {code}, expected {known}")
    return codes[code]


def read_recordings(clips: Iterable[tuple[Path, Any]], left_out: LeftOut, verify: bool = True) -> list[Recording]:
    """The clips that can be used, in their order; the others go to `left_out`."""
    clips = list(clips)
    with ThreadPoolExecutor(DECODING_THREADS) as pool:
        sounds = list(pool.map(lambda item: read_sound(item[0], verify), clips))
    recordings = []
    for (path, clip), sound in zip(clips, sounds, strict=True):
        if sound.fault:
            left_out.append((path, sound.fault))
        else:
            recordings.append(Recording(path, clip, sound))
    return recordings


def read_sound(source: Path | dict, verify: bool = True) -> Sound:
    """The length of a path or {"bytes", "path"} and, where it is decoded, the hash of its waveform; or its fault."""
    content = source.get("bytes") if isinstance(source, dict) else None
    path = source if isinstance(source, Path) else Path(source.get("path") or "The sound in memory")
    try:
        with path.open("rb") if content is None else BytesIO(content) as file:
            if is_cut_off(file):
                return Sound(fault="is cut off: shorter than its header says")
        duration = audio_seconds(source)
        if not verify and duration is not None:
            return Sound(duration)
        waveform = load_audio(source)
    except (AudioError, OSError) as error:
        return Sound(fault=str(error).removeprefix(f"{path} ").partition(". ")[0])
    decoded = len(waveform) / SAMPLING_RATE
    if duration is not None and decoded + MIN_SECONDS < duration:
        return Sound(fault=f"is damaged: only {decoded:.2f} of {duration:.2f} s can be decoded")
    digest = hashlib.blake2b(waveform, digest_size=16).hexdigest()
    return Sound(decoded if duration is None else duration, digest)


def named_emotions(
    clips: Iterable[tuple[Any, Clip]], label_map: LabelMap | None, left_out: list[tuple[Any, str]]
) -> tuple[list[tuple[Any, Clip]], list[str]]:
    """(file, clip labelled in the words of its source) → the same with the names of our classes, and remarks."""
    named, new = [], set()
    known: dict[str, str | None] = {}
    for file, clip in clips:
        if not clip.emotion.strip():
            left_out.append((file, "has no label"))
            continue
        if clip.emotion not in known:
            known[clip.emotion] = emotion_of(clip.emotion, label_map)
        emotion = known[clip.emotion]
        if emotion is None:
            left_out.append((file, f"{clip.emotion}: left out by the label map"))
            continue
        if not is_known_emotion(emotion):
            new.add(emotion)
        named.append((file, replace(clip, emotion=emotion)))
    return named, [f"not in the vocabulary, kept as classes: {', '.join(sorted(new))}"] if new else []


def classes_of(clips: Iterable[tuple[Any, Clip]]) -> tuple[str, ...]:
    return in_order(clip.emotion for _, clip in clips)


def one_per_clip(recordings: Iterable[Recording], left_out: LeftOut) -> list[Recording]:
    """Of several files of one clip, that with the first suffix and the shortest path; the others go to `left_out`."""
    kept: dict[Any, Recording] = {}
    preference = {name: rank for rank, name in enumerate(SOUND_SUFFIXES)}
    ordered = sorted(recordings, key=lambda r: (preference[suffix(r.path)], len(r.path.parts), r.path.as_posix()))
    for recording in ordered:
        first = kept.setdefault(recording.clip, recording)
        if first is not recording:
            left_out.append((recording.path, f"the same clip as {short(first.path)}"))
    return list(kept.values())


def same_sound(sounds: Iterable[tuple[str, Sound]]) -> Iterator[tuple[str, str]]:
    """(name, sound) → pairs of names that hold the same waveform, the later one first."""
    first: dict[str, str] = {}
    for name, sound in sounds:
        if sound.digest and first.setdefault(sound.digest, name) != name:
            yield name, first[sound.digest]


def make_corpus(
    name: str, recordings: list[Recording], roots: list[Path], emotions: tuple[str, ...], left_out: LeftOut, **fields
) -> Corpus:
    """The corpus of these recordings, in their order; what was wrong is logged in one line.

    Args:
        roots: files are named by their path below the first of these folders that holds them.
        emotions: the classes.
        fields: of `Corpus`, besides those that follow from the recordings.
    """
    names = [relative(recording.path, roots) for recording in recordings]
    sounds = [recording.sound for recording in recordings]
    columns, features = columns_of(name, [recording.clip for recording in recordings], sounds, names, emotions)
    paths = {"audio": [str(recording.path) for recording in recordings]}
    dataset = Dataset.from_dict({**paths, **columns}, features=Features({"audio": Value("string"), **features}))
    corpus = Corpus(
        name=name,
        # Audio can't be encoded without torchcodec, a column of paths can be cast to it.
        dataset=dataset.cast_column("audio", Audio(decode=False)),
        left_out=sorted((relative(path, roots), reason) for path, reason in left_out),
        duplicates=list(same_sound(zip(names, sounds, strict=True))),
        **fields,
    )
    log(corpus)
    return corpus


def log(corpus: Corpus) -> None:
    """The summary as information; what is wrong with the corpus as one warning."""
    logger.info(corpus.summary)
    troubles = [*corpus.warnings, *(f"left out {file}: {reason}" for file, reason in corpus.left_out)]
    troubles += [f"{later} is the same recording as {first}, both are kept" for later, first in corpus.duplicates]
    if troubles:
        more = f"; and {len(troubles) - _TROUBLES_LOGGED:,} more" * (len(troubles) > _TROUBLES_LOGGED)
        logger.warning("%s: %s%s", corpus.name, "; ".join(troubles[:_TROUBLES_LOGGED]), more)


def nothing_found(what: str, example: str, root: Path, left_out: LeftOut) -> str:
    """The message for a folder without a usable clip: what was expected, what is there, what to do."""
    there = sorted(path.name + "/" * path.is_dir() for path in root.iterdir() if not path.name.startswith("."))
    shown = ", ".join(there[:_NAMES_SHOWN]) + (", …" if len(there) > _NAMES_SHOWN else "")
    faults = "".join(f"; left out: {short(path)} ({reason})" for path, reason in left_out[:1])
    faults += f" and {len(left_out) - 1:,} more" * (len(left_out) > 1)
    return (
        f"No {what} in {root}: expected {example}, found {shown or 'an empty folder'}{faults}. "
        "Pass the folder of the unpacked archive with --data_dir."
    )


def suffix(path: str | Path) -> str:
    return PurePath(path).suffix.lower()


def short(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def relative(path: Path, roots: list[Path]) -> str:
    """The path below the first of the folders that holds it; as it is where none does."""
    root = next((root for root in roots if path.is_relative_to(root)), None)
    return (path if root is None else path.relative_to(root)).as_posix()


def columns_of(
    corpus: str, clips: Sequence[Any], sounds: Sequence[Sound], names: list[str], emotions: tuple[str, ...]
) -> tuple[dict[str, list], Features]:
    """The common columns besides the sound, and their types; what no clip of the corpus has is left out."""
    about = {column: [getattr(clip, column) for clip in clips] for column in CLIP_COLUMNS}
    columns = {
        "label": [emotions.index(clip.emotion) for clip in clips],
        **{column: values for column, values in about.items() if any(value is not None for value in values)},
        "corpus": [corpus] * len(clips),
        "file": names,
        "duration": [sound.duration for sound in sounds],
    }
    types = {"label": ClassLabel(names=list(emotions)), "repetition": Value("int32"), "duration": Value("float64")}
    return columns, Features({column: types.get(column, Value("string")) for column in columns})
