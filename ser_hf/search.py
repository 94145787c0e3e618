"""A recipe found on held-out training speakers: every trial trains with other settings, and no test clip is seen."""

import csv
import dataclasses
import io
import math
import shutil
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import optuna
import torch
import yaml
from filelock import FileLock, Timeout
from optuna.trial import FrozenTrial, Trial, TrialState
from transformers import HfArgumentParser, TrainerCallback

from .corpora import Corpus
from .errors import DatasetError, ModelError, SerError
from .markdown import table, write_between_markers
from .results import fold_numbers
from .search_space import flow, read_ideas, read_space
from .settings import different_settings, portable, settings_of
from .splits import LEAKY_PROTOCOLS, Fold, describe, rotate_validation
from .training.arguments import DataArguments, SerTrainingArguments, parse_arguments
from .training.fine_tuning import build_model, build_trainer, load_data
from .training.folds import settle_protocol
from .training.trainer import SerTrainer

SPACE = Path(__file__).parents[1] / "configs" / "search_space.yaml"
MARKERS = "search-"  # and the name of the search: the part of the Markdown file that is written here
STUDY = "search"  # name of the one study in a study.db
METRIC = "eval_unweighted_accuracy"
WARMUP_EPOCHS = 3  # no trial is pruned before: until then the learning rate has hardly risen
STEPS_PER_FOLD = 10_000  # more than a trial has epochs: an epoch of the second fold is step 10,001, of any trial
UNCHANGED = "the configuration itself"  # of a search through ideas
FINISHED, PRUNED, FAILED, STOPPED = "finished", "pruned", "failed", "stopped"
STATES = {
    TrialState.COMPLETE: FINISHED, TrialState.PRUNED: PRUNED, TrialState.FAIL: FAILED, TrialState.RUNNING: "running",
}  # fmt: skip
Folds = dict[str, tuple[int, Corpus, Fold]]  # name → number of the fold, corpus, rows; several may share a number


@dataclass
class SearchArguments:
    num_trials: int = field(default=20, metadata={"help": "Trials in all, those of earlier calls included."})
    name: str | None = field(default=None, metadata={"help": "Name of the search; that of the configuration file."})
    study_dir: str | None = field(
        default=None, metadata={"help": "Where the study is kept; runs/<name>/search by default."}
    )
    space: str = field(default=str(SPACE), metadata={"help": "YAML of the settings to search, field by field."})
    ideas: str | None = field(
        default=None,
        metadata={"help": "YAML of ideas, each with its settings: they are tried one by one, in place of a space."},
    )
    folds: list[int] | None = field(
        default=None, metadata={"help": "Judge by the mean over the validation speakers of these; by default one."}
    )
    validation_folds: int = field(
        default=1,
        metadata={"help": "Above 1: each training speaker of a fold is held out once, in so many trainings a trial."},
    )
    search_seed: int = field(default=0, metadata={"help": "Seed of the sampler; that of training is --seed."})
    output: str | None = field(default=None, metadata={"help": "Markdown file that gets the table of the trials."})


def parse_search(arguments: Sequence[str] | None = None) -> tuple[SearchArguments, list[str]]:
    """CONFIG.yaml [--num_trials …] … → these options, and the rest, which is for `parse_arguments`.

    Raises:
        ModelError: no configuration, or no trial.
    """
    parser = HfArgumentParser(
        SearchArguments,
        allow_abbrev=False,  # --fold is not short for --folds
        usage="%(prog)s CONFIG.yaml [--num_trials 20] [--space SPACE.yaml] [--folds 1 2 …] [any field of the config]",
        epilog="Every field of the configuration can be set here too: finetune/train.py --help lists them.",
    )
    given = list(sys.argv[1:] if arguments is None else arguments)
    options, rest = parser.parse_args_into_dataclasses(given, return_remaining_strings=True)
    if not rest or rest[0].startswith("-"):
        raise ModelError("Give a configuration first, such as configs/whisper_base.yaml.")
    if options.num_trials < 1:
        raise ModelError(f"--num_trials is {options.num_trials}; at least 1 is needed.")
    if options.validation_folds < 1:
        raise ModelError(f"--validation_folds is {options.validation_folds}; at least 1 is needed.")
    options.name = options.name or Path(rest[0]).stem
    options.study_dir = options.study_dir or str(Path("runs") / options.name / "search")
    return options, rest


