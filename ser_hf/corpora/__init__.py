"""Corpora of emotional speech: one module per corpus, each of them → `datasets.Dataset` with the common columns."""

import importlib
import inspect
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ser_hf.errors import DatasetError
from ser_hf.labels import LabelMap

if TYPE_CHECKING:
    from datasets import Dataset

# Each has a module of its name here, whose `load(data_dir, **options)` returns it. A module is imported when it is
# asked for, so that no corpus pays for the imports of another.
CORPORA = ("ravdess", "emodb", "tess", "savee", "crema_d")
TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json")
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")  # owner/data set

_SECONDS_PER_HOUR = 3600
_NAMES_SHOWN = 5  # file names per reason in a one-line summary, of more one; all of them are in the lists


@dataclass(frozen=True)
class Corpus:
    """A loaded corpus: its clips, and what was found wrong with the rest, by name.

    `dataset` has the columns `audio` (`Audio(decode=False)`), `label` (`ClassLabel`), `speaker` (only if that of every
    clip is known), and where known `gender`, `intensity`, `statement`, `repetition`, `channel`, `language`, `corpus`,
    `file` (relative to the corpus's folder) and `duration` (seconds).
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
        else:
            facts.append("speakers unknown")
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


def load_corpus(
    name: str | os.PathLike, data_dir: str | os.PathLike | None = None, *, label_map: LabelMap | None = None, **options
) -> Corpus:
    """Load a data set: a published corpus, a folder of folders named by emotion, a table, or one from the Hub.

    Args:
        name: one of `CORPORA`; else a folder, a CSV, TSV or JSON Lines file; else `owner/data set` on the Hub.
        data_dir: a published corpus's folder, or a folder that holds one folder per corpus. None: the environment
            variable `SER_DATA_DIR`, which may be either; else RAVDESS is downloaded. For a table, where relative paths
            are looked for besides its own folder.
        label_map: label → the class that takes its place, None to leave such clips out; see `labels.read_label_map`.
        options: passed on to the `load` of its module; those that it does not have are passed over.

    Raises:
        DatasetError: no such data set, or nothing usable in it.
    """
    load, place = _loader(name, data_dir)
    understood = inspect.signature(load).parameters
    options = {key: value for key, value in options.items() if key in understood}
    if "label_map" in understood:
        return load(**place, label_map=label_map, **options)
    corpus = load(**place, **options)
    if not label_map:
        return corpus
    from ser_hf.corpora.joining import relabel

    return relabel(corpus, label_map)


def _loader(name: str | os.PathLike, data_dir: str | os.PathLike | None) -> tuple[Callable[..., Corpus], dict]:
    """The function that loads it, and the arguments that say where it is."""
    path = Path(name).expanduser()
    if name in CORPORA:
        module, place = name, {"data_dir": data_dir}
    elif path.is_dir():
        is_parquet = next(path.rglob("*.parquet"), None) is not None
        module, place = ("hub", {"name": str(path)}) if is_parquet else ("folder", {"folder": path})
    elif path.is_file() and path.suffix.lower() in TABLES:
        module, place = "table", {"path": path, "data_dir": data_dir}
    elif path.is_file() or path.suffix.lower() in TABLES:
        what = "is no such file" if path.is_file() else "does not exist"
        raise DatasetError(f"{path} {what}: give a CSV, TSV or JSON Lines file with a row per clip.")
    elif _HUB_NAME.fullmatch(str(name)) and not path.parent.is_dir():  # beside a folder it would be a mistyped path
        module, place = "hub", {"name": str(name)}
    else:
        raise DatasetError(
            f"There is no corpus {str(name)!r}; known are: {', '.join(CORPORA)}. Or give a folder of folders named "
            "by emotion, a CSV, TSV or JSON Lines file, or owner/data set on the Hub."
        )
    return importlib.import_module(f"ser_hf.corpora.{module}").load, place


def corpus_folder(name: str, data_dir: str | os.PathLike) -> Path:
    """The folder of a corpus: that in `data_dir` with its name (CREMA-D is crema_d), else `data_dir` itself.

    Raises:
        DatasetError: `data_dir` is not a folder.
    """
    folder = Path(data_dir).expanduser()
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise DatasetError(f"The data folder {folder} {what}: give the folder that holds {name}, or one above it.")
    named = [path for path in sorted(folder.iterdir()) if _bare(path.name) == _bare(name) and path.is_dir()]
    return named[0] if named else folder


def _bare(name: str) -> str:
    return re.sub(r"[\W_]", "", name).casefold()


def _some(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= _NAMES_SHOWN else f"{len(names):,} such as {names[0]}"
