"""RAVDESS: 24 actors speak and sing two sentences in eight emotions.

Livingstone & Russo (2018), PLoS ONE 13(5), doi 10.1371/journal.pone.0196391; archive: Zenodo record 1188976.
"""

import hashlib
import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Literal, get_args

from datasets import Audio, ClassLabel, Dataset, Features, Value
from filelock import FileLock

from ser_hf.audio import MIN_SECONDS, SAMPLING_RATE, audio_seconds, is_cut_off, load_audio
from ser_hf.corpora import Corpus, corpus_folder
from ser_hf.corpora.download import default_cache_dir, fetch, unzip, zenodo_file
from ser_hf.errors import AudioError, DatasetError
from ser_hf.labels import EMOTIONS

logger = logging.getLogger(__name__)

Channel = Literal["speech", "song", "both"]

LICENSE = "CC BY-NC-SA 4.0"
CITATION = (
    "Livingstone SR, Russo FA (2018). The Ryerson Audio-Visual Database of Emotional Speech and Song (RAVDESS). "
    "PLoS ONE 13(5): e0196391. https://doi.org/10.1371/journal.pone.0196391"
)
ZENODO_RECORD = 1188976
ARCHIVES = {"speech": "Audio_Speech_Actors_01-24", "song": "Audio_Song_Actors_01-24"}

# The fields of a file name, in their order: modality-channel-emotion-intensity-statement-repetition-actor.
MODALITIES = {"01": "audio-video", "02": "video-only", "03": "audio-only"}
CHANNELS = {"01": "speech", "02": "song"}
INTENSITIES = {"01": "normal", "02": "strong"}
STATEMENTS = {"01": "Kids are talking by the door", "02": "Dogs are sitting by the door"}
REPETITIONS = {"01": 1, "02": 2}
ACTORS = range(1, 25)  # odd numbers are male, even ones female

SONG_EMOTIONS = EMOTIONS[:6]  # nobody sings in disgust or surprise
CHANNEL_EMOTIONS = {"speech": EMOTIONS, "song": SONG_EMOTIONS, "both": EMOTIONS}
CHANNEL_ACTORS = {"speech": set(ACTORS), "song": set(ACTORS) - {18}}  # actor 18 has no songs in the archive
CLIPS_PER_ACTOR = {"speech": 60, "song": 44}  # 2 statements x 2 repetitions x (neutral + the others x 2 intensities)

AUDIO_SUFFIXES = (".wav", ".flac")  # the first is kept where a clip is there as both
OTHER_MEDIA_SUFFIXES = {".mp4", ".mp3", ".ogg", ".m4a", ".aac", ".aif", ".aiff", ".avi", ".mov"}
DECODING_THREADS = min(4, os.cpu_count() or 1)
_ACTOR_FOLDER = re.compile(r"actor_(\d\d)", re.IGNORECASE)
_DEEPEST = 3  # folders between the data folder and a clip: archive / archive again, as some unpack it / Actor_NN
_TROUBLES_LOGGED = 20  # in the one line of the log; the corpus has them all
_NAMES_SHOWN = 10  # of what a folder without clips holds


@dataclass(frozen=True)
class Clip:
    """What the name of a file of RAVDESS says about it."""

    modality: str  # "audio-video", "video-only" or "audio-only"
    channel: str  # "speech" or "song"
    emotion: str
    intensity: str  # "normal" or "strong"
    statement: str  # the sentence
    repetition: int  # 1 or 2
    actor: int  # 1 to 24

    @property
    def speaker(self) -> str:
        return f"{self.actor:02d}"

    @property
    def gender(self) -> str:
        return "male" if self.actor % 2 else "female"


@dataclass(frozen=True)
class _Recording:
    """A file, and what reading it said: its length, the hash of its waveform, or why it can't be used."""

    path: Path
    clip: Clip
    duration: float = 0.0  # seconds
    digest: str | None = None
    fault: str | None = None