def search(options: SearchArguments, rest: Sequence[str]) -> FrozenTrial:
    """Trials until there are `num_trials`, those of earlier calls included; returns the best.

    `study_dir` then holds study.db, trial_<number>/config.yaml, best.yaml, trials.csv and trials.md.

    Args:
        rest: the configuration, and settings, as for finetune/train.py.

    Raises:
        ModelError: a wrong configuration or space, another search in the same folder, or no trial came to an end.
        DatasetError: a fold that does not exist or has no validation clips.
    """
    plan = SearchPlan(options, rest)
    folds = plan.load_folds()
    plan.folder.mkdir(parents=True, exist_ok=True)
    try:
        # Held to the end: a trial without an end is then one that was stopped, not one of another process.
        with FileLock(plan.folder / ".lock", timeout=0):
            return _search(plan, folds)
    except Timeout as error:
        raise ModelError(f"Another search is at work in {plan.folder}: pass another --study_dir.") from error


def _search(plan: "SearchPlan", folds: Folds) -> FrozenTrial:
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # trials are told here, failed ones without a traceback
    storage = optuna.storages.RDBStorage(f"sqlite:///{plan.folder / 'study.db'}")
    kept = {"storage": storage, "study_name": STUDY, "direction": "maximize", "load_if_exists": True}
    study = optuna.create_study(**kept)
    _check_same_search(study, plan)
    _queue(study, plan)
    remaining = plan.options.num_trials - sum(_is_done(study, trial) for trial in study.trials)
    if plan.ideas:
        remaining = sum(trial.state == TrialState.WAITING for trial in study.trials)
    try:
        if remaining > 0:
            SearchTrainer(plan, folds).hyperparameter_search(
                hp_space=plan.suggest,
                compute_objective=lambda metrics: metrics[METRIC],
                n_trials=remaining,
                backend="optuna",
                sampler=plan.sampler(len(study.trials)),
                pruner=optuna.pruners.NopPruner()  # an idea has a figure of its own
                if plan.ideas
                else optuna.pruners.MedianPruner(n_warmup_steps=WARMUP_EPOCHS),
                catch=(SerError, torch.OutOfMemoryError),
                **kept,
            )
    except ValueError:
        # The study's own where no trial came to an end, which is told below; any other is a trial's.
        if any(t.state == TrialState.COMPLETE or _has_crashed(t) for t in study.trials):
            raise
    finally:
        write_trials(study, plan)
    if not any(trial.state == TrialState.COMPLETE for trial in study.trials):
        errors = [trial.user_attrs["error"] for trial in study.trials if "error" in trial.user_attrs]
        raise ModelError(f"None of {len(study.trials)} trials came to an end. {''.join(errors[-1:])}".rstrip())
    best = study.best_trial
    print(f"Best: trial {best.number}, validation UA {100 * best.value:.1f} %. To train and test it:")
    print(f"python finetune/train.py {plan.folder / 'best.yaml'}")
    return best


