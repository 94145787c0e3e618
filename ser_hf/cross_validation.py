"""Every fold of a protocol in turn, each with its figures and its predictions on disk before the next one begins."""

import gc
import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from transformers import HfArgumentParser, TrainingArguments

from .errors import DatasetError, ModelError
from .plots import confusion_matrix_figure, save_figure
from .results import completeness, fold_numbers, format_summary, read_folds, read_record, summarize, write_json
from .settings import LEFT_OUT, different_settings, portable, settings_of
from .splits import describe
from .training.arguments import DataArguments, parse_arguments
from .training.checkpoint import trainer_checkpoints
from .training.folds import settle_protocol


@dataclass
class CrossValidationArguments:
    folds: list[int] | None = field(
        default=None, metadata={"help": "Which folds; all by default, for random clips the first."}
    )
    name: str | None = field(default=None, metadata={"help": "Name of the system; that of the configuration file."})
    results_dir: str = field(default="results", metadata={"help": "Where figures and predictions go."})
    runs_dir: str = field(default="runs", metadata={"help": "Where training goes on."})
    overwrite: bool = field(default=False, metadata={"help": "Run folds again that are finished."})
    keep_checkpoints: bool = field(default=False, metadata={"help": "Keep the Trainer's checkpoints of every fold."})
    keep_models: bool = field(default=False, metadata={"help": "Keep the model of every fold."})


def parse_cross_validation(arguments: Sequence[str] | None = None) -> tuple[CrossValidationArguments, list[str]]:
    """[CONFIG.yaml] [--folds …] … → these options, and the rest, which is for `parse_arguments`.

    Raises:
        ModelError: no configuration, or one fold by the option of train.py.
    """
    parser = HfArgumentParser(
        CrossValidationArguments,
        allow_abbrev=False,  # --fold is not short for --folds
        usage="%(prog)s CONFIG.yaml [--protocol emobox|speaker|random] [--folds 1 2 …] [any field of the config]",
        epilog="Every field of the configuration can be set here too: finetune/train.py --help lists them.",
    )
    given = list(sys.argv[1:] if arguments is None else arguments)
    options, rest = parser.parse_args_into_dataclasses(given, return_remaining_strings=True)
    if any(argument.partition("=")[0] == "--fold" for argument in rest):
        raise ModelError("--fold is for one training; here it is --folds, such as --folds 1 2 3.")
    if not rest or rest[0].startswith("-"):
        raise ModelError("Give a configuration first, such as configs/whisper_base.yaml.")
    options.name = options.name or Path(rest[0]).stem
    return options, rest


def cross_validate(options: CrossValidationArguments, rest: Sequence[str]) -> dict:
    """Trains and tests the folds that are not there yet; returns what is then in summary.json (the main process does).

    A fold whose JSON and CSV are there with these settings is not run again. One that was stopped goes on from the
    Trainer's last whole checkpoint.

    Args:
        rest: the configuration, and settings, as for finetune/train.py.

    Raises:
        DatasetError, ModelError: a fold that does not exist, or a finished one that was made with other settings.
    """
    groups = parse_arguments(list(rest))
    data_args = next(group for group in groups if isinstance(group, DataArguments))
    if next(group for group in groups if isinstance(group, TrainingArguments)).push_to_hub:
        raise ModelError(
            "push_to_hub publishes one checkpoint, and cross-validation makes one per fold: leave it out, and push "
            "one with finetune/push_to_hub.py."
        )
    settled = settle_protocol(data_args)
    if settled != data_args:  # the folds are those of what comes nearest to the protocol on this data set
        rest = [*rest, "--protocol", settled.protocol, "--num_folds", str(settled.num_folds)]
        groups, data_args = parse_arguments(list(rest)), settled
    protocol = data_args.protocol
    words = describe(protocol, data_args.num_folds)
    numbers = fold_numbers(protocol, data_args.num_folds, options.folds)
    results = Path(options.results_dir) / options.name / protocol
    settings = settings_of(groups)
    finished = {}
    for number in numbers:  # before anything is trained: a mistake in the third fold is not told after hours
        finished[number] = not options.overwrite and _is_finished(results, number, settings)
    for number in numbers:
        if finished[number]:
            print(f"{words}, fold {number}: finished before ({results / f'fold_{number}.json'}), not run again")
            continue
        print(f"{words}, fold {number} of {options.name}", flush=True)
        _run_fold(options, list(rest), results, number, settings)
    return write_summary(results, settings) if _is_main_process() else {}