def parse_file_name(name: str | os.PathLike) -> Clip:
    """Read a file name such as `03-01-06-01-02-01-12.wav` (folders and suffix do not matter).

    Raises:
        DatasetError: the name does not follow the published convention; the message says where.
    """
    stem = PurePath(name).name.split(".")[0]
    codes = stem.split("-")
    if len(codes) != 7 or not all(re.fullmatch(r"[0-9]{2}", code) for code in codes):
        raise DatasetError(f"{stem!r} is not seven two-digit codes joined by hyphens, like 03-01-06-01-02-01-12")
    modality, channel, emotion, intensity, statement, repetition, actor = codes
    clip = Clip(
        modality=_decode(MODALITIES, modality, "modality", stem),
        channel=_decode(CHANNELS, channel, "vocal channel", stem),
        emotion=_decode({f"{code:02d}": name for code, name in enumerate(EMOTIONS, 1)}, emotion, "emotion", stem),
        intensity=_decode(INTENSITIES, intensity, "intensity", stem),
        statement=_decode(STATEMENTS, statement, "statement", stem),
        repetition=_decode(REPETITIONS, repetition, "repetition", stem),
        actor=_decode({f"{number:02d}": number for number in ACTORS}, actor, "actor", stem),
    )
    if clip.emotion == "neutral" and clip.intensity == "strong":
        raise DatasetError(f"{stem!r} says strong neutral, which does not exist in RAVDESS")
    if clip.emotion not in CHANNEL_EMOTIONS[clip.channel]:
        raise DatasetError(f"{stem!r} says {clip.emotion} in song, which does not exist in RAVDESS")
    return clip


def load(data_dir: str | os.PathLike | None = None, *, channel: Channel = "speech", verify: bool = True) -> Corpus:
    """Load RAVDESS from a folder in the layout of the original archive.

    Args:
        data_dir: a folder that holds `Audio_Speech_Actors_01-24/Actor_NN/*.wav` (or `.flac`) and its counterpart for
            song, or one of those two, or the `Actor_NN` folders themselves. None: `SER_DATA_DIR`, else a download.
        channel: what to load. The labels are all eight emotions for "speech" and "both", the first six for "song".
        verify: decode every clip, to find broken files and recordings that are there twice. False reads headers only.

    Returns:
        the clips sorted by channel, actor and file name, with what was left out and why.

    Raises:
        DatasetError: no usable clip in the folder, or no folder and no network.
    """
    if channel not in get_args(Channel):
        raise DatasetError(f"channel is {channel!r}, expected one of: {', '.join(get_args(Channel))}.")
    root = _find_root(data_dir, channel).absolute()
    left_out: list[tuple[Path, str]] = []
    wanted = [(path, clip) for path, clip in _named_clips(root, left_out) if channel in (clip.channel, "both")]
    with ThreadPoolExecutor(DECODING_THREADS) as pool:
        recordings = list(pool.map(lambda named: _read(*named, verify), wanted))
    left_out += [(recording.path, recording.fault) for recording in recordings if recording.fault]
    recordings = _one_per_clip((recording for recording in recordings if not recording.fault), left_out)
    if not recordings:
        raise DatasetError(_nothing_found(root, channel, left_out))
    corpus = Corpus(
        name="ravdess",
        dataset=_to_dataset(recordings, root, CHANNEL_EMOTIONS[channel]),
        left_out=sorted((_relative(path, root), reason) for path, reason in left_out),
        duplicates=[(_relative(later, root), _relative(first, root)) for later, first in _same_sound(recordings)],
        warnings=[line for part in ARCHIVES if channel in (part, "both") for line in _missing(recordings, part)],
        license=LICENSE,
        citation=CITATION,
    )
    _log(corpus)
    return corpus


def download(
    cache_dir: str | os.PathLike | None = None, channel: Channel = "speech", *, base_url: str | None = None
) -> Path:
    """Download RAVDESS from Zenodo (about 0.2 GB for speech, as much for song) and unpack it; done once.

    Args:
        cache_dir: None means `$SER_CACHE_DIR/ravdess`, else `~/.cache/ser_hf/ravdess`.
        base_url: a mirror of https://zenodo.org; the environment variable `SER_ZENODO_URL` does the same.

    Returns:
        the folder to pass to `load` as `data_dir`.

    Raises:
        DatasetError: no network, a wrong checksum, or a disk that cannot be written.
    """
    folder = Path(cache_dir) if cache_dir is not None else default_cache_dir() / "ravdess"
    for part, archive in ARCHIVES.items():
        # A folder of an archive appears only when it is complete, so its being there is the mark of completion.
        if channel in (part, "both") and not (folder / archive).is_dir():
            _download_archive(folder, archive, base_url)
    return folder