class SearchPlan:
    """What the trials of a search share: configuration, space, folds and folder."""

    def __init__(self, options: SearchArguments, rest: Sequence[str]):
        self.options, self.rest, self.folder = options, list(rest), Path(options.study_dir)
        self.ideas = read_ideas(Path(options.ideas)) if options.ideas else {}
        self.space = {} if self.ideas else read_space(Path(options.space))
        groups = parse_arguments(self.rest)
        if next(group for group in groups if isinstance(group, SerTrainingArguments)).world_size > 1:
            raise ModelError("A search runs in one process: start it with python, not with torchrun or accelerate.")
        self.settings = settings_of(groups)
        self.values = {f.name: getattr(group, f.name) for group in groups for f in dataclasses.fields(group)}
        self.data_args = settle_protocol(next(group for group in groups if isinstance(group, DataArguments)))
        self.numbers = fold_numbers(
            self.data_args.protocol, self.data_args.num_folds, options.folds or [self.data_args.fold]
        )
        self.config = _config_as_given(self.rest)
        # Before anything is trained: the tenth trial is hours away.
        for name, part in self.space.items():
            for value in part.samples():
                self._check(options.space, name, value)
        for settings in self.ideas.values():
            for name, value in settings.items():
                self._check(options.ideas, name, value)

    def _check(self, file: str, name: str, value) -> None:
        if value is not None and value != []:
            words = map(str, value if isinstance(value, list) else [value])
            _parse([*self.rest, f"--{name}", *words], f"{file}, {name}: {flow(value)} cannot be set")

    def load_folds(self) -> Folds:
        folds = {}
        for number in self.numbers:
            corpus, fold = load_data(dataclasses.replace(self.data_args, fold=number))
            if self.options.validation_folds == 1:
                folds[str(number)] = (number, corpus, fold)
                continue
            parts = rotate_validation(corpus.dataset, fold, self.options.validation_folds, self.data_args.split_seed)
            folds.update({f"{number}_{turn}": (number, corpus, part) for turn, part in enumerate(parts, start=1)})
        if not all(fold.validation for *_, fold in folds.values()):
            raise DatasetError("A search judges by validation speakers, and there are none: set validation_speakers.")
        return folds

    def suggest(self, trial: Trial) -> dict:
        """The settings of a trial: field → value as a configuration has it."""
        if self.ideas:
            return trial.user_attrs["settings"]
        return {name: part.value(part.suggest(trial, name)) for name, part in self.space.items()}

    def settings_of(self, trial: FrozenTrial) -> dict:
        if self.ideas:
            return trial.user_attrs["settings"]
        return {name: self.space[name].value(drawn) for name, drawn in trial.params.items()}

    def folder_of(self, number: int) -> Path:
        return self.folder / f"trial_{number:03d}"

    def sampler(self, number: int) -> optuna.samplers.BaseSampler:
        """For the trial of this number: seeded for each, so that a search that goes on draws what it would have."""
        seed = np.random.SeedSequence((self.options.search_seed, number)).generate_state(1)[0]
        return optuna.samplers.TPESampler(seed=int(seed))

    def write_config(self, path: Path, settings: dict, comment: str) -> None:
        """The configuration with these settings in it, as finetune/train.py takes it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        content = yaml.safe_dump({**self.config, **settings}, sort_keys=False, default_flow_style=None)
        path.write_text(f"# {comment}\n{content}", encoding="utf-8")


class SearchTrainer(SerTrainer):
    """Gives `Trainer.hyperparameter_search` trials that set more than TrainingArguments.

    By itself it sets a trial's values in the Trainer's arguments and calls model_init. Here they are also those of the
    front end, the augmentation and the loss, and there may be several folds: `train` makes a trainer for each, by the
    code of finetune/train.py. This one's own model is that of the configuration, which is so tried before any trial.
    """

    def __init__(self, plan: SearchPlan, folds: Folds):
        self.plan, self.folds = plan, folds
        quiet = ["--eval_strategy", "no", "--save_strategy", "no", "--load_best_model_at_end", "false"]
        model_args, *_, args = parse_arguments([*plan.rest, *quiet, "--output_dir", str(plan.folder)])
        labels = next(iter(folds.values()))[1].dataset.features["label"].names
        super().__init__(model_init=lambda: build_model(model_args, labels)[0], args=args)

    def train(self, resume_from_checkpoint=None, trial: Trial | None = None, ignore_keys_for_eval=None) -> None:
        """One trial: `objective` is then the mean validation UA over the folds.

        Raises:
            optuna.TrialPruned: it is below the median of the others.
            SerError: its settings cannot be used; the study has the message.
        """
        plan, name = self.plan, f"Trial {trial.number}"
        write_trials(trial.study, plan)  # those until now
        settings = self.hp_space(trial)
        idea = [trial.user_attrs["idea"]] if plan.ideas else []
        print(f"{name}: " + ", ".join([*idea, *_words(settings)]), flush=True)
        folder = plan.folder_of(trial.number)
        plan.write_config(folder / "config.yaml", settings, f"{name} of finetune/search.py.")
        scores: list[float] = []
        try:
            for fold in self.folds:
                scores.append(self._train_fold(fold, folder, ReportCallback(trial, scores)))
        except optuna.TrialPruned:
            print(f"{name}: pruned", flush=True)
            raise
        except (SerError, torch.OutOfMemoryError) as error:
            trial.set_user_attr("error", str(error))
            print(f"{name} failed: {error}", flush=True)
            raise
        except KeyboardInterrupt:
            trial.set_user_attr("interrupted", True)
            raise
        finally:
            _remove_checkpoints(folder)  # disk: the best is trained again, by finetune/train.py
            trial.study.sampler = plan.sampler(trial.number + 1)
        self.objective = float(np.mean(scores))
        print(f"{name}: validation UA {100 * self.objective:.1f} %", flush=True)

    def _train_fold(self, name: str, folder: Path, report: "ReportCallback") -> float:
        """UA on the fold's validation speakers, of the weights that training ends with."""
        config = str(folder / "config.yaml")
        number, corpus, fold = self.folds[name]
        arguments = [config, "--fold", str(number), "--output_dir", str(folder / f"fold_{name}")]
        trainer = build_trainer(*_parse(arguments, f"{config} cannot be used"), corpus, fold)
        trainer.add_callback(report)
        trainer.train()
        trainer.remove_callback(report)  # what follows is no epoch
        return self.compute_objective(trainer.evaluate())


