"""Corpora of emotional speech: one module per corpus, each of them → `datasets.Dataset` with the common columns."""

import importlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ser_hf.errors import DatasetError

if TYPE_CHECKING:
    from datasets import Dataset

# Name of a corpus → the module whose `load(data_dir, **options)` returns it. A module is imported when it is asked
# for, so that no corpus pays for the imports of another.
CORPORA = {"ravdess": "ser_hf.corpora.ravdess"}

_SECONDS_PER_HOUR = 3600
_NAMES_SHOWN = 5  # file names per reason in a one-line summary; all of them are in the lists


@dataclass(frozen=True)
class Corpus:
    """A loaded corpus: its clips, and what was found wrong with the rest, by name.

    `dataset` has the columns `audio` (`Audio(decode=False)`), `label` (`ClassLabel`), `speaker`, and where known
    `gender`, `intensity`, `statement`, `repetition`, `channel`, `language`, `corpus`, `file` (relative to the
    corpus's folder) and `duration` (seconds).
    """

    name: str
    dataset: "Dataset"
    left_out: list[tuple[str, str]] = field(default_factory=list)  # (file, reason)
    duplicates: list[tuple[str, str]] = field(default_factory=list)  # (file, the file that holds the same sound)
    warnings: list[str] = field(default_factory=list)
    license: str = ""
    citation: str = ""

    @property
    def summary(self) -> str:
        """One line: clips, hours, speakers, emotions, and what was left out and why."""
        columns = self.dataset.column_names
        facts = [f"{len(self.dataset):,} clips"]
        if "duration" in columns:
            facts.append(f"{sum(self.dataset['duration']) / _SECONDS_PER_HOUR:.2f} h")
        if "speaker" in columns:
            facts.append(f"{len(set(self.dataset['speaker']))} speakers")
        emotions = self.dataset.features["label"].names
        facts.append(f"{len(emotions)} emotions ({', '.join(emotions)})")
        remarks = [f"{_some(files)}: {reason}" for reason, files in self._files_by_reason().items()]
        if self.duplicates:
            pairs = [f"{later} = {first}" for later, first in self.duplicates]
            remarks.append(f"same recording twice, both kept: {_some(pairs)}")
        left_out = f"{len(self.left_out)} left out" if self.left_out else "nothing left out"
        return f"{self.name}: {', '.join(facts)}; {'; '.join([left_out, *remarks, *self.warnings])}"

    def _files_by_reason(self) -> dict[str, list[str]]:
        files: dict[str, list[str]] = {}
        for file, reason in self.left_out:
            files.setdefault(reason, []).append(file)
        return files


def load_corpus(name: str, data_dir: str | None = None, **options) -> Corpus:
    """Load a corpus by name.

    Args:
        name: one of `CORPORA`.
        data_dir: the corpus's folder, or a folder that holds one folder per corpus. None: the environment variable
            `SER_DATA_DIR`, which may be either; else the corpus is downloaded, where its licence lets it be.
        options: passed to the corpus's `load`, such as `channel="song"` for RAVDESS.

    Raises:
        DatasetError: no such corpus, no such folder, or nothing usable in it.
    """
    if name not in CORPORA:
        raise DatasetError(f"There is no corpus {name!r}; known are: {', '.join(sorted(CORPORA))}.")
    return importlib.import_module(CORPORA[name]).load(data_dir, **options)


def corpus_folder(name: str, data_dir: str | os.PathLike) -> Path:
    """The folder of a corpus: `data_dir/name` where there is one, else `data_dir` itself.

    Raises:
        DatasetError: `data_dir` is not a folder.
    """
    folder = Path(data_dir).expanduser()
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise DatasetError(f"The data folder {folder} {what}: give the folder that holds {name}, or one above it.")
    return folder / name if (folder / name).is_dir() else folder


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:_NAMES_SHOWN])
    return shown if len(names) <= _NAMES_SHOWN else f"{shown} and {len(names) - _NAMES_SHOWN:,} more"
