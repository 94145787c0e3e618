"""The settings that can change a figure: of a run as JSON, and those in which two runs differ."""

import json
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from functools import cache
from pathlib import Path

from transformers import TrainingArguments

from .training.arguments import GROUPS

# Settings that say where things lie, where they run and what is shown, and change no figure.
LEFT_OUT = (
    "output_dir", "logging_dir", "data_dir", "resume_from_checkpoint", "run_name", "report_to", "hub_token",
    "disable_tqdm", "use_cpu", "dataloader_num_workers", "fold",
)  # fmt: skip


def settings_of(groups: Sequence) -> dict:
    """What `parse_arguments` returns → JSON without the paths of this machine; of the Trainer's, those not default."""
    settings = {}
    for group in groups:
        values = _values(group)
        if isinstance(group, TrainingArguments):
            values = {name: value for name, value in values.items() if default_settings().get(name) != value}
        settings.update(values)
    return {name: _without_place(value) for name, value in settings.items() if name not in LEFT_OUT}


@cache
def default_settings() -> dict:
    """Every setting's default."""
    defaults = {}
    for group in GROUPS:
        defaults.update(_values(group(output_dir="x") if issubclass(group, TrainingArguments) else group()))
    return defaults


def different_settings(stored: dict, current: dict) -> str:
    """The settings that are not the same, as "name: stored, now current; …"; empty where all are.

    A setting that one side does not name has its default there: a program that learns a new setting does not make
    another run of what was made before.
    """
    changed = []
    for name in sorted(set(stored) | set(current)):
        before, now = (side.get(name, default_settings().get(name)) for side in (stored, current))
        if name == "dataset":  # older records hold a name, not a list of them
            before, now = ([value] if isinstance(value, str) else value for value in (before, now))
        if before != now:
            changed.append(f"{name}: {before}, now {now}")
    return "; ".join(changed)


def portable(words: Sequence[str], left_out: Sequence[str] = LEFT_OUT) -> list[str]:
    """CONFIG.yaml and options of a command → the same without the places of this machine.

    Args:
        left_out: options that go, with their values.
    """
    config, *rest = words
    kept = [f"configs/{Path(config).name}" if Path(config).is_absolute() else config]
    leave_out = False
    for word in rest:
        if word.startswith("--"):
            leave_out = word.removeprefix("--").partition("=")[0] in left_out
        if not leave_out:
            kept.append(_without_place(word))
    return kept


def _values(group) -> dict:
    values = group.to_dict() if isinstance(group, TrainingArguments) else asdict(group)
    return json.loads(json.dumps(values, default=lambda value: asdict(value) if is_dataclass(value) else str(value)))


def _without_place(value):
    """The last part of an absolute path: which encoder it was, not where it lay."""
    if isinstance(value, list):
        return [_without_place(item) for item in value]
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value
