"""Labels for any number of clips: Parquet shards, made by any number of processes, that a stopped run goes on from."""

import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from tqdm import tqdm

from .audio import Source, audio_seconds
from .classifier import DEFAULT_BATCH_SIZE, EmotionClassifier
from .corpora import TABLES
from .corpora.columns import choose_columns, text
from .corpora.recordings import walk_sounds
from .corpora.table import find_file, read_rows
from .errors import AudioError, DatasetError, SerError
from .results import write_json

CLIPS_PER_SHARD = 1_000
# Readers of Parquet folders pass over files whose names begin with an underscore.
MANIFEST, SUMMARY = "_manifest.json", "_summary.json"
_DEEPEST = 100  # levels of folders
_WAITING = timedelta(days=30)  # how long processes that are done wait for the others

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Clips:
    """Sounds to label, each read when it is its turn.

    `names` and `sizes` (bytes, None where unknown) tell whether a run that goes on has the same clips before it.
    """

    source: str
    names: Sequence[str]
    sizes: Sequence[int | None]
    sound: Callable[[int], Source | None]  # None: the row of a table that names no sound

    def __len__(self) -> int:
        return len(self.names)

    def digest(self) -> str:
        digest = hashlib.sha256()
        for name, size in zip(self.names, self.sizes, strict=True):
            digest.update(f"{name}\0{size}\n".encode())
        return digest.hexdigest()