def write_summary(results: Path, settings: dict | None = None) -> dict:
    """Prints and writes what the finished folds in `results` come to: summary.json and confusion_matrix.png.

    Args:
        settings: where given, folds that were made with other ones are named and left out.
    """
    folds = read_folds(results)
    if settings is not None:
        others = [fold for fold in folds if different_settings(fold.record["settings"], settings)]
        for fold in others:
            print(f"fold {fold.number} in {results} was made with other settings and is left out of the summary")
        folds = [fold for fold in folds if fold not in others]
    summary = summarize(folds)
    print(format_summary(summary))
    write_json(results / "summary.json", summary)
    title = f"{summary['system']}, {completeness(summary)}\n{summary['protocol']}"
    figure = confusion_matrix_figure(summary["confusion_matrix"], summary["labels"], title)
    save_figure(figure, results / "confusion_matrix.png")
    return summary


def _is_finished(results: Path, number: int, settings: dict) -> bool:
    record = read_record(results, number)
    if record is None:
        return False
    changed = different_settings(record["settings"], settings)
    if changed:
        raise DatasetError(
            f"{results / f'fold_{number}.json'} was made with other settings ({changed}): pass --overwrite to run it "
            "again, or --name to give these settings a name of their own."
        )
    return True


def _run_fold(options: CrossValidationArguments, rest: list[str], results: Path, number: int, settings: dict) -> None:
    from .training.fine_tuning import fine_tune

    run = Path(options.runs_dir) / options.name / results.name / f"fold_{number}"
    arguments = [*rest, "--fold", str(number), "--output_dir", str(run)]
    groups = parse_arguments(arguments)
    training_args = next(group for group in groups if isinstance(group, TrainingArguments))
    data_args = next(group for group in groups if isinstance(group, DataArguments))
    with training_args.main_process_first(desc="looking for a stopped fold"):
        resumed = _prepare_run(run, settings, options.overwrite)
    if resumed:
        print(f"fold {number} goes on from {resumed}", flush=True)
        groups = parse_arguments([*arguments, "--resume_from_checkpoint", str(resumed)])
    metrics = fine_tune(*groups)
    if training_args.process_index == 0:
        record = {"system": options.name, "protocol_name": results.name, **metrics, "settings": settings}
        record["command"] = _command(options, rest, results.name)
        if resumed:
            record["resumed"] = True
        record = _without_folder(record, [data_args.data_dir, os.environ.get("SER_DATA_DIR")])
        results.mkdir(parents=True, exist_ok=True)
        unfinished = results / f".fold_{number}.csv"
        shutil.copyfile(run / "predictions.csv", unfinished)
        # The JSON comes last and at once: where it is there, the fold is finished. A former one goes first.
        (results / f"fold_{number}.json").unlink(missing_ok=True)
        unfinished.replace(results / f"fold_{number}.csv")
        write_json(results / f"fold_{number}.json", record)
        _tidy(run, options)
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _command(options: CrossValidationArguments, rest: list[str], protocol: str) -> str:
    """What to type for this system and protocol, without the places of this machine."""
    config, *words = portable(rest, (*LEFT_OUT, "protocol"))
    name = ["--name", options.name] if options.name != Path(config).stem else []
    return " ".join(["python finetune/cross_validate.py", config, "--protocol", protocol, *name, *words])


def _prepare_run(run: Path, settings: dict, overwrite: bool) -> Path | None:
    """The checkpoint to go on from. Those of other settings, and half-written ones, are removed."""
    note = run / "settings.json"
    same = note.is_file() and not different_settings(json.loads(note.read_text(encoding="utf-8")), settings)
    if _is_main_process():
        usable = [] if overwrite or not same else trainer_checkpoints(run)
        for checkpoint in trainer_checkpoints(run, whole=False):
            if checkpoint not in usable:
                shutil.rmtree(checkpoint)
        write_json(note, settings)
    whole = trainer_checkpoints(run)
    return whole[-1] if whole else None


def _tidy(run: Path, options: CrossValidationArguments) -> None:
    """Disk: six folds of a transformer and its optimizer are gigabytes."""
    if not options.keep_checkpoints:
        for checkpoint in trainer_checkpoints(run, whole=False):
            shutil.rmtree(checkpoint)
    if not options.keep_models:
        for weights in run.glob("*.safetensors"):
            weights.unlink()


def _without_folder(value, folders: Sequence):
    """Nested JSON whose strings name files relative to these folders, since the messages of clips name whole paths."""
    if isinstance(value, dict):
        return {name: _without_folder(item, folders) for name, item in value.items()}
    if isinstance(value, list):
        return [_without_folder(item, folders) for item in value]
    if isinstance(value, str):
        for folder in filter(None, folders):
            for written in {str(folder), str(Path(folder).resolve())} - {".", "/"}:
                value = value.replace(written.rstrip("/") + "/", "")
    return value


def _is_main_process() -> bool:
    return int(os.environ.get("RANK", 0)) == 0
