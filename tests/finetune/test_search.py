"""finetune/search.py on a tiny corpus: what it leaves, that it goes on, that no test clip is seen, wrong spaces."""

import csv
import os
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
import transformers
import yaml
from transformers import TrainerState

import ser_hf.search
from conftest import tiny_encoder_config
from ser_hf import DatasetError, ModelError
from ser_hf.markdown import markers
from ser_hf.search import MARKERS, METRIC, SPACE, STUDY, UNCHANGED, SearchPlan, SearchTrainer, parse_search, search
from ser_hf.search_space import Choices, Range, read_space
from ser_hf.training.arguments import parse_arguments
from ser_hf.training.fine_tuning import build_trainer, fine_tune

REPOSITORY = Path(__file__).parents[2]
PATIENCE = 120  # seconds to wait for what a subprocess writes
CONFIG = """
num_encoder_layers: 2
num_frozen_layers: 1
protocol: speaker
num_folds: 3
validation_speakers: 1
max_train_clips: 24
learning_rate: 1.0e-3
num_train_epochs: 1
per_device_train_batch_size: 16
eval_strategy: epoch
save_strategy: epoch
save_total_limit: 1
load_best_model_at_end: true
metric_for_best_model: unweighted_accuracy
remove_unused_columns: false
report_to: none
disable_tqdm: true
use_cpu: true
output_dir: run
"""
SPACE_TEXT = """
head_dropout: {low: 0.1, high: 0.5, step: 0.1}  # a field of the model
speed: [[0.85, 1.15], [0.95, 1.05]]  # of the augmentation
learning_rate: {low: 1e-4, high: 1e-2, log: true}  # of the training
"""


@pytest.fixture(scope="module")
def tiny_encoder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("encoder")
    config = transformers.WhisperConfig(**tiny_encoder_config("whisper"))
    transformers.WhisperForConditionalGeneration(config).save_pretrained(folder)
    return folder


@pytest.fixture
def command(corpus_dir, tiny_encoder, tmp_path, monkeypatch):
    """options → the arguments of the script, in a folder of its own; the study is kept in `study`."""
    monkeypatch.chdir(tmp_path)

    def make(*options: str, space: str = SPACE_TEXT) -> list[str]:
        Path("tiny.yaml").write_text(f"model_name_or_path: {tiny_encoder}\n{CONFIG}")
        Path("space.yaml").write_text(space)
        places = ["--data_dir", str(corpus_dir), "--study_dir", "study", "--space", "space.yaml"]
        return ["tiny.yaml", *places, *options]

    return make


@pytest.fixture
def trainers(monkeypatch) -> list:
    """Every trainer that a search makes: (its settings and rows, the fold)."""
    made = []

    def build(*arguments):
        trainer = build_trainer(*arguments)
        made.append((arguments, trainer.train_dataset.rows, trainer.eval_dataset.rows))
        return trainer

    monkeypatch.setattr(ser_hf.search, "build_trainer", build)
    return made


def run(arguments: list[str]) -> optuna.trial.FrozenTrial:
    return search(*parse_search(arguments))


def study() -> optuna.Study:
    return optuna.load_study(study_name=STUDY, storage="sqlite:///study/study.db")


