"""finetune/evaluate.py: the same figure that training printed, and what it says of leaks and strangers."""

import csv
import json
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_hf import DatasetError, EmotionClassifier
from ser_hf.classifier import EMBEDDED
from ser_hf.evaluation import Evaluation, format_breakdown, format_report, rows_of_classes, rows_of_speakers

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def run_evaluate(monkeypatch, capsys):
    """(arguments) → exit code and what was printed, of the script in this process: a new one takes long to begin."""

    def run(*arguments) -> tuple[int, str]:
        script = REPOSITORY / "finetune" / "evaluate.py"
        monkeypatch.setattr(sys, "argv", [str(script), *map(str, arguments)])
        monkeypatch.delitem(sys.modules, "_repository", raising=False)
        monkeypatch.syspath_prepend(script.parent)
        with pytest.raises(SystemExit) as stopped:
            runpy.run_path(str(script), run_name="__main__")
        printed = capsys.readouterr()
        return stopped.value.code, printed.out + printed.err

    return run


@pytest.mark.real_data
@pytest.mark.slow
def test_the_embedded_checkpoint_has_the_figure_on_its_card(data_dir, tmp_path):
    """UA on the actors of fold 1, whom it never heard, from the sound files to the figure."""
    command = [
        sys.executable, str(REPOSITORY / "finetune" / "evaluate.py"), "--data_dir", str(data_dir),
        "--json", str(tmp_path / "out.json"), "--csv", str(tmp_path / "out.csv"),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "out.json").read_text())
    stored = json.loads((EMBEDDED / "metrics.json").read_text())
    assert figures["speakers"] == stored["test"]["speakers"] == ["01", "11", "20", "21"]
    assert figures["clips"] == 240
    assert figures["unweighted_accuracy"] == pytest.approx(stored["test"]["unweighted_accuracy"], abs=0.005)
    assert figures["unweighted_accuracy"] >= 0.76
    assert f"{100 * figures['unweighted_accuracy']:.2f} %" in done.stdout and "unseen speakers" in done.stdout
    assert not set(stored["train_speakers"] + stored["validation_speakers"]) & set(figures["speakers"])
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    right = np.mean([row["label"] == row["predicted"] for row in rows])
    assert right == pytest.approx(figures["accuracy"])
    assert set(figures["breakdown"]["by"]) == {"speaker", "gender", "intensity", "statement"}
    errors = sum(pair["errors"] for pair in figures["breakdown"]["pairs"])
    assert errors == figures["clips"] - round(figures["accuracy"] * figures["clips"])
    worst = figures["breakdown"]["worst_mistakes"][0]
    assert (data_dir / "ravdess" / worst["file"]).is_file() and worst["file"] in done.stdout
    assert f"{100 * stored['test']['unweighted_accuracy']:.1f} %" in (EMBEDDED / "README.md").read_text()