class ReportCallback(TrainerCallback):
    """Tells the study, epoch by epoch, the mean UA over the folds until then, and ends a trial that is hopeless."""

    def __init__(self, trial: Trial, scores: Sequence[float]):
        self.trial, self.scores, self.epoch = trial, list(scores), 0

    def on_evaluate(self, args, state, control, metrics, **kwargs):
        epoch = math.ceil(state.epoch)
        if epoch == self.epoch:  # evaluated more than once in it
            return
        self.epoch = epoch
        self.trial.report(float(np.mean([*self.scores, metrics[METRIC]])), len(self.scores) * STEPS_PER_FOLD + epoch)
        if self.trial.should_prune():
            raise optuna.TrialPruned()


def write_trials(study: optuna.Study, plan: SearchPlan) -> None:
    """What the study holds: trials.csv, trials.md, the part of the Markdown file, and best.yaml where one finished."""
    rows = [_row(study, plan, trial) for trial in study.trials if trial.state != TrialState.WAITING]
    if not rows:
        return
    if any(row["state"] == FINISHED for row in rows):
        best = study.best_trial
        comment = (
            f"Trial {best.number} of finetune/search.py: UA {100 * best.value:.1f} % on the validation speakers of "
            f"fold {_and(plan.numbers)}."
        )
        plan.write_config(plan.folder / "best.yaml", plan.settings_of(best), comment)
    with (plan.folder / "trials.csv").open("w", newline="", encoding="utf-8") as file:
        names = ["idea", "settings"] if plan.ideas else list(plan.space)
        writer = csv.DictWriter(file, ["number", "state", "validation_ua", "minutes", *names, "error"])
        writer.writeheader()
        for row in rows:
            plain = {name: flow(value) if isinstance(value, list) else value for name, value in row.items()}
            writer.writerow(plain)
    text = format_trials(rows, plan)
    (plan.folder / "trials.md").write_text(text + "\n", encoding="utf-8")
    if plan.options.output:
        write_between_markers(Path(plan.options.output), text, MARKERS + plan.options.name)


