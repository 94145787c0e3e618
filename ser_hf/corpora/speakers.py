"""Who speaks, where a source of clips does not say: by file names that a published corpus would have."""

import importlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ser_hf.corpora import CORPORA
from ser_hf.corpora.recordings import Clip
from ser_hf.errors import DatasetError

NAMED_SHARE = 0.9  # of the files, that a folder counts as a corpus
UNKNOWN = "speakers unknown: clips of one voice may be on both sides of a split"


def naming_corpus(paths: Sequence[Path]) -> str | None:
    """The published corpus by whose convention these files are named, but for a few strays."""
    for name in CORPORA:
        if paths and sum(_told(name, path) is not None for path in paths) >= NAMED_SHARE * len(paths):
            return name
    return None


def with_speakers(
    clips: list[tuple[Any, Clip]], paths: Sequence[Path], left_out: list[tuple[Any, str]]
) -> tuple[list[tuple[Any, Clip]], list[str]]:
    """The clips with a speaker each or with none at all, and remarks.

    Where fewer than half of the clips name one, the file names are asked. Else those that don't are left out: their
    voices could be those of the others.

    Args:
        paths: of the clips, in their order.
    """
    remarks = []
    if 2 * sum(bool(clip.speaker) for _, clip in clips) < len(clips):
        corpus = naming_corpus(paths)
        if corpus is None:
            return [(file, replace(clip, speaker=None)) for file, clip in clips], [UNKNOWN]
        clips = [
            (file, _completed(clip, _told(corpus, path))) for (file, clip), path in zip(clips, paths, strict=True)
        ]
        remarks = [f"speakers by the file names, which are those of {corpus}"]
    left_out += [(file, "has no speaker, others have") for file, clip in clips if not clip.speaker]
    return [(file, clip) for file, clip in clips if clip.speaker], remarks


def _told(corpus: str, path: Path) -> Any | None:
    """What a file's name says by the convention of a corpus, if it follows it."""
    try:
        return importlib.import_module(f"ser_hf.corpora.{corpus}").parse_file_name(path)
    except DatasetError:
        return None


def _completed(clip: Clip, told: Any | None) -> Clip:
    return clip if told is None else replace(clip, speaker=told.speaker, gender=clip.gender or told.gender)
