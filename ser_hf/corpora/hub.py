"""A data set of the Hugging Face Hub, or a folder in a form that `datasets.load_dataset` reads, such as Parquet."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Audio, ClassLabel, Dataset, IterableDataset, Value
from datasets.fingerprint import Hasher
from huggingface_hub.errors import HfHubHTTPError

from ser_hf.corpora import Corpus
from ser_hf.corpora.columns import TEXT_COLUMNS, choose_columns, clip_of
from ser_hf.corpora.recordings import (
    DECODING_THREADS,
    Clip,
    Sound,
    classes_of,
    columns_of,
    log,
    named_emotions,
    read_sound,
    same_sound,
)
from ser_hf.corpora.speakers import with_speakers
from ser_hf.errors import DatasetError
from ser_hf.labels import LabelMap

_ROWS_WRITTEN = 100  # at once, of a stream: its sounds are in memory until then


def load(
    name: str,
    *,
    audio_column: str | None = None,
    label_column: str | None = None,
    speaker_column: str | None = None,
    dataset_config: str | None = None,
    dataset_split: str | None = None,
    streaming: bool = False,
    label_map: LabelMap | None = None,
    verify: bool = True,
) -> Corpus:
    """Load a data set with a column of sounds and one of labels (class numbers, words or codes).

    Sounds are never decoded by `datasets`, which would need FFmpeg's libraries, but by `ser_hf.audio`.

    Args:
        name: on the Hub, or a folder.
        dataset_config: where the data set has several.
        dataset_split: such as "train"; by default all of them together, since the protocol divides them anew.
        streaming: read the rows one by one over the network and keep only the columns needed, in memory-mapped Arrow;
            else the files of the data set are downloaded first.

    Raises:
        DatasetError: no such data set, configuration, split or column, no network, or no usable clip.
    """
    dataset, columns = open_rows(
        name, dataset_config, dataset_split, streaming,
        audio=audio_column, label=label_column, speaker=speaker_column,
    )  # fmt: skip
    return _to_corpus(Path(name).name, dataset, columns, label_map, verify)


def open_rows(
    name: str, config: str | None, split: str | None, streaming: bool, **wanted: str | None
) -> tuple[Dataset, dict[str, str | None]]:
    """All rows with the columns that are wanted (as for `choose_columns`), undecoded; and which column holds what.

    Raises:
        DatasetError: no such data set, configuration, split or column, or no network.
    """
    try:
        return _open(name, config, split, streaming, **wanted)
    except (OSError, ValueError, TypeError, HfHubHTTPError, datasets.exceptions.DatasetsError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DatasetError(
            f"{name} is no folder, no table and no data set that can be loaded from the Hub ({reason:.300}). Give the "
            "name owner/data set, or the path of a folder or of a CSV, TSV or JSON Lines file."
        ) from error


def _open(
    name: str, config: str | None, split: str | None, streaming: bool, **wanted: str | None
) -> tuple[Dataset, dict[str, str | None]]:
    loaded = datasets.load_dataset(name, config, split=split, streaming=streaming)
    parts = list(loaded.values()) if isinstance(loaded, dict) else [loaded]
    features = parts[0].features or parts[0].take(1)._resolve_features().features
    sounds = [column for column, kind in features.items() if isinstance(kind, Audio)]
    if sounds and wanted["audio"] is None:
        wanted["audio"] = sounds[0]
    columns = choose_columns(list(features), name, **wanted)
    kept = [column for column in dict.fromkeys([*columns.values(), *TEXT_COLUMNS]) if column in features]
    parts = [part.select_columns(kept).cast_column(columns["audio"], Audio(decode=False)) for part in parts]
    if streaming:
        return _from_stream(name, parts, columns["audio"], config, split), columns
    return datasets.concatenate_datasets(parts), columns


def _from_stream(
    name: str, parts: Sequence[IterableDataset], audio_column: str, config: str | None, split: str | None
) -> Dataset:
    """What the streams hold, as memory-mapped Arrow; made once as long as the files behind them are the same."""
    files = datasets.load_dataset_builder(name, config).config.data_files or {}
    origin = {key: (list(map(str, paths)), getattr(paths, "origin_metadata", None)) for key, paths in files.items()}
    # Audio can't be encoded without torchcodec; what it is stored as can.
    features = datasets.Features({c: _stored(kind) for c, kind in parts[0].features.items()})
    dataset = Dataset.from_generator(
        _rows,
        features=features,
        gen_kwargs={"parts": tuple(parts)},
        writer_batch_size=_ROWS_WRITTEN,
        fingerprint=Hasher.hash((name, config, split, str(features), origin)),
    )
    return dataset.cast_column(audio_column, Audio(decode=False))


def _stored(kind: Any) -> Any:
    return {"bytes": Value("binary"), "path": Value("string")} if isinstance(kind, Audio) else kind


def _rows(parts: Sequence[IterableDataset]) -> Iterator[dict]:
    for part in parts:
        yield from part


def _to_corpus(
    name: str, dataset: Dataset, columns: dict[str, str | None], label_map: LabelMap | None, verify: bool
) -> Corpus:
    sounds = dataset[columns["audio"]]
    left_out: list[tuple[str, str]] = []
    files = file_names(dataset, columns["audio"])
    rows = zip(range(len(dataset)), _in_words(dataset, columns), strict=True)
    named, remarks = named_emotions(rows, label_map, left_out)
    named, more = with_speakers(named, [Path(files[row]) for row, _ in named], left_out)
    with ThreadPoolExecutor(DECODING_THREADS) as pool:  # rows are fetched inside, or all of them would be in memory
        heard = list(pool.map(lambda item: _read(sounds[item[0]], verify), named))
    left_out += [(row, sound.fault) for (row, _), sound in zip(named, heard, strict=True) if sound.fault]
    kept = [(row, clip, sound) for (row, clip), sound in zip(named, heard, strict=True) if not sound.fault]
    if not kept:
        raise DatasetError(f"None of the {len(dataset):,} clips of {name} can be used; the first {left_out[0][1]}.")
    added, features = columns_of(
        name, [clip for _, clip, _ in kept], [sound for _, _, sound in kept], [files[row] for row, _, _ in kept],
        classes_of(named),
    )  # fmt: skip
    clips = dataset.select_columns([columns["audio"]])
    if columns["audio"] != "audio":
        clips = clips.rename_column(columns["audio"], "audio")
    rows = [row for row, _, _ in kept]
    for column, values in added.items():
        of_row = dict(zip(rows, values, strict=True))
        clips = clips.add_column(column, [of_row.get(row) for row in range(len(clips))], feature=features[column])
    if len(kept) < len(clips):  # last, since a column added to a choice of rows would copy the sounds
        clips = clips.select(rows)
    corpus = Corpus(
        name=name,
        dataset=clips,
        left_out=sorted((files[row], reason) for row, reason in left_out),
        duplicates=list(same_sound((files[row], sound) for row, _, sound in kept)),
        warnings=[*remarks, *more],
    )
    log(corpus)
    return corpus


def _read(audio: dict | None, verify: bool) -> Sound:
    if not audio or (audio.get("bytes") is None and not audio.get("path")):
        return Sound(fault="has no sound")
    return read_sound(audio if audio.get("bytes") is not None else Path(audio["path"]), verify)


def _in_words(dataset: Dataset, columns: dict[str, str | None]) -> Iterator[Clip]:
    """What each row says of its clip; class numbers are turned into their names."""
    about = dataset.select_columns([column for column in dataset.column_names if column != columns["audio"]])
    names = {c: kind.names for c, kind in about.features.items() if isinstance(kind, ClassLabel)}
    for row in about:
        for column, known in names.items():
            row[column] = known[row[column]] if row[column] is not None and row[column] >= 0 else None
        yield clip_of(row, columns)


def file_names(dataset: Dataset, audio_column: str) -> list[str]:
    """What each clip is called: its file's name if all have one of their own, else with the number of its row."""
    paths = [Path(path or "").name for path in _stored_column(dataset, audio_column, "path").to_pylist()]
    if all(paths) and len(set(paths)) == len(paths):
        return paths
    return [f"{row}/{path}" if path else f"{row}" for row, path in enumerate(paths)]


def sound_sizes(dataset: Dataset, audio_column: str) -> list[int | None]:
    """Bytes of each clip, None where it is a file beside the table. No sound is read for it."""
    return pc.binary_length(_stored_column(dataset, audio_column, "bytes")).to_pylist()


def _stored_column(dataset: Dataset, audio_column: str, part: str) -> pa.ChunkedArray:
    return pc.struct_field(dataset.data.column(audio_column), part)
