"""RAVDESS: 24 actors speak and sing two sentences in eight emotions.

Livingstone & Russo (2018), PLoS ONE 13(5), doi 10.1371/journal.pone.0196391; archive: Zenodo record 1188976.
"""

import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import ClassVar, Literal, get_args

from filelock import FileLock

from ser_hf.corpora import Corpus, corpus_folder
from ser_hf.corpora.download import default_cache_dir, fetch, unzip, zenodo_file
from ser_hf.corpora.recordings import (
    LeftOut,
    Recording,
    decode,
    make_corpus,
    nothing_found,
    one_per_clip,
    parsed,
    read_recordings,
    suffix,
    walk,
)
from ser_hf.errors import DatasetError
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

AUDIO_SUFFIXES = (".wav", ".flac")
OTHER_MEDIA_SUFFIXES = {".mp4", ".mp3", ".ogg", ".m4a", ".aac", ".aif", ".aiff", ".avi", ".mov"}
_ACTOR_FOLDER = re.compile(r"actor_(\d\d)", re.IGNORECASE)
_DEEPEST = 3  # folders between the data folder and a clip: archive / archive again, as some unpack it / Actor_NN


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
    language: ClassVar[str] = "en"

    @property
    def speaker(self) -> str:
        return f"{self.actor:02d}"

    @property
    def gender(self) -> str:
        return "male" if self.actor % 2 else "female"


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
        modality=decode(MODALITIES, modality, "modality", stem),
        channel=decode(CHANNELS, channel, "vocal channel", stem),
        emotion=decode({f"{code:02d}": name for code, name in enumerate(EMOTIONS, 1)}, emotion, "emotion", stem),
        intensity=decode(INTENSITIES, intensity, "intensity", stem),
        statement=decode(STATEMENTS, statement, "statement", stem),
        repetition=decode(REPETITIONS, repetition, "repetition", stem),
        actor=decode({f"{number:02d}": number for number in ACTORS}, actor, "actor", stem),
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
    left_out: LeftOut = []
    wanted = ((path, clip) for path, clip in _named_clips(root, left_out) if channel in (clip.channel, "both"))
    recordings = one_per_clip(read_recordings(wanted, left_out, verify), left_out)
    if not recordings:
        archive = ARCHIVES["song" if channel == "song" else "speech"]
        what = f"{'' if channel == 'both' else channel + ' '}clip of RAVDESS"
        raise DatasetError(nothing_found(what, f"{archive}/Actor_NN/03-…-NN.wav (or .flac)", root, left_out))
    channels = list(ARCHIVES)
    recordings.sort(key=lambda r: (channels.index(r.clip.channel), r.clip.actor, r.path.stem))
    missing = [line for part in ARCHIVES if channel in (part, "both") for line in _missing(recordings, part)]
    return make_corpus(
        "ravdess", recordings, [root], CHANNEL_EMOTIONS[channel], left_out,
        warnings=missing, license=LICENSE, citation=CITATION,
    )  # fmt: skip


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
    for folder, subfolders, files in walk(root, _DEEPEST):
        actor = _ACTOR_FOLDER.fullmatch(folder.name)
        if not actor and not any(_ACTOR_FOLDER.fullmatch(name) for name in subfolders):
            continue  # something else's folder, such as another corpus beside this one
        for file in files:
            if suffix(file) in {*AUDIO_SUFFIXES, *OTHER_MEDIA_SUFFIXES}:
                yield file, int(actor[1]) if actor else None


def _named_clips(root: Path, left_out: LeftOut) -> Iterator[tuple[Path, Clip]]:
    """The files whose name and place say that they are an audio-only clip; the others go to `left_out`."""
    actors = dict(_media_files(root))
    for path, clip in parsed(actors, parse_file_name, left_out):
        fault = _misplaced(path, clip, actors[path])
        if fault:
            left_out.append((path, fault))
        else:
            yield path, clip


def _misplaced(path: Path, clip: Clip, folder_actor: int | None) -> str | None:
    archives = {archive.lower(): channel for channel, archive in ARCHIVES.items()}
    folder_channels = {archives[part.lower()] for part in path.parts if part.lower() in archives}
    if clip.modality != "audio-only":
        return f"{clip.modality}: only the audio-only files are used, since the takes are the same"
    if suffix(path) not in AUDIO_SUFFIXES:
        return "neither WAV nor FLAC"
    if folder_actor is None:
        return "not in a folder Actor_NN"
    if folder_actor != clip.actor:
        return f"actor {clip.actor:02d} by its name, but in a folder of actor {folder_actor:02d}"
    if folder_channels and clip.channel not in folder_channels:
        return f"{clip.channel} by its name, but in a folder of {folder_channels.pop()}"
    return None


def _missing(recordings: Iterable[Recording], channel: str) -> Iterator[str]:
    counts = Counter(recording.clip.actor for recording in recordings if recording.clip.channel == channel)
    expected = CLIPS_PER_ACTOR[channel]
    absent = sorted(CHANNEL_ACTORS[channel] - set(counts))
    if absent:
        yield f"{channel}: no clip of actor{'s' * (len(absent) > 1)} {', '.join(f'{actor:02d}' for actor in absent)}"
    incomplete = [f"{actor:02d} ({counts[actor]})" for actor in sorted(counts) if counts[actor] < expected]
    if incomplete:
        yield f"{channel}: fewer than {expected} clips of actor{'s' * (len(incomplete) > 1)} {', '.join(incomplete)}"
