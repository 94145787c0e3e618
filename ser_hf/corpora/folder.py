"""A folder of folders named by emotion: `happy/one.wav`, `anna/Freude/one.wav`, `happy/anna/one.wav`."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from ser_hf.corpora import Corpus, load_corpus
from ser_hf.corpora.recordings import (
    Clip,
    LeftOut,
    classes_of,
    make_corpus,
    named_emotions,
    nothing_found,
    read_recordings,
    walk_sounds,
)
from ser_hf.corpora.speakers import naming_corpus, with_speakers
from ser_hf.errors import DatasetError
from ser_hf.labels import LabelMap, is_known_emotion

# Names of folders that say nothing of the voice in them.
_PARTS = {"train", "training", "val", "valid", "validation", "dev", "eval", "test", "testing", "audio", "wav", "wavs"}
_SPEAKER = re.compile(r"(speaker|spk|actor|subject|sprecher|voice)", re.IGNORECASE)
_NAMES_SHOWN = 5


def load(folder: str | os.PathLike, *, label_map: LabelMap | None = None, verify: bool = True) -> Corpus:
    """Load a folder whose subfolders, at some level, are named by the emotion of the clips below.

    The speaker is the one other level of folders, if there is one, or told by the file names where they follow a
    published corpus; else it is not known. A folder of such a corpus without folders for emotions is loaded as that
    corpus.

    Raises:
        DatasetError: no level of folders is named by emotions, or nothing in them can be used.
    """
    root = Path(folder).expanduser().absolute()
    paths = list(walk_sounds(root))
    folders = [path.relative_to(root).parts[:-1] for path in paths]
    level = _emotion_level(folders)
    if level is None and (corpus := naming_corpus(paths)):
        return load_corpus(corpus, root, label_map=label_map)
    if level is None and len({parts for parts in folders if len(parts) == 1} - {(part,) for part in _PARTS}) > 1:
        level = 0  # folders side by side, all of them named by emotions of their own
    if level is None:
        raise DatasetError(nothing_found("folder of clips named by its emotion", "happy/one.wav", root, []))
    left_out: LeftOut = []
    speaker_level = _speaker_level(folders, level)
    clips = []
    for path, parts in zip(paths, folders, strict=True):
        if len(parts) <= level:
            left_out.append((path, "is in no folder named by an emotion"))
            continue
        known = speaker_level is not None and len(parts) > speaker_level
        clips.append((path, Clip(parts[level], speaker=parts[speaker_level] if known else None)))
    clips, remarks = named_emotions(clips, label_map, left_out)
    clips, more = with_speakers(clips, [path for path, _ in clips], left_out)
    if speaker_level is not None and not more:
        names = sorted({clip.speaker for _, clip in clips})
        shown = ", ".join(names[:_NAMES_SHOWN]) + ", …" * (len(names) > _NAMES_SHOWN)
        more = [f"the folders {shown} are taken for speakers"]
    recordings = read_recordings(clips, left_out, verify)
    if not recordings:
        raise DatasetError(nothing_found("usable clip", "happy/one.wav", root, left_out))
    return make_corpus(root.name, recordings, [root], classes_of(clips), left_out, warnings=[*remarks, *more])


def _emotion_level(folders: Sequence[tuple[str, ...]]) -> int | None:
    """The level of folders (0: the uppermost) with most clips in emotions of the vocabulary; the deepest of equals."""
    known = {name for parts in folders for name in parts if is_known_emotion(name)}
    counts = [
        (sum(len(parts) > level and parts[level] in known for parts in folders), level)
        for level in range(max(map(len, folders), default=0))
    ]
    count, level = max(counts, default=(0, 0))
    return level if count else None


def _speaker_level(folders: Sequence[tuple[str, ...]], emotion_level: int) -> int | None:
    """The one other level of folders that tells clips apart; of several, the one that calls itself so."""
    found = {}
    for level in range(max(map(len, folders))):
        names = {parts[level] for parts in folders if len(parts) > level}
        if level != emotion_level and len(names) > 1 and not {name.casefold() for name in names} <= _PARTS:
            found[level] = all(_SPEAKER.match(name) for name in names)
    named = [level for level, calls_itself_so in found.items() if calls_itself_so]
    candidates = named or list(found)
    return candidates[0] if len(candidates) == 1 else None