def trials() -> list[dict]:
    with Path("study/trials.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_best_settings_are_a_configuration_and_a_second_call_goes_on(command, trainers, corpus_dir):
    Path("RESULTS.md").write_text("# Results\n\nabove\n")
    run(command("--num_trials", "2", "--output", "RESULTS.md", "--level_db", "-25"))
    first = trials()
    assert [row["state"] for row in first] == ["finished", "finished"]
    assert len(trainers) == 2
    # The first trial is the configuration as it is.
    assert [first[0][name] for name in ("head_dropout", "speed", "learning_rate")] == ["0.3", "[0.85, 1.15]", "0.001"]

    best = run(command("--num_trials", "4", "--output", "RESULTS.md", "--level_db=-25"))
    rows = trials()
    assert rows[:2] == first and len(rows) == 4 and len(trainers) == 4
    assert all(list(trial.intermediate_values) == [1] for trial in study().trials)  # told after every epoch

    model, data, augmentation, training = parse_arguments(["study/best.yaml"])
    row = rows[best.number]
    assert float(row["validation_ua"]) == best.value == max(float(row["validation_ua"]) for row in rows)
    assert model.head_dropout == float(row["head_dropout"])
    assert augmentation.speed == yaml.safe_load(row["speed"])
    assert training.learning_rate == float(row["learning_rate"])
    assert (data.protocol, data.validation_speakers, training.output_dir) == ("speaker", 1, "run")
    assert (model.level_db, data.data_dir) == (-25, str(corpus_dir))  # the command line's
    # Trained by it alone, the validation figure is the trial's.
    metrics = fine_tune(model, data, augmentation, training)
    assert metrics["validation"]["unweighted_accuracy"] == best.value

    start, end = markers(MARKERS + "tiny")
    text = Path("RESULTS.md").read_text()
    assert text.startswith("# Results\n\nabove\n") and Path("study/trials.md").read_text().strip() in text
    table = text.partition(start)[2].partition(end)[0].strip()
    assert table.splitlines()[2].startswith(f"| {best.number} | finished | {100 * best.value:.1f} |")
    assert "4 finished" in table and "unseen speakers" in table and str(corpus_dir) not in table
    left = {path.name for path in Path("study").iterdir()}
    assert left >= {"best.yaml", "study.db", "trials.csv", "trials.md", "trial_000"}
    assert not list(Path("study").rglob("*.safetensors"))  # nobody needs the weights of a trial


def test_no_test_clip_reaches_a_trainer_and_settings_of_every_group_do(command, trainers):
    run(command("--num_trials", "2", "--folds", "1", "3"))
    assert len(trainers) == 4  # two trials on two folds
    for (model, _, augmentation, training, corpus, fold), train, validation in trainers:
        assert set(train) <= set(fold.train) and validation == fold.validation
        speakers = corpus.dataset["speaker"]
        used, tested = ({speakers[row] for row in rows} for rows in ([*train, *validation], fold.test))
        assert used and tested and not used & tested
        row = trials()[int(Path(training.output_dir).parent.name.removeprefix("trial_"))]
        assert model.head_dropout == float(row["head_dropout"])
        assert augmentation.speed == yaml.safe_load(row["speed"])
        assert training.learning_rate == float(row["learning_rate"])
    assert [arguments[5].number for arguments, *_ in trainers] == [1, 3, 1, 3]
    with pytest.raises(ModelError, match=r"begun with another folds.*--study_dir"):
        run(command("--num_trials", "2"))


IDEAS_TEXT = """
no dropout: {head_dropout: 0.0}
slow heads: {head_learning_rate: 1.0e-5, speed: [0.95, 1.05]}
"""


def test_ideas_are_tried_one_by_one_beside_the_configuration_itself(command, trainers):
    Path("ideas.yaml").write_text(IDEAS_TEXT)
    Path("RESULTS.md").write_text("\n".join(markers(f"{MARKERS}mine")) + "\n")
    arguments = command("--name", "mine", "--ideas", "ideas.yaml", "--validation_folds", "2", "--output", "RESULTS.md")
    run(arguments)
    assert [trial.user_attrs["idea"] for trial in study().trials] == [UNCHANGED, "no dropout", "slow heads"]
    # Each of the four training speakers was held out once in every trial, and nobody of the test side was there.
    folds = [arguments[-1] for arguments, *_ in trainers]
    assert [arguments[0].head_dropout for arguments, *_ in trainers] == [0.3, 0.3, 0.0, 0.0, 0.3, 0.3]
    one, other = folds[:2]
    assert one.train == other.validation and other.train == one.validation
    assert one.test == other.test and not set(one.test) & {*one.train, *one.validation}
    text = Path("RESULTS.md").read_text()
    assert "| slow heads | head_learning_rate 1.0e-05, speed [0.95, 1.05] |" in text
    assert "each of them once (mean of 2 trainings a fold)" in text
    assert "--name mine --folds 1 --validation_folds 2 --ideas ideas.yaml" in text
    assert {row["idea"] for row in trials()} == {UNCHANGED, "no dropout", "slow heads"}

    # An idea that is added later is the only one that is tried then.
    Path("ideas.yaml").write_text(IDEAS_TEXT + "one head: {num_heads: 1}\n")
    trainers.clear()
    run(arguments)
    assert len(trainers) == 2 and len(trials()) == 4


@pytest.mark.parametrize(("text", "expected"), [
    ("bold: 3", r"bold: \{field: value, …\} is expected, 3 came"),
    ("bold: {head_dropot: 0.1}", "bold: 'head_dropot', which is no field .* mean 'head_dropout'"),
    ("bold: {fold: 2}", "bold: 'fold', which says what is judged"),
    ("bold: {num_heads: many}", "num_heads: many cannot be set"),
    ("[]", "lines of 'what is tried"),
])  # fmt: skip
def test_a_wrong_idea_is_one_sentence(text, expected, command, trainers):
    Path("ideas.yaml").write_text(text)
    with pytest.raises(ModelError, match=expected):
        run(command("--ideas", "ideas.yaml"))
    assert not trainers


def test_a_trial_that_fails_is_recorded_and_the_search_goes_on(command, trainers):
    space = "num_frozen_layers: [1, 7]\nlearning_rate: {low: 1e-4, high: 1e-2, log: true}"  # the encoder has 2 layers
    arguments = command("--num_trials", "4", space=space)
    run(arguments)
    rows = trials()
    assert {row["num_frozen_layers"]: row["state"] for row in rows} == {"1": "finished", "7": "failed"}
    assert all("num_frozen_layers" in row["error"] for row in rows if row["state"] == "failed")
    assert parse_arguments(["study/best.yaml"])[0].num_frozen_layers == 1
    before = len(trainers)
    run(arguments)  # the failed ones are among the four: nothing is left to do
    assert len(trials()) == 4 and len(trainers) == before


def test_a_search_without_a_finished_trial_says_why(command):
    with pytest.raises(ModelError, match=r"None of 2 trials came to an end.*num_frozen_layers"):
        run(command("--num_trials", "2", space="num_frozen_layers: [7, 8]"))


def test_a_hopeless_trial_is_pruned(command, monkeypatch):
    """After five trials, one that is below their median ends, though not in its first epochs."""
    values = iter([0.5, 0.5, 0.5, 0.5, 0.5, 0.1])

    def train_fold(self, number, folder, report):
        value = next(values)
        for epoch in (0.5, 1, 2, 3, 4):
            report.on_evaluate(None, TrainerState(epoch=epoch), None, {METRIC: value})
        return value

    monkeypatch.setattr(SearchTrainer, "_train_fold", train_fold)
    run(command("--num_trials", "6"))
    rows = trials()
    assert [row["state"] for row in rows] == ["finished"] * 5 + ["pruned"]
    assert float(rows[5]["validation_ua"]) == 0.1
    assert [list(trial.intermediate_values) for trial in study().trials] == [[1, 2, 3, 4]] * 5 + [[1, 2, 3]]


def test_a_killed_search_loses_no_finished_trial_and_begins_the_other_again(command):
    arguments = command("--num_trials", "2", "--num_train_epochs", "2000")  # no end of the first trial in sight
    cache = {"HF_DATASETS_CACHE": str(Path("cache").absolute())}
    script = [sys.executable, str(REPOSITORY / "finetune" / "search.py"), *arguments]
    process = subprocess.Popen(script, stdout=subprocess.PIPE, text=True, env={**os.environ, **cache})
    try:
        line = process.stdout.readline()
        assert line.startswith("Trial 0: head_dropout 0.3, speed [0.85, 1.15], learning_rate 0.001")
        end = time.monotonic() + PATIENCE
        while not list(Path("study").glob("trial_000/fold_1/checkpoint-*")):
            assert process.poll() is None and time.monotonic() < end
        with pytest.raises(ModelError, match="Another search is at work"):
            run(arguments)
    finally:
        process.kill()
        process.communicate()
    # The same settings but short: what a study was begun with is otherwise held to.
    study().set_user_attr("configuration", {**study().user_attrs["configuration"], "num_train_epochs": 1.0})
    run(command("--num_trials", "2", "--num_train_epochs", "1"))
    rows = trials()
    assert [row["state"] for row in rows] == ["stopped", "finished", "finished"]
    settings = ("head_dropout", "speed", "learning_rate")
    assert [rows[0][name] for name in settings] == [rows[1][name] for name in settings]
    assert "2 finished" in Path("study/trials.md").read_text()
    assert not list(Path("study").rglob("checkpoint-*"))


@pytest.mark.parametrize(("text", "expected"), [
    ("learning_rat: {low: 1e-5, high: 1e-3}", "Did you mean 'learning_rate'"),
    ("fold: [1, 2]", "for all trials alike"),
    ("output_dir: [a, b]", "for all trials alike"),
    ("learning_rate: {low: 1e-3, high: 1e-5}", "low has to be below high"),
    ("learning_rate: {low: 0, high: 1e-3, log: true}", "low is above 0"),
    ("learning_rate: {low: 1e-5}", "neither"),
    ("learning_rate: {low: few, high: 1}", "few is no number"),
    ("learning_rate: 1e-4", "neither"),
    ("head_dim: {low: 0.5, high: 3}", "no whole number"),
    ("head_dim: {low: 1, high: 3, step: 9}", "step"),
    ("speed: {low: 0.8, high: 1.2}", "list its choices"),
    ("speed: [0.8, 1.2]", "list lists"),
    ("head_dim: []", "choices, each once"),
    ("head_dim: [4, 4]", "choices, each once"),
    ("- head_dim", "field"),
    ("a: [", "not YAML"),
])  # fmt: skip
def test_a_wrong_space_is_one_sentence(text, expected, tmp_path):
    (tmp_path / "space.yaml").write_text(text)
    with pytest.raises(ModelError, match=expected) as caught:
        read_space(tmp_path / "space.yaml")
    assert "space.yaml" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(("options", "error", "expected"), [
    (["--num_trials", "0"], ModelError, "at least 1"),
    (["--folds", "9"], DatasetError, "no fold 9"),
    (["--validation_speakers", "0"], DatasetError, "validation_speakers"),
    (["--space", "nowhere.yaml"], ModelError, "nowhere.yaml"),
])  # fmt: skip
def test_a_wrong_option_is_one_sentence(options, error, expected, command):
    with pytest.raises(error, match=expected):
        run(command(*options))


def test_a_choice_that_is_no_value_of_its_field_is_told_before_anything_is_trained(command, trainers):
    with pytest.raises(ModelError, match=r"head_dim: many cannot be set: .*invalid int value"):
        run(command(space="head_dim: [8, many]"))
    assert not trainers


def test_the_committed_space_holds_the_configuration_that_it_is_for():
    space = read_space(SPACE)
    groups = parse_arguments([str(REPOSITORY / "configs" / "whisper_base.yaml")])
    values = {name: value for group in groups for name, value in vars(group).items()}
    assert {name for name, part in space.items() if part.drawn(values[name]) is None} == set()


def test_the_committed_ideas_are_other_settings_than_those_of_the_configuration():
    configs = REPOSITORY / "configs"
    given = parse_search(
        [str(configs / "whisper_base_before_search.yaml"), "--ideas", str(configs / "ideas_whisper_base.yaml")]
    )
    plan = SearchPlan(*given)
    assert len(plan.ideas) >= 8
    for idea, settings in plan.ideas.items():
        assert all(plan.values[name] != value for name, value in settings.items()), idea


def test_what_is_drawn_is_what_a_configuration_says():
    assert Range(1e-5, 1e-3, log=True).value(3.1415926e-5) == 3.14e-5
    assert Range(1, 4).value(3) == 3
    assert Range(1, 4).drawn(5) is None and Range(0.0, 1.0).drawn(None) is None
    choices = Choices([[8.0, 30.0], None, 2])
    assert [choices.value(choices.drawn(value)) for value in ([8, 30], None, 2)] == [[8.0, 30.0], None, 2]
    assert choices.drawn(3) is None