def format_trials(rows: Sequence[dict], plan: SearchPlan) -> str:
    """Markdown: the trials, the best first, and how they came about."""
    rows = [row for row in rows if row["state"] != STOPPED]  # they came again
    rows.sort(key=lambda row: (row["state"] != FINISHED, -(row["validation_ua"] or 0)))
    columns = ["idea", "settings"] if plan.ideas else list(plan.space)
    lines = [
        [
            str(row["number"]),
            row["state"],
            "–" if row["validation_ua"] is None else f"{100 * row['validation_ua']:.1f}",
            "–" if row["minutes"] is None else f"{row['minutes']:.1f}",
            *(_cell(row[name]) if name in row else "–" for name in columns),
        ]
        for row in rows
    ]
    counts = {state: sum(row["state"] == state for row in rows) for state in (FINISHED, PRUNED, FAILED)}
    options = ["--name", plan.options.name] if plan.options.name != Path(plan.rest[0]).stem else []
    options += ["--folds", *map(str, plan.numbers)]
    if plan.options.validation_folds > 1:
        options += ["--validation_folds", str(plan.options.validation_folds)]
    if plan.ideas:
        options += ["--ideas", plan.options.ideas]
    else:
        options += ["--num_trials", str(len(rows))]
    if not plan.ideas and plan.options.space != str(SPACE):
        options += ["--space", plan.options.space]
    if plan.options.search_seed:
        options += ["--search_seed", str(plan.options.search_seed)]
    pruned = " A pruned trial was below the median of the others at the same epoch, and has the UA it had there."
    leaky = plan.data_args.protocol in LEAKY_PROTOCOLS
    whose = "of held-out training clips, whose speakers are trained on" if leaky else "of held-out training speakers"
    whose += f", fold {_and(plan.numbers)}"
    if plan.options.validation_folds > 1:
        whose += f", each of them once (mean of {plan.options.validation_folds} trainings a fold)"
    notes = [
        "Trials: " + ", ".join(f"{count} {state}" for state, count in counts.items() if count) + ".",
        f"Protocol: {describe(plan.data_args.protocol, plan.data_args.num_folds)}.",
        f"Validation UA: {whose}; no test clip was seen.{pruned if counts[PRUNED] else ''}",
        f"Command: `python finetune/search.py {' '.join(portable([*plan.rest, *options]))}`",
    ]
    header = ["trial", "state", "validation UA %", "minutes", *columns]
    words = (1, 4, 5) if plan.ideas else (1,)
    return "\n\n".join([table(header, lines, text=words), "\n".join(f"- {note}" for note in notes)])


def _row(study: optuna.Study, plan: SearchPlan, trial: FrozenTrial) -> dict:
    return {
        "number": trial.number,
        "state": STOPPED if _was_stopped(study, trial) else STATES[trial.state],
        "validation_ua": trial.value,
        "minutes": trial.duration.total_seconds() / 60 if trial.duration else None,
        **(_named(trial) if plan.ideas else plan.settings_of(trial)),
        "error": trial.user_attrs.get("error"),
    }


def _named(trial: FrozenTrial) -> dict:
    return {"idea": trial.user_attrs["idea"], "settings": ", ".join(_words(trial.user_attrs["settings"])) or "–"}


def _words(settings: dict) -> list[str]:
    return [f"{name} {flow(value)}" for name, value in settings.items()]


def _cell(value) -> str:
    return value if isinstance(value, str) else flow(value)