def find_clips(
    source: str,
    data_dir: str | None = None,
    *,
    audio_column: str | None = None,
    dataset_config: str | None = None,
    dataset_split: str | None = None,
    streaming: bool = False,
) -> Clips:
    """The clips of a folder (and of those in it), of a table, or of a data set of the Hub. No labels are asked for.

    Args:
        source: a folder, a CSV, TSV or JSON Lines file, or `owner/data set`; a folder of Parquet files is such too.
        data_dir: where a table's relative paths are looked for besides its own folder.
        audio_column, dataset_config, dataset_split, streaming: as for `corpora.table.load` and `corpora.hub.load`.

    Raises:
        DatasetError: no such source, or no clip in it.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        root = path.absolute()
        files = list(walk_sounds(root, _DEEPEST))
        if files:
            return _files(source, [file.relative_to(root).as_posix() for file in files], files)
        if next(path.rglob("*.parquet"), None) is None:
            raise DatasetError(f"The folder {source} holds no sounds: give one with WAV, FLAC, MP3 or other clips.")
    elif path.suffix.lower() in TABLES:
        return _table(path, data_dir, audio_column)
    elif path.is_file():
        raise DatasetError(
            f"{source} is a single file: give a folder, a CSV, TSV or JSON Lines file, or owner/data set on the Hub. "
            "One clip is labelled by python -m ser_hf predict."
        )
    return _dataset(source, audio_column, dataset_config, dataset_split, streaming)


def _files(source: str, names: list[str], files: list[Path | None]) -> Clips:
    sizes = [file.stat().st_size if file is not None and file.is_file() else None for file in files]
    return Clips(source, names, sizes, files.__getitem__)


def _table(path: Path, data_dir: str | None, audio_column: str | None) -> Clips:
    rows = list(read_rows(path))
    names = list(dict.fromkeys(name for row in rows for name in row))
    if not rows:
        raise DatasetError(f"The table {path} has no rows: a line with the names of the columns and one per clip.")
    column = choose_columns(names, path.name, audio=audio_column)["audio"]
    folders = [path.absolute().parent, *([Path(data_dir).expanduser().absolute()] if data_dir else [])]
    written = [text(row.get(column)) for row in rows]
    # A file that is not there keeps its place in the first folder, so that its row names it.
    files = [find_file(name, folders) or folders[0] / name if name else None for name in written]
    return _files(str(path), written, files)


def _dataset(name: str, audio_column: str | None, config: str | None, split: str | None, streaming: bool) -> Clips:
    from .corpora.hub import file_names, open_rows, sound_sizes

    dataset, columns = open_rows(name, config, split, streaming, audio=audio_column)
    column = columns["audio"]
    if not len(dataset):
        raise DatasetError(f"The data set {name} has no rows: choose another configuration or split.")
    return Clips(name, file_names(dataset, column), sound_sizes(dataset, column), lambda row: dataset[row][column])


def label_clips(
    model: str | Path | None,
    clips: Callable[[], Clips],
    output: str | Path,
    *,
    clips_per_shard: int = CLIPS_PER_SHARD,
    batch_size: int = DEFAULT_BATCH_SIZE,
) -> dict:
    """Labels the clips that have no label in `output` yet; each process started by accelerate takes its share.

    Shard k holds clips k * clips_per_shard onwards and is made by process k modulo their number. It gets its name when
    it is complete, and is never written again.

    Args:
        model: a folder or a Hub name; None is the embedded checkpoint.
        clips: returns them; on each machine one process calls it before the others, whom it may leave a cache.

    Returns:
        What is in the summary: {"model", "source", "clips", "failed", "uncertain", "hours", "emotions", "processes"}.

    Raises:
        DatasetError: `output` holds the labels of another model or of other clips.
        ModelError: the model cannot be loaded.
    """
    state = _start_processes()
    classifier = EmotionClassifier.from_pretrained(model, device=str(state.device))
    output = Path(output)
    with state.local_main_process_first():
        clips = clips()
        _check_manifest(output, classifier, clips, clips_per_shard)
    shards = -(-len(clips) // clips_per_shard)
    names = [f"part-{shard:05d}-of-{shards:05d}.parquet" for shard in range(shards)]
    mine = range(state.process_index, shards, state.num_processes)
    rows_of = {shard: range(shard * clips_per_shard, min((shard + 1) * clips_per_shard, len(clips))) for shard in mine}
    waiting = [shard for shard in mine if not (output / names[shard]).exists()]
    done = sum(len(rows_of[shard]) for shard in mine) - sum(len(rows_of[shard]) for shard in waiting)
    if state.is_main_process:
        found = sum((output / name).exists() for name in names)
        before = f", {found:,} of {shards:,} shards finished before" if found else ""
        processes = f", {state.num_processes} processes" if state.num_processes > 1 else ""
        logger.info("%s: %s clips%s%s", clips.source, f"{len(clips):,}", before, processes)
    part = f" (process 1 of {state.num_processes})" if state.num_processes > 1 else ""
    with tqdm(
        total=sum(map(len, rows_of.values())), initial=done, unit="clip", desc=f"Labelling{part}",
        disable=not state.is_main_process,
    ) as progress:  # fmt: skip
        for shard in waiting:
            rows = _label(classifier, clips, rows_of[shard], batch_size, progress)
            _write_shard(output / names[shard], rows, classifier.labels)
    summary = _summarise([output / names[shard] for shard in mine], classifier, clips, state.num_processes)
    if state.is_main_process:
        write_json(output / SUMMARY, summary)
    state.destroy_process_group()
    return summary


def format_summary(summary: dict) -> str:
    """Two lines for people, a third where clips could not be used."""
    emotions = ", ".join(f"{name} {count:,}" for name, count in summary["emotions"].items() if count)
    lines = [f"{summary['clips']:,} clips, {summary['hours']:.2f} h", f"{emotions or 'no labels'}"]
    if summary["uncertain"]:
        lines[1] += f"; {summary['uncertain']:,} of them uncertain"
    if summary["failed"]:
        lines.append(f"{summary['failed']:,} could not be used: their rows say why in the column error")
    return "\n".join(lines)


def _start_processes() -> PartialState:
    """What accelerate or torchrun started, connected by gloo: all that is exchanged are the counts at the end."""
    if int(os.environ.get("LOCAL_RANK", -1)) == -1:
        return PartialState(cpu=not torch.accelerator.is_available())
    return PartialState(cpu=not torch.accelerator.is_available(), backend="gloo", timeout=_WAITING)


def _check_manifest(output: Path, classifier: EmotionClassifier, clips: Clips, clips_per_shard: int) -> None:
    """Writes what the labels in `output` are of, or compares with what is written there.

    Raises:
        DatasetError: they are of something else.
    """
    now = {
        "model": classifier.name, "model_digest": _digest_of_model(classifier), "source": clips.source,
        "clips": len(clips), "clips_digest": clips.digest(), "clips_per_shard": clips_per_shard,
    }  # fmt: skip
    path = output / MANIFEST
    if not path.exists():
        output.mkdir(parents=True, exist_ok=True)
        write_json(path, now)
        return
    before = json.loads(path.read_text(encoding="utf-8"))
    if before["model_digest"] != now["model_digest"]:
        is_same_name = before["model"] == now["model"]
        there = "this model as it was before it changed" if is_same_name else f"the model {before['model']}"
        raise DatasetError(f"{output} holds labels of {there}, not of {now['model']}: give another --output.")
    if before["clips_digest"] != now["clips_digest"]:
        changed = " as they were before" if before["source"] == now["source"] else ""
        raise DatasetError(
            f"{output} holds labels of the {before['clips']:,} clips of {before['source']}{changed}, not of these "
            f"{now['clips']:,} of {now['source']}: give another --output."
        )
    if before["clips_per_shard"] != clips_per_shard:
        raise DatasetError(
            f"{output} has {before['clips_per_shard']:,} clips in a shard, not {clips_per_shard:,}: go on with "
            f"--clips_per_shard {before['clips_per_shard']}, or give another --output."
        )


def _digest_of_model(classifier: EmotionClassifier) -> str:
    """Of everything that an answer depends on besides the clip."""
    config = classifier.model.config
    calibration = (getattr(config, "calibration_temperature", 1.0), classifier.uncertainty_threshold)
    digest = hashlib.sha256(repr((classifier.labels, calibration)).encode())
    digest.update(classifier.feature_extractor.to_json_string().encode())
    for name, weight in classifier.model.state_dict().items():
        digest.update(name.encode())
        digest.update(weight.float().cpu().numpy().tobytes())
    return digest.hexdigest()


def _label(classifier: EmotionClassifier, clips: Clips, numbers: range, batch_size: int, progress: tqdm) -> list[dict]:
    """A row for each clip, in their order; they are heard in the order of their lengths, similar ones together."""
    rows: dict[int, dict] = {}
    for number in numbers:
        rows[number] = {"row": number, "file": clips.names[number]}
        try:
            rows[number]["duration"] = _seconds(clips.sound(number))
        except AudioError as error:
            rows[number]["error"] = str(error)
            progress.update()
    readable = sorted(
        (number for number in numbers if "error" not in rows[number]), key=lambda n: rows[n]["duration"] or 0.0
    )
    sounds = (clips.sound(number) for number in readable)
    for number, (_, result) in zip(readable, classifier.stream(sounds, batch_size=batch_size), strict=True):
        if isinstance(result, SerError):
            rows[number]["error"] = str(result)
        else:
            said = result.to_dict()
            rows[number].update(said.pop("scores"))
            rows[number].update(said)
        progress.update()
    return list(rows.values())


def _seconds(sound: Source | None) -> float | None:
    if sound is None:
        raise AudioError("This row names no sound, expected a path.")
    return audio_seconds(sound)


def _write_shard(path: Path, rows: list[dict], labels: list[str]) -> None:
    schema = pa.schema(
        [
            ("row", pa.int64()), ("file", pa.string()), ("label", pa.string()), ("score", pa.float32()),
            ("uncertain", pa.bool_()), ("duration", pa.float64()), ("error", pa.string()),
            *((label, pa.float32()) for label in labels),
        ]
    )  # fmt: skip
    unfinished = path.with_name(f".{path.name}.unfinished")
    pq.write_table(pa.Table.from_pylist(rows, schema), unfinished)
    unfinished.replace(path)  # at once: a shard with its name is complete


def _summarise(shards: list[Path], classifier: EmotionClassifier, clips: Clips, processes: int) -> dict:
    """Counts over the shards of all processes, which wait here for each other.

    Raises:
        DatasetError: a finished shard is damaged.
    """
    counts: Counter = Counter()
    for label, error, uncertain, seconds in _answers(shards):
        counts["clips"] += 1
        counts["failed"] += error is not None
        counts["uncertain"] += bool(uncertain)
        counts["seconds"] += seconds or 0.0
        if label is not None:
            counts["label", label] += 1
    total = sum(gather_object([counts]), Counter())
    return {
        "model": classifier.name, "source": clips.source, "clips": total["clips"], "failed": total["failed"],
        "uncertain": total["uncertain"], "hours": total["seconds"] / 3600,
        "emotions": {label: total["label", label] for label in classifier.labels}, "processes": processes,
    }  # fmt: skip


def _answers(shards: list[Path]) -> Iterator[tuple]:
    for shard in shards:
        try:
            table = pq.read_table(shard, columns=["label", "error", "uncertain", "duration"])
        except (OSError, pa.ArrowException) as error:
            raise DatasetError(f"The shard {shard} is damaged ({error}): delete it and start again.") from error
        yield from zip(*(column.to_pylist() for column in table.columns), strict=True)
