"""A CSV, TSV or JSON Lines file with a row per clip: where its sound lies, its emotion and perhaps who speaks."""

import csv
import json
import os
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

from ser_hf.corpora import Corpus
from ser_hf.corpora.columns import choose_columns, clip_of, text
from ser_hf.corpora.recordings import Clip, LeftOut, classes_of, make_corpus, named_emotions, read_recordings
from ser_hf.corpora.speakers import with_speakers
from ser_hf.errors import DatasetError
from ser_hf.labels import LabelMap

JSON_LINES = (".jsonl", ".ndjson", ".json")
SUFFIXES = (".csv", ".tsv", *JSON_LINES)
_SEPARATORS = ",;\t|"


def load(
    path: str | os.PathLike,
    data_dir: str | os.PathLike | None = None,
    *,
    audio_column: str | None = None,
    label_column: str | None = None,
    speaker_column: str | None = None,
    label_map: LabelMap | None = None,
    verify: bool = True,
) -> Corpus:
    """Load the clips that a table names.

    Args:
        path: `.csv` (comma, semicolon or tab), `.tsv`, or `.jsonl` (one JSON object per line), in UTF-8.
        data_dir: relative paths are looked for beside the table and then here.
        audio_column, label_column, speaker_column: by default those with a usual name (`columns.USUAL`).

    Raises:
        DatasetError: the table cannot be read, a column is missing, or no clip can be used.
    """
    table = Path(path).expanduser().absolute()
    rows = list(read_rows(table))
    if not rows:
        raise DatasetError(f"The table {table} has no rows: a line with the names of the columns and one per clip.")
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = choose_columns(names, table.name, audio=audio_column, label=label_column, speaker=speaker_column)
    folders = [table.parent, *([Path(data_dir).expanduser().absolute()] if data_dir is not None else [])]
    left_out: LeftOut = []
    clips: dict[Path, Clip] = {}
    for number, row in enumerate(rows, 1):
        written = text(row.get(columns["audio"]))
        file = find_file(written, folders)
        if file is None:
            left_out.append((Path(written or f"row {number}"), "does not exist" if written else "names no file"))
        elif file in clips:
            left_out.append((file, "there twice, the first row counts"))
        else:
            clips[file] = clip_of(row, columns)
    named, remarks = named_emotions(clips.items(), label_map, left_out)
    named, more = with_speakers(named, [file for file, _ in named], left_out)
    recordings = read_recordings(named, left_out, verify)
    if not recordings:
        file, reason = left_out[0]
        looked = " and ".join(map(str, folders))
        raise DatasetError(
            f"None of the {len(rows):,} clips of {table.name} can be used; the first: {file} {reason}. Relative paths "
            f"are looked for in {looked}: give the folder of the sounds with --data_dir."
        )
    return make_corpus(table.stem, recordings, folders, classes_of(named), left_out, warnings=[*remarks, *more])


def read_rows(table: Path) -> Iterator[dict]:
    """A dict per row."""
    try:
        content = table.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DatasetError(f"The table {table} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"The table {table} is not UTF-8 text: save it as UTF-8 (in Excel: CSV UTF-8).") from error
    if table.suffix.lower() in JSON_LINES:
        yield from _json_lines(table, content)
        return
    header = content.partition("\n")[0]
    separator = "\t" if table.suffix.lower() == ".tsv" else max(_SEPARATORS, key=header.count)
    try:
        # A row that is too long has its surplus under None.
        for row in csv.DictReader(StringIO(content, newline=""), delimiter=separator):
            yield {name: value for name, value in row.items() if name}
    except csv.Error as error:
        raise DatasetError(f"The table {table} is damaged: {error}.") from error


def _json_lines(table: Path, content: str) -> Iterator[dict]:
    for number, line in enumerate(content.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DatasetError(f"Line {number} of {table} is not JSON: {error}.") from error
        if not isinstance(row, dict):
            raise DatasetError(f"Line {number} of {table} is a {type(row).__name__}, expected one JSON object a line.")
        yield row


def find_file(written: str, folders: list[Path]) -> Path | None:
    """The file that a cell names, absolute or in one of the folders; a Windows path is understood everywhere."""
    for spelling in (written, written.replace("\\", "/")) if written else ():
        for folder in folders:
            file = folder / spelling
            if file.is_file():
                return file
    return None
