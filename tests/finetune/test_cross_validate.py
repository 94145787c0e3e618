"""finetune/cross_validate.py on a tiny corpus: what every fold leaves, a kill in the middle, and wrong settings."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import transformers

from conftest import write_clip
from ser_hf import DatasetError, EmotionClassifier, ModelError
from ser_hf.cross_validation import cross_validate, parse_cross_validation
from ser_hf.evaluation import Evaluation

REPOSITORY = Path(__file__).parents[2]
PATIENCE = 120  # seconds to wait for what a subprocess writes
CONFIG = """
num_encoder_layers: 2
num_frozen_layers: 1
protocol: speaker
num_folds: 3
validation_speakers: 1
learning_rate: 1.0e-3
num_train_epochs: {epochs}
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
"""


@pytest.fixture(scope="module")
def tiny_encoder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("encoder")
    config = transformers.WhisperConfig(
        d_model=16, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=32, decoder_layers=1,
        decoder_attention_heads=2, decoder_ffn_dim=32, vocab_size=32, pad_token_id=0, bos_token_id=1, eos_token_id=2,
        decoder_start_token_id=1,
    )  # fmt: skip
    transformers.WhisperForConditionalGeneration(config).save_pretrained(folder)
    return folder


@pytest.fixture
def command(corpus_dir, tiny_encoder, tmp_path, monkeypatch):
    """options → the arguments of the script, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def make(*options: str, epochs: int = 2) -> list[str]:
        encoder = f"model_name_or_path: {tiny_encoder}\n"
        Path("tiny.yaml").write_text(encoder + CONFIG.format(epochs=epochs))
        return ["tiny.yaml", "--data_dir", str(corpus_dir), *options]

    return make


def run(arguments: list[str]) -> dict:
    return cross_validate(*parse_cross_validation(arguments))


def start(arguments: list[str]) -> subprocess.Popen:
    command = [sys.executable, str(REPOSITORY / "finetune" / "cross_validate.py"), *arguments]
    cache = {"HF_DATASETS_CACHE": str(Path("cache").absolute())}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, **cache}
    )


