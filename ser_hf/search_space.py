"""What a search may choose from: ranges and choices for any field of the model, the augmentation and the training."""

import dataclasses
import math
import typing
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import yaml
from optuna.trial import Trial

from .errors import ModelError
from .settings import LEFT_OUT
from .training.arguments import GROUPS, DataArguments

SIGNIFICANT_DIGITS = 3  # of what is drawn from a range: a learning rate of 3.1415926e-5 says no more than 3.14e-5
RANGE_KEYS = {"low", "high", "log", "step"}


@dataclass(frozen=True)
class Range:
    """From low to high, both included; `step` None: any number between."""

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def suggest(self, trial: Trial, name: str) -> float:
        if isinstance(self.low, int):
            return trial.suggest_int(name, self.low, self.high, step=self.step or 1, log=self.log)
        return trial.suggest_float(name, self.low, self.high, step=self.step, log=self.log)

    def value(self, drawn: float) -> float:
        """What the study has → what a configuration says."""
        return drawn if isinstance(drawn, int) else float(f"{drawn:.{SIGNIFICANT_DIGITS}g}")

    def drawn(self, value) -> float | None:
        """The inverse; None where the range does not hold it."""
        return value if isinstance(value, int | float) and self.low <= value <= self.high else None

    def samples(self) -> list:
        return [self.low, self.high]


@dataclass(frozen=True)
class Choices:
    """One of these; the study knows them by their YAML, since it stores no lists."""

    values: list

    def suggest(self, trial: Trial, name: str) -> str:
        return trial.suggest_categorical(name, [flow(value) for value in self.values])

    def value(self, drawn: str):
        return next(value for value in self.values if flow(value) == drawn)

    def drawn(self, value) -> str | None:
        return next((flow(choice) for choice in self.values if choice == value), None)

    def samples(self) -> list:
        return self.values


Space = dict[str, Range | Choices]


def read_space(path: Path) -> Space:
    """A YAML file of `field: {low:, high:, log:, step:}` and `field: [choice, …]`.

    Raises:
        ModelError: it does not exist, is not YAML, names a field that there is not or that a trial may not set, or has
            a range that is none.
    """
    content = _read(path, "'field: {low: 1.0e-5, high: 1.0e-3}' or 'field: [choices]'")
    types = _searchable()
    space: Space = {}
    for name, entry in content.items():
        if name not in types:
            raise ModelError(f"{path} searches '{name}', {_why_not(str(name), types)}")
        read = _choices if isinstance(entry, list) else _range
        space[name] = read(entry, types[name], f"{path}, {name}: {flow(entry)}")
    return space


def read_ideas(path: Path) -> dict[str, dict]:
    """A YAML file of `what is tried: {field: value, …}` → the same; other fields stay as the configuration has them.

    Raises:
        ModelError: it does not exist, is not YAML, or names a field that there is not or that a trial may not set.
    """
    content = _read(path, "'what is tried: {field: value, …}'")
    types = _searchable()
    for idea, settings in content.items():
        if not isinstance(settings, dict) or not settings:
            raise ModelError(f"{path}, {idea}: {{field: value, …}} is expected, {flow(settings)} came.")
        for name in settings:
            if name not in types:
                raise ModelError(f"{path}, {idea}: '{name}', {_why_not(str(name), types)}")
    return {str(idea): settings for idea, settings in content.items()}


def _read(path: Path, lines: str) -> dict:
    if not path.is_file():
        raise ModelError(f"There is no file {path}; a YAML file with lines of {lines} is expected.")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ModelError(f"{path} is not YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(content, dict) or not content:
        raise ModelError(f"{path} has to hold lines of {lines}.")
    return content


def flow(value) -> str:
    """YAML in one line: [0.85, 1.15], 3.0e-05, null."""
    return yaml.safe_dump(value, default_flow_style=True, width=math.inf).removesuffix("...\n").strip()


def _searchable() -> dict[str, object]:
    """Field → type, of what a trial may set: not the data that it is judged on, nor where things lie."""
    types = {}
    for group in GROUPS:
        if group is not DataArguments:
            hints = typing.get_type_hints(group)
            types.update({f.name: hints[f.name] for f in dataclasses.fields(group) if f.init})
    return {name: kind for name, kind in types.items() if name not in LEFT_OUT}


def _why_not(name: str, types: dict) -> str:
    if any(f.name == name for group in GROUPS for f in dataclasses.fields(group)):
        return "which says what is judged or where things lie: set it in the configuration, for all trials alike."
    close = get_close_matches(name, types, n=1)
    return "which is no field of this program." + (f" Did you mean '{close[0]}'?" if close else "")


def _choices(entry: list, kind, where: str) -> Choices:
    if not entry or len({flow(value) for value in entry}) < len(entry):
        raise ModelError(f"{where} has to list choices, each once.")
    if typing.get_origin(kind) is list and not all(isinstance(value, list) for value in entry):
        raise ModelError(f"{where} has to list lists, since the field is one: [[0.9, 1.1], [0.8, 1.2]].")
    return Choices(entry)


def _range(entry, kind, where: str) -> Range:
    numbers = {t for t in (typing.get_args(kind) or (kind,)) if t in (int, float)}
    if not numbers or typing.get_origin(kind) is list:
        raise ModelError(f"{where} is a range, and this field is no number: list its choices, such as [a, b].")
    if not isinstance(entry, dict) or not {"low", "high"} <= set(entry) <= RANGE_KEYS:
        raise ModelError(f"{where} is neither [choices] nor {{low: …, high: …}} with log: true or step: … or neither.")
    number = float if float in numbers else int
    low, high = (_number(entry[end], number, where) for end in ("low", "high"))
    step = None if entry.get("step") is None else _number(entry["step"], number, where)
    log = entry.get("log") or False
    if low >= high:
        raise ModelError(f"{where}: low has to be below high.")
    if not isinstance(log, bool) or (log and (low <= 0 or step is not None)):
        raise ModelError(f"{where}: log is true or false, and true only where low is above 0 and there is no step.")
    if step is not None and not 0 < step <= high - low:
        raise ModelError(f"{where}: step has to be above 0 and no larger than high - low.")
    return Range(low, high, log, step)


def _number(value, number: type, where: str) -> float:
    """YAML reads 1e-5 as a string, and int() would make 0 of 0.5."""
    try:
        read = float(value)
    except (TypeError, ValueError):
        read = math.nan
    if not math.isfinite(read) or (number is int and not read.is_integer()):
        raise ModelError(f"{where}: {flow(value)} is no {'whole ' * (number is int)}number.")
    return number(read)