def _download_archive(folder: Path, archive: str, base_url: str | None) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatasetError(
            f"Cannot create {folder} ({error.strerror or error}): set SER_CACHE_DIR to another folder."
        ) from error
    with FileLock(folder / f".{archive}.lock"):  # the processes of one training all come here at once
        if (folder / archive).is_dir():
            return
        remote = zenodo_file(ZENODO_RECORD, f"{archive}.zip", base_url)
        logger.info("Downloading %s to %s", remote.url, folder)
        zipped = fetch(remote.url, folder / f"{archive}.zip", md5=remote.md5, size=remote.size)
        unzip(zipped, folder / archive)
        zipped.unlink()


def _decode(codes: dict, code: str, field: str, stem: str):
    if code not in codes:
        raise DatasetError(f"{stem!r} has no valid {field}: {code}, expected {min(codes)} to {max(codes)}")
    return codes[code]


def _find_root(data_dir: str | os.PathLike | None, channel: Channel) -> Path:
    if data_dir is not None:
        return corpus_folder("ravdess", data_dir)
    from_environment = os.environ.get("SER_DATA_DIR")
    if from_environment:
        root = corpus_folder("ravdess", from_environment)
        if next(_media_files(root), None):
            return root
        logger.info("There is no RAVDESS in SER_DATA_DIR (%s), so it is downloaded.", from_environment)
    return download(channel=channel)


def _media_files(root: Path) -> Iterator[tuple[Path, int | None]]:
    """All sound and video files in or beside `Actor_NN` folders, with that folder's number (None beside it)."""
    for folder, subfolders, files in os.walk(root, followlinks=True):  # the depth is bounded, so are loops of links
        path = Path(folder)
        depth = len(path.relative_to(root).parts)
        visible = sorted(name for name in subfolders if not name.startswith((".", "__MACOSX")))
        subfolders[:] = visible if depth < _DEEPEST else []
        actor = _ACTOR_FOLDER.fullmatch(path.name)
        if not actor and not any(_ACTOR_FOLDER.fullmatch(name) for name in visible):
            continue  # something else's folder, such as another corpus beside this one
        for file in sorted(files):
            if not file.startswith(".") and _suffix(file) in {*AUDIO_SUFFIXES, *OTHER_MEDIA_SUFFIXES}:
                yield path / file, int(actor[1]) if actor else None


def _named_clips(root: Path, left_out: list[tuple[Path, str]]) -> Iterator[tuple[Path, Clip]]:
    """The files whose name and place say that they are an audio-only clip; the others go to `left_out`."""
    for path, folder_actor in _media_files(root):
        try:
            clip = parse_file_name(path)
        except DatasetError as error:
            left_out.append((path, str(error)))
            continue
        fault = _misplaced(path, clip, folder_actor)
        if fault:
            left_out.append((path, fault))
        else:
            yield path, clip


def _misplaced(path: Path, clip: Clip, folder_actor: int | None) -> str | None:
    archives = {archive.lower(): channel for channel, archive in ARCHIVES.items()}
    folder_channels = {archives[part.lower()] for part in path.parts if part.lower() in archives}
    if clip.modality != "audio-only":
        return f"{clip.modality}: only the audio-only files are used, since the takes are the same"
    if _suffix(path) not in AUDIO_SUFFIXES:
        return "neither WAV nor FLAC"
    if folder_actor is None:
        return "not in a folder Actor_NN"
    if folder_actor != clip.actor:
        return f"actor {clip.actor:02d} by its name, but in a folder of actor {folder_actor:02d}"
    if folder_channels and clip.channel not in folder_channels:
        return f"{clip.channel} by its name, but in a folder of {folder_channels.pop()}"
    return None


def _read(path: Path, clip: Clip, verify: bool) -> _Recording:
    try:
        with path.open("rb") as file:
            if is_cut_off(file):
                return _Recording(path, clip, fault="is cut off: shorter than its header says")
        duration = audio_seconds(path)
        if not verify and duration is not None:
            return _Recording(path, clip, duration)
        waveform = load_audio(path)
    except (AudioError, OSError) as error:
        reason = str(error).removeprefix(f"{path} ").partition(". ")[0]
        return _Recording(path, clip, fault=reason)
    decoded = len(waveform) / SAMPLING_RATE
    if duration is not None and decoded + MIN_SECONDS < duration:
        return _Recording(path, clip, fault=f"is damaged: only {decoded:.2f} of {duration:.2f} s can be decoded")
    digest = hashlib.blake2b(waveform, digest_size=16).hexdigest()
    return _Recording(path, clip, decoded if duration is None else duration, digest)