@pytest.mark.real_data
def test_speakers_of_the_training_set_are_called_leaky(data_dir):
    command = [
        sys.executable, str(REPOSITORY / "finetune" / "evaluate.py"), "--data_dir", str(data_dir),
        "--speakers", "4",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "LEAKY" in done.stdout


def test_a_data_set_that_is_not_there_is_one_sentence(tmp_path):
    command = [sys.executable, str(REPOSITORY / "finetune" / "evaluate.py"), "--data_dir", str(tmp_path / "nowhere")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "nowhere" in done.stderr and "Traceback" not in done.stderr


def evaluation() -> Evaluation:
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    return Evaluation(["calm", "sad"], ["a", "b", "c"], ["1", "1", "2"], np.array([0, 1, 1]), scores, [("d", "empty")])


def test_the_figures_can_be_recomputed_from_the_csv(tmp_path):
    evaluation().write_csv(tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[2] == {
        "file": "c", "speaker": "2", "label": "sad", "predicted": "calm", "calm": "0.600000", "sad": "0.400000",
    }  # fmt: skip
    figures = evaluation().figures()
    assert figures["accuracy"] == pytest.approx(2 / 3)
    assert figures["unweighted_accuracy"] == pytest.approx(0.75)
    assert figures["confusion_matrix"] == [[1, 0], [1, 1]]


def test_the_report_names_the_protocol_and_what_was_left_out():
    report = format_report(evaluation().figures(), "unseen speakers, fold 1")
    assert report.startswith("unseen speakers, fold 1: 3 clips of 2 speakers (1, 2)")
    assert "UA 75.00 %" in report and "d: empty" in report


def with_groups() -> Evaluation:
    """Eight clips, three of them wrong: two sad ones called calm, one calm one called sad with the surest score."""
    references = np.array([0, 0, 0, 1, 1, 1, 1, 0])
    scores = np.array(
        [[0.9, 0.1], [0.05, 0.95], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4], [0.1, 0.9], [0.3, 0.7], [0.8, 0.2]]
    )
    groups = {"gender": ["male"] * 4 + ["female"] * 4, "statement": ["door"] * 8}
    return Evaluation(
        ["calm", "sad", "angry"], [f"{n}.wav" for n in range(8)], ["1"] * 4 + ["2"] * 4, references,
        np.hstack([scores, np.zeros((8, 1))]), [], groups=groups,
    )  # fmt: skip


def test_errors_are_counted_by_pair_speaker_and_group():
    breakdown = with_groups().breakdown()
    assert breakdown["pairs"] == [
        {"label": "sad", "predicted": "calm", "errors": 2, "share": 0.5},
        {"label": "calm", "predicted": "sad", "errors": 1, "share": 0.25},
    ]
    assert list(breakdown["by"]) == ["speaker", "gender", "statement"]
    assert breakdown["by"]["speaker"]["1"] == breakdown["by"]["gender"]["male"] == {
        "clips": 4, "errors": 2, "accuracy": 0.5, "unweighted_accuracy": pytest.approx((2 / 3 + 0) / 2),
    }  # fmt: skip
    assert breakdown["by"]["statement"]["door"]["errors"] == 3
    assert [mistake["file"] for mistake in breakdown["worst_mistakes"]] == ["1.wav", "3.wav", "4.wav"]
    assert breakdown["worst_mistakes"][0] == {
        "file": "1.wav", "label": "calm", "predicted": "sad", "score": 0.95, "score_of_label": 0.05,
    }  # fmt: skip


def test_the_breakdown_is_printed_with_where_to_listen():
    lines = format_breakdown(with_groups().breakdown(), "/data/ravdess/").splitlines()
    assert "sad         calm               2        50.0 %" in lines
    assert "The worst mistakes: wrong and sure of it, in /data/ravdess/" in lines
    assert lines[-3] == "1.wav: sad (0.95), is calm (0.05)"
    assert "Errors by gender" in lines and "Errors by intensity" not in lines


def test_without_errors_there_is_no_table():
    made = evaluation()
    right = Evaluation(made.labels, made.files, made.speakers, made.scores.argmax(-1), made.scores, [])
    assert format_breakdown(right.breakdown()) == "No clip was named wrongly."


def test_speakers_are_found_with_or_without_leading_zero_and_a_missing_one_is_named():
    import datasets

    dataset = datasets.Dataset.from_dict({"speaker": ["01", "02", "10", "01"]})
    assert rows_of_speakers(dataset, ["1", "10"]) == [0, 2, 3]
    with pytest.raises(DatasetError, match=r"no speaker 5; it has 01, 02, 10"):
        rows_of_speakers(dataset, ["5"])


def test_classes_that_the_model_does_not_know_are_named(tiny_model):
    import datasets

    from ser_hf.evaluation import evaluate_classifier

    dataset = datasets.Dataset.from_dict({"label": [0], "audio": ["nowhere.wav"]})
    dataset = dataset.cast_column("label", datasets.ClassLabel(names=["bored"]))
    dataset = dataset.cast_column("audio", datasets.Audio(decode=False))
    with pytest.raises(DatasetError, match="bored"):
        evaluate_classifier(EmotionClassifier(*tiny_model()), dataset)


def test_clips_of_emotions_that_the_model_does_not_know_are_left_out_and_named():
    import datasets

    dataset = datasets.Dataset.from_dict({"label": [0, 1, 0, 2]})
    dataset = dataset.cast_column("label", datasets.ClassLabel(names=["calm", "bored", "sad"]))
    assert rows_of_classes(dataset, [1, 2, 3], ["sad", "calm"]) == ([2, 3], ["bored"])
    with pytest.raises(DatasetError, match="no emotion in common: bored here, the model knows sad"):
        rows_of_classes(dataset, [1], ["sad"])


def test_scores_can_be_restricted_to_the_common_emotions():
    scores = np.array([[0.5, 0.3, 0.2], [0.4, 0.1, 0.5]])
    made = Evaluation(["calm", "sad", "angry"], ["a", "b"], ["1", "2"], np.array([1, 2]), scores, [])
    assert made.figures()["accuracy"] == 0.5
    among = made.among(["sad", "angry"])
    assert among.figures()["accuracy"] == among.figures()["unweighted_accuracy"] == 1.0
    assert among.scores == pytest.approx(np.array([[0.0, 0.6, 0.4], [0.0, 1 / 6, 5 / 6]]))


def test_a_model_is_evaluated_on_another_corpus_over_the_common_emotions(tmp_path, tiny_model, run_evaluate):
    from ser_hf.training.checkpoint import save_checkpoint

    save_checkpoint(*tiny_model(), tmp_path / "model")
    rng = np.random.default_rng(0)
    (tmp_path / "emodb" / "wav").mkdir(parents=True)
    for name in ("03a01Fa", "03a01Wa", "08a02La", "09b01Na"):
        soundfile.write(tmp_path / "emodb" / "wav" / f"{name}.wav", rng.uniform(-0.5, 0.5, 8_000), 16_000)
    arguments = ["--model", tmp_path / "model", "--dataset", "emodb", "--data_dir", tmp_path]
    code, said = run_evaluate(*arguments)
    assert code == 1 and "bored" in said and "--common_emotions" in said
    code, said = run_evaluate(*arguments, "--common_emotions", "--json", tmp_path / "out.json")
    assert code == 0
    assert "1 of 4 clips left out, the model does not know: bored" in said
    figures = json.loads((tmp_path / "out.json").read_text())
    assert figures["clips"] == 3
    assert figures["among_common_emotions"]["emotions"] == ["neutral", "happy", "angry"]
    assert 0 <= figures["unweighted_accuracy"] <= figures["among_common_emotions"]["unweighted_accuracy"] <= 1


@pytest.fixture
def checkpoint(tiny_model, tmp_path) -> Path:
    """A random model that says of itself that it never heard the actors 5 and 6; the rest is of the embedded one."""
    from ser_hf.training.checkpoint import save_checkpoint

    save_checkpoint(*tiny_model(uncertainty_threshold=0.5), tmp_path / "model")
    metrics = json.loads((EMBEDDED / "metrics.json").read_text())
    metrics["test"]["speakers"] = ["05", "06"]
    metrics["corpus"] = {
        "name": "ravdess", "summary": "some tones", "license": "CC BY-NC-SA 4.0", "citation": "", "languages": ["en"],
    }  # fmt: skip
    for name in ("calibration", "conditions", "cross_corpus"):
        metrics.pop(name, None)
    (tmp_path / "model" / "metrics.json").write_text(json.dumps(metrics))
    return tmp_path / "model"


def test_conditions_are_printed_and_written_to_json_markdown_and_metrics(
    checkpoint, corpus_dir, tmp_path, run_evaluate
):
    page = tmp_path / "RESULTS.md"
    page.write_text("# Results\n\nBy hand.\n")
    code, said = run_evaluate(
        "--model", checkpoint, "--data_dir", corpus_dir, "--conditions", "--json", tmp_path / "out.json",
        "--output", page, "--store",
    )  # fmt: skip
    assert code == 0
    figures = json.loads((tmp_path / "out.json").read_text())
    assert list(figures["conditions"])[:2] == ["clean", "white noise, 20 dB"] and len(figures["conditions"]) == 13
    assert set(figures["conditions"]["telephone"]) == {"clips", "unweighted_accuracy", "accuracy", "macro_f1"}
    assert figures["conditions"]["clean"]["unweighted_accuracy"] == figures["unweighted_accuracy"]
    telephone = next(line for line in said.splitlines() if line.startswith("| telephone | 32 |"))
    text = page.read_text()
    assert "By hand." in text and "<!-- conditions:start -->" in text and telephone in text
    assert "`python finetune/evaluate.py --model model --conditions --store`" in text and str(tmp_path) not in text
    calibration = figures["calibration"]
    assert f"{100 * calibration['expected_calibration_error']:.2f} %" in said
    assert "Not sure (score below 0.50): 100.0 % of the clips" in said  # a random model knows nothing
    stored = json.loads((checkpoint / "metrics.json").read_text())
    assert stored["conditions"] == figures["conditions"]
    assert stored["calibration"] == {"temperature": stored["temperature"], **calibration}
    card = (checkpoint / "README.md").read_text()
    assert "| telephone | 32 |" in card and "Not sure (score below 0.50): 100.0 % of the clips" in card


def test_figures_of_some_speakers_or_of_no_checkpoint_of_ours_are_not_stored(checkpoint, corpus_dir, run_evaluate):
    arguments = ["--model", checkpoint, "--data_dir", corpus_dir, "--store"]
    code, said = run_evaluate(*arguments, "--speakers", "5")
    assert code == 1 and "leave --speakers out" in said
    (checkpoint / "metrics.json").unlink()
    code, said = run_evaluate(*arguments)
    assert code == 1 and "no metrics.json" in said


def test_figures_of_another_corpus_are_stored_as_a_strangers(checkpoint, tmp_path, run_evaluate):
    (tmp_path / "emodb" / "wav").mkdir(parents=True)
    for name in ("03a01Fa", "08a02La", "09b01Na"):
        sound = np.random.default_rng(0).uniform(-0.5, 0.5, 8_000)
        soundfile.write(tmp_path / "emodb" / "wav" / f"{name}.wav", sound, 16_000)
    code, _ = run_evaluate(
        "--model", checkpoint, "--dataset", "emodb", "--data_dir", tmp_path, "--common_emotions", "--store"
    )
    assert code == 0
    stored = json.loads((checkpoint / "metrics.json").read_text())
    assert stored["cross_corpus"]["emodb"]["clips"] == 2
    assert stored["cross_corpus"]["emodb"]["emotions"] == ["neutral", "happy"]
    assert "calibration" not in stored
    assert "| emodb | neutral, happy | 2 |" in (checkpoint / "README.md").read_text()


def test_a_page_without_conditions_to_put_on_it_is_refused(tmp_path, run_evaluate):
    code, said = run_evaluate("--output", tmp_path / "page.md")
    assert code == 2 and "--conditions" in said


def test_of_many_statements_those_with_the_most_errors_are_shown():
    clips = 60
    references = np.zeros(clips, dtype=int)
    scores = np.tile([0.9, 0.1], (clips, 1))
    scores[40:] = [0.1, 0.9]  # the last twenty are wrong
    made = Evaluation(
        ["calm", "sad"], [f"{n}.wav" for n in range(clips)], ["1"] * clips, references, scores, [],
        groups={"statement": [f"word {n:02d}" for n in range(clips)]},
    )  # fmt: skip
    report = format_breakdown(made.breakdown())
    assert all(f"word {n} " in report for n in range(40, 60))
    assert report.count("word ") == 30 and "and 30 more with no more errors than these" in report