def wait_for(condition, process: subprocess.Popen) -> None:
    """Until the running process has made the condition true."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def what_was_measured(folder: Path) -> dict:
    """The figures and predictions of every fold: all that does not depend on the clock."""
    records = {path.name: json.loads(path.read_text()) for path in folder.glob("fold_*.json")}
    figures = {name: (record["test"], record["validation"]) for name, record in records.items()}
    return figures | {path.name: path.read_text() for path in folder.glob("fold_*.csv")}


def test_a_killed_run_goes_on_where_it_was_and_ends_where_an_uninterrupted_one_does(command):
    results, stopped_in = Path("results/tiny/speaker"), Path("runs/tiny/speaker/fold_2")
    # Many epochs, so that the kill meets the second fold in its training.
    arguments = command("--folds", "1", "2", epochs=12)
    process = start(arguments)
    try:
        wait_for((results / "fold_1.json").is_file, process)
        first = (results / "fold_1.json").read_text(), (results / "fold_1.csv").read_text()
        wait_for(lambda: any(stopped_in.glob("checkpoint-*/trainer_state.json")), process)
    finally:
        process.kill()
        process.communicate()
    assert not (results / "fold_2.json").exists() and not (results / "summary.json").exists()

    process = start(arguments)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    assert "fold 1: finished before" in output and "fold 2 goes on from" in output
    assert ((results / "fold_1.json").read_text(), (results / "fold_1.csv").read_text()) == first
    assert json.loads((results / "fold_2.json").read_text())["resumed"] is True
    assert "tiny: unseen speakers, 3 folds over speakers; 2 of 3 folds (missing: 3)" in output

    summary = run([*arguments, "--results_dir", "whole", "--runs_dir", "whole_runs"])
    assert what_was_measured(results) == what_was_measured(Path("whole/tiny/speaker"))
    assert summary["by_fold"] == json.loads((results / "summary.json").read_text())["by_fold"]


def test_every_fold_leaves_its_figures_and_predictions_and_nothing_of_this_machine(command, capsys, tmp_path):
    summary = run(command())
    results = Path("results/tiny/speaker")
    of_folds = {f"fold_{number}.{suffix}" for number in (1, 2, 3) for suffix in ("json", "csv")}
    assert {path.name for path in results.iterdir()} == {"summary.json", "confusion_matrix.png", *of_folds}
    tested = []
    for number in (1, 2, 3):
        record = json.loads((results / f"fold_{number}.json").read_text())
        assert record["protocol"] == "unseen speakers, 3 folds over speakers" and record["seed"] == 42
        assert record["command"] == "python finetune/cross_validate.py tiny.yaml --protocol speaker"
        assert record["settings"]["learning_rate"] == 1e-3 and record["total_minutes"] > 0 and record["date"]
        predictions = Evaluation.read_csv(results / f"fold_{number}.csv")
        figures = predictions.figures()
        for name in ("unweighted_accuracy", "accuracy", "macro_f1", "confusion_matrix", "per_class"):
            assert figures[name] == record["test"][name]
        tested += predictions.files
    assert len(tested) == len(set(tested)) == summary["clips"] == 96
    text = "".join(path.read_text() for path in results.iterdir() if path.suffix in (".json", ".csv"))
    assert str(tmp_path.parent) not in text and str(REPOSITORY) not in text
    assert not list(Path("runs").rglob("checkpoint-*")) and not list(Path("runs").rglob("*.safetensors"))
    assert "± s.d." in capsys.readouterr().out

    before = what_was_measured(results), os.stat(results / "fold_2.json").st_mtime_ns
    assert run(command()) == summary
    assert (what_was_measured(results), os.stat(results / "fold_2.json").st_mtime_ns) == before
    with pytest.raises(DatasetError, match=r"learning_rate: 0\.001, now 0\.5\): pass --overwrite"):
        run(command("--learning_rate", "0.5"))
    run(command("--learning_rate", "0.5", "--overwrite", "--folds", "2", "--keep_models", "--keep_checkpoints"))
    assert json.loads((results / "fold_2.json").read_text())["settings"]["learning_rate"] == 0.5
    assert "fold 1 in results/tiny/speaker was made with other settings" in capsys.readouterr().out
    kept = Path("runs/tiny/speaker/fold_2")
    assert list(kept.glob("checkpoint-*")) and EmotionClassifier.from_pretrained(kept).labels


def test_random_clips_are_one_split_and_called_leaky_everywhere(command, capsys):
    summary = run(command("--protocol", "random", "--name", "mine"))
    results = Path("results/mine/random")
    assert summary["folds"] == [1] and summary["missing_folds"] == []
    assert "leaky" in summary["protocol"]
    assert "leaky" in json.loads((results / "fold_1.json").read_text())["protocol"]
    assert "leaky" in json.loads((results / "summary.json").read_text())["protocol"]
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("mine: ")]
    assert lines and all("leaky" in line for line in lines)


def test_a_folder_of_ones_own_is_cross_validated_and_every_figure_says_that_its_speakers_are_unknown(
    command, tmp_path, capsys
):
    for emotion in ("happy", "sad"):
        for number in range(6):
            write_clip(tmp_path / "mine" / emotion / f"{number}.wav")
    summary = run(command("--dataset", str(tmp_path / "mine"), epochs=1))
    unknown = "speakers unknown: clips of one voice may be on both sides"
    results = Path("results/tiny/clip")
    for protocol in (summary["protocol"], json.loads((results / "fold_1.json").read_text())["protocol"]):
        assert unknown in protocol
    lines = [line for line in capsys.readouterr().out.splitlines() if "UA" in line]
    assert lines and json.loads((results / "fold_1.json").read_text())["dataset"] == "mine"
    assert summary["labels"] == ["happy", "sad"] and summary["missing_folds"] == []


def test_a_checkpoint_of_other_settings_or_half_written_is_not_gone_on_from(command, capsys):
    run(command("--folds", "1", "--keep_checkpoints"))
    Path("results/tiny/speaker/fold_1.json").unlink()
    run(command("--folds", "1", "--keep_checkpoints", "--learning_rate", "0.5"))
    assert "goes on" not in capsys.readouterr().out
    checkpoints = list(Path("runs/tiny/speaker/fold_1").glob("checkpoint-*"))
    for checkpoint in checkpoints:
        (checkpoint / "trainer_state.json").unlink()
    Path("results/tiny/speaker/fold_1.json").unlink()
    run(command("--folds", "1", "--learning_rate", "0.5"))
    assert checkpoints and "goes on" not in capsys.readouterr().out


@pytest.mark.parametrize(("options", "expected"), [
    (["--folds", "1", "4"], r"There is no fold 4; the folds are 1, 2, 3\."),
    (["--fold", "1"], "--folds 1 2 3"),
    (["--protocol", "emo"], "no protocol 'emo'; known are: emobox, speaker, random"),
])  # fmt: skip
def test_a_wrong_option_is_one_sentence_before_anything_is_trained(options, expected, command):
    with pytest.raises((DatasetError, ModelError), match=expected):
        run(command(*options))
    assert not Path("runs").exists() and not Path("results").exists()


def test_without_a_configuration_one_is_asked_for():
    with pytest.raises(ModelError, match="Give a configuration first"):
        parse_cross_validation(["--folds", "1"])