def _check_same_search(study: optuna.Study, plan: SearchPlan) -> None:
    """A study's trials can be compared: they share their data, their configuration and their space."""
    space = {name: dataclasses.asdict(part) for name, part in plan.space.items()}
    current = {"configuration": plan.settings, "space": space, "folds": {"folds": plan.numbers}}
    if plan.options.validation_folds > 1:
        current["folds"]["validation_folds"] = plan.options.validation_folds
    for name, value in current.items():
        changed = different_settings(study.user_attrs.get(name, value), value)
        if changed:
            raise ModelError(
                f"The search in {plan.folder} was begun with another {name} ({changed}): pass another --study_dir, or "
                "remove that folder."
            )
        study.set_user_attr(name, value)


def _queue(study: optuna.Study, plan: SearchPlan) -> None:
    """Stopped trials come again. The very first is the configuration itself, where the space has its values.

    Ideas come in their order, those that were added to the file later as well.
    """
    known = [(trial.user_attrs.get("idea"), trial.user_attrs.get("settings")) for trial in study.trials]
    for idea, settings in ({UNCHANGED: {}} | plan.ideas).items() if plan.ideas else ():
        if (idea, settings) not in known:
            study.enqueue_trial({}, user_attrs={"idea": idea, "settings": settings})
    if not study.trials:
        drawn = {name: part.drawn(plan.values[name]) for name, part in plan.space.items()}
        if None not in drawn.values():
            study.enqueue_trial(drawn)
    for trial in study.trials:
        stopped = trial.state == TrialState.RUNNING or trial.user_attrs.get("interrupted")
        if stopped and trial.number not in _begun_again(study):
            study.enqueue_trial(trial.params, user_attrs={**_idea(trial), "again": trial.number})
        if trial.state == TrialState.RUNNING:
            _remove_checkpoints(plan.folder_of(trial.number))
            study.tell(trial.number, state=TrialState.FAIL)


def _idea(trial: FrozenTrial) -> dict:
    return {name: trial.user_attrs[name] for name in ("idea", "settings") if name in trial.user_attrs}


def _remove_checkpoints(folder: Path) -> None:
    for run in folder.glob("fold_*"):
        shutil.rmtree(run)


def _begun_again(study: optuna.Study) -> set[int]:
    return {trial.user_attrs["again"] for trial in study.trials if "again" in trial.user_attrs}


def _was_stopped(study: optuna.Study, trial: FrozenTrial) -> bool:
    return bool(trial.user_attrs.get("interrupted")) or trial.number in _begun_again(study)


def _is_done(study: optuna.Study, trial: FrozenTrial) -> bool:
    """Whether it is one of `num_trials`: it came to its end, be that a failure."""
    return trial.state.is_finished() and not _was_stopped(study, trial)


def _has_crashed(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.FAIL and not {"error", "interrupted"} & set(trial.user_attrs)


def _config_as_given(rest: Sequence[str]) -> dict:
    """The configuration file with the options of the command line in it: field → value."""
    config, *words = rest
    values = yaml.safe_load(Path(config).read_text(encoding="utf-8")) or {}
    given: dict[str, list[str]] = {}
    for word in words:
        if word.startswith("--"):
            name, equals, value = word.removeprefix("--").partition("=")
            given[name] = [value] if equals else []
        else:
            given[name].append(word)
    for name, words in given.items():
        read = [yaml.safe_load(word) if flow(yaml.safe_load(word)) == word else word for word in words]  # not 7 for 07
        values[name] = read if len(read) > 1 else (read or [True])[0]
    values.pop("resume_from_checkpoint", None)
    return values


def _parse(arguments: list[str], where: str) -> tuple:
    """As `parse_arguments`; what the parser or TrainingArguments refuses is a ModelError too."""
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            return parse_arguments(arguments)
    except (SystemExit, ValueError) as error:
        reason = (said.getvalue().strip().splitlines() or [str(error)])[-1]
        raise ModelError(f"{where}: {reason}") from error


def _and(numbers: Sequence[int]) -> str:
    *most, last = map(str, numbers)
    return f"{', '.join(most)} and {last}" if most else last
