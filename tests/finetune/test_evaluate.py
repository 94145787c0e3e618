"""finetune/evaluate.py: the same figure that training printed, and what it says of leaks and strangers."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ser_hf import DatasetError, EmotionClassifier
from ser_hf.classifier import EMBEDDED
from ser_hf.evaluation import Evaluation, format_breakdown, format_report, rows_of_speakers

REPOSITORY = Path(__file__).parents[2]


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