def _one_per_clip(recordings: Iterable[_Recording], left_out: list[tuple[Path, str]]) -> list[_Recording]:
    """Sorted by channel, actor and name; of several files of one clip, the first suffix and shortest path is kept."""
    kept: dict[Clip, _Recording] = {}
    preference = {suffix: rank for rank, suffix in enumerate(AUDIO_SUFFIXES)}
    ordered = sorted(recordings, key=lambda r: (preference[_suffix(r.path)], len(r.path.parts), r.path.as_posix()))
    for recording in ordered:
        first = kept.setdefault(recording.clip, recording)
        if first is not recording:
            left_out.append((recording.path, f"the same clip as {_short(first.path)}"))
    channels = list(ARCHIVES)
    return sorted(kept.values(), key=lambda r: (channels.index(r.clip.channel), r.clip.actor, r.path.stem))


def _same_sound(recordings: Iterable[_Recording]) -> Iterator[tuple[Path, Path]]:
    first: dict[str, Path] = {}
    for recording in recordings:
        if recording.digest and first.setdefault(recording.digest, recording.path) != recording.path:
            yield recording.path, first[recording.digest]


def _missing(recordings: Iterable[_Recording], channel: str) -> Iterator[str]:
    counts = Counter(recording.clip.actor for recording in recordings if recording.clip.channel == channel)
    expected = CLIPS_PER_ACTOR[channel]
    absent = sorted(CHANNEL_ACTORS[channel] - set(counts))
    if absent:
        yield f"{channel}: no clip of actor{'s' * (len(absent) > 1)} {', '.join(f'{actor:02d}' for actor in absent)}"
    incomplete = [f"{actor:02d} ({counts[actor]})" for actor in sorted(counts) if counts[actor] < expected]
    if incomplete:
        yield f"{channel}: fewer than {expected} clips of actor{'s' * (len(incomplete) > 1)} {', '.join(incomplete)}"


def _to_dataset(recordings: list[_Recording], root: Path, emotions: tuple[str, ...]) -> Dataset:
    clips = [recording.clip for recording in recordings]
    columns = {
        "audio": [str(recording.path) for recording in recordings],
        "label": [emotions.index(clip.emotion) for clip in clips],
        "speaker": [clip.speaker for clip in clips],
        "gender": [clip.gender for clip in clips],
        "intensity": [clip.intensity for clip in clips],
        "statement": [clip.statement for clip in clips],
        "repetition": [clip.repetition for clip in clips],
        "channel": [clip.channel for clip in clips],
        "language": ["en"] * len(clips),
        "corpus": ["ravdess"] * len(clips),
        "file": [_relative(recording.path, root) for recording in recordings],
        "duration": [recording.duration for recording in recordings],
    }
    types = {"label": ClassLabel(names=list(emotions)), "repetition": Value("int32"), "duration": Value("float64")}
    features = Features({name: types.get(name, Value("string")) for name in columns})
    # Audio can't be encoded without torchcodec, a column of paths can be cast to it.
    return Dataset.from_dict(columns, features=features).cast_column("audio", Audio(decode=False))


def _nothing_found(root: Path, channel: str, left_out: list[tuple[Path, str]]) -> str:
    there = sorted(path.name + "/" * path.is_dir() for path in root.iterdir() if not path.name.startswith("."))
    shown = ", ".join(there[:_NAMES_SHOWN]) + (", …" if len(there) > _NAMES_SHOWN else "")
    faults = "".join(f"; left out: {_short(path)} ({reason})" for path, reason in left_out[:1])
    faults += f" and {len(left_out) - 1:,} more" * (len(left_out) > 1)
    archive = ARCHIVES["song" if channel == "song" else "speech"]
    return (
        f"No {'' if channel == 'both' else channel + ' '}clip of RAVDESS in {root}: expected "
        f"{archive}/Actor_NN/03-…-NN.wav (or .flac), found {shown or 'an empty folder'}{faults}. "
        "Pass the folder of the unpacked archive with --data_dir."
    )


def _log(corpus: Corpus) -> None:
    logger.info(corpus.summary)
    troubles = [*corpus.warnings, *(f"left out {file}: {reason}" for file, reason in corpus.left_out)]
    troubles += [f"{later} is the same recording as {first}, both are kept" for later, first in corpus.duplicates]
    if troubles:
        more = f"; and {len(troubles) - _TROUBLES_LOGGED:,} more" * (len(troubles) > _TROUBLES_LOGGED)
        logger.warning("RAVDESS: %s%s", "; ".join(troubles[:_TROUBLES_LOGGED]), more)


def _suffix(path: str | Path) -> str:
    return PurePath(path).suffix.lower()


def _short(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()
