"""Folds read back and put together: the pooled figures, the interval over speakers, and what does not fit."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import recall_score

from ser_hf import DatasetError
from ser_hf.evaluation import Evaluation
from ser_hf.results import (
    completeness,
    fold_numbers,
    format_summary,
    pool,
    read_folds,
    speaker_interval,
    summarize,
    unweighted_accuracy,
    write_json,
)

LABELS = ["calm", "sad", "angry"]


def evaluation(references, predictions, speakers, prefix="clip") -> Evaluation:
    """Predictions that are certain."""
    files = [f"{prefix}_{number}.wav" for number in range(len(references))]
    scores = np.eye(len(LABELS))[np.asarray(predictions)]
    return Evaluation(LABELS, files, [str(name) for name in speakers], np.asarray(references), scores, [])


@st.composite
def evaluations(draw, min_speakers=2) -> Evaluation:
    clips = draw(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 5)), min_size=1, max_size=40))
    extra = [(0, draw(st.integers(0, 2)), speaker) for speaker in range(min_speakers)]
    references, predictions, speakers = zip(*clips, *extra, strict=True)
    return evaluation(references, predictions, speakers)


@settings(max_examples=15, deadline=None)
@given(evaluations())
def test_the_interval_is_one_and_the_same_whatever_the_order_of_the_clips(made):
    low, high = speaker_interval(made)
    assert 0 <= low <= high <= 1
    order = np.random.default_rng(0).permutation(len(made.files))
    shuffled = Evaluation(
        LABELS, [made.files[i] for i in order], [made.speakers[i] for i in order], made.references[order],
        made.scores[order], [],
    )  # fmt: skip
    assert speaker_interval(shuffled) == (low, high)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=12), st.integers(2, 6))
def test_speakers_who_are_all_alike_leave_no_doubt(clips, speakers):
    references, predictions = np.array(clips * speakers).T
    made = evaluation(references, predictions, np.repeat(np.arange(speakers), len(clips)))
    ua = made.figures()["unweighted_accuracy"]
    assert speaker_interval(made) == pytest.approx((ua, ua))


@settings(max_examples=50, deadline=None)
@given(evaluations())
def test_ua_of_a_matrix_is_that_of_scikit_learn(made):
    expected = recall_score(
        made.references, made.predictions, labels=np.unique(made.references), average="macro", zero_division=0
    )
    matrix = np.array(made.figures()["confusion_matrix"])
    assert unweighted_accuracy(matrix) == pytest.approx(expected)


def test_one_speaker_says_nothing_of_others():
    assert speaker_interval(evaluation([0, 1], [0, 0], ["1", "1"])) is None


def test_the_interval_narrows_with_the_number_of_speakers():
    rng = np.random.default_rng(0)

    def width(speakers: int) -> float:
        references = np.tile([0, 1, 2], 10 * speakers)
        skill = np.repeat(rng.uniform(0.3, 0.9, speakers), 30)
        right = rng.uniform(size=len(references)) < skill
        made = evaluation(
            references, np.where(right, references, (references + 1) % 3), np.arange(speakers).repeat(30)
        )
        low, high = speaker_interval(made)
        assert low < made.figures()["unweighted_accuracy"] < high
        return high - low

    assert width(100) < width(5) / 2


def write_fold(folder, number: int, made: Evaluation, **record) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    made.write_csv(folder / f"fold_{number}.csv")
    content = {
        "system": "tiny", "protocol_name": "speaker", "protocol": "unseen speakers, 3 folds over speakers",
        "fold": number, "dataset": "ravdess", "channel": "speech", "parameters": 1000, "total_minutes": 2.0,
        "hardware": "a CPU", "settings": {"num_folds": 3, "learning_rate": 0.1}, "test": made.figures(),
    }  # fmt: skip
    write_json(folder / f"fold_{number}.json", {**content, **record})


def three_folds(folder) -> None:
    for number in (1, 2, 3):
        references = [0, 1, 2, 0, 1, 2]
        predictions = [0, 1, 2, 0, 1, 1 if number > 1 else 2]
        write_fold(folder, number, evaluation(references, predictions, [number] * 3 + [10 + number] * 3, f"f{number}"))


def test_the_summary_comes_from_the_clips(tmp_path):
    three_folds(tmp_path)
    summary = summarize(read_folds(tmp_path))
    uas = [1, 5 / 6, 5 / 6]
    assert summary["mean"]["unweighted_accuracy"] == pytest.approx(np.mean(uas))
    assert summary["standard_deviation"]["unweighted_accuracy"] == pytest.approx(np.std(uas, ddof=1))
    assert summary["confusion_matrix"] == [[6, 0, 0], [0, 6, 0], [0, 2, 4]]
    assert summary["pooled"]["accuracy"] == pytest.approx(16 / 18)
    assert summary["clips"] == 18 and len(summary["speakers"]) == 6
    assert summary["expected_calibration_error"] == pytest.approx(2 / 18)  # scores are 1, and two clips are wrong
    assert summary["missing_folds"] == [] and completeness(summary) == "3 folds"
    low, high = summary["interval"]["bounds"]
    assert low <= summary["pooled"]["unweighted_accuracy"] <= high
    report = format_summary(summary)
    assert report.startswith("tiny: unseen speakers, 3 folds over speakers; 3 folds\n")
    assert "95 % interval over 6 speakers" in report and "88.89" in report
    assert "(ECE, 15 bins): 11.11 %" in report


def test_a_fold_that_is_missing_is_called_missing(tmp_path):
    three_folds(tmp_path)
    (tmp_path / "fold_2.csv").unlink()
    summary = summarize(read_folds(tmp_path))
    assert summary["folds"] == [1, 3] and summary["missing_folds"] == [2]
    assert "2 of 3 folds (missing: 2)" in format_summary(summary)


def test_minutes_of_a_resumed_fold_are_not_counted(tmp_path):
    three_folds(tmp_path)
    record = json.loads((tmp_path / "fold_3.json").read_text())
    write_json(tmp_path / "fold_3.json", {**record, "resumed": True, "total_minutes": 0.01})
    assert summarize(read_folds(tmp_path))["minutes_per_fold"] == pytest.approx(2.0)


def test_a_json_that_does_not_tell_what_its_csv_tells_is_named(tmp_path):
    three_folds(tmp_path)
    evaluation([0, 1, 2], [0, 0, 0], [1, 2, 3]).write_csv(tmp_path / "fold_2.csv")
    with pytest.raises(DatasetError, match=r"fold_2\.csv comes to .* fold_2\.json beside it says"):
        read_folds(tmp_path)


def test_folds_of_different_settings_are_not_averaged(tmp_path):
    three_folds(tmp_path)
    made = evaluation([0, 1, 2], [0, 1, 2], [7, 7, 8], "other")
    write_fold(tmp_path, 3, made, settings={"num_folds": 3, "learning_rate": 0.2})
    with pytest.raises(DatasetError, match=r"Folds 1 and 3 of tiny .*learning_rate: 0.1, now 0.2"):
        summarize(read_folds(tmp_path))


def test_a_clip_in_two_folds_is_named(tmp_path):
    for number in (1, 2):
        write_fold(tmp_path, number, evaluation([0, 1, 2], [0, 1, 2], [1, 2, 3], "same"))
    with pytest.raises(DatasetError, match=r"same_0\.wav is tested in two folds"):
        pool(read_folds(tmp_path))


def test_nothing_finished_is_one_sentence(tmp_path):
    with pytest.raises(DatasetError, match="no finished fold"):
        summarize(read_folds(tmp_path))


def test_a_damaged_csv_is_named(tmp_path):
    three_folds(tmp_path)
    (tmp_path / "fold_1.csv").write_text("file,speaker,label,predicted,calm\na,1,calm,happy,0.5\n")
    with pytest.raises(DatasetError, match=r"fold_1\.csv is damaged"):
        read_folds(tmp_path)
    (tmp_path / "fold_1.csv").write_text("a,b\n")
    with pytest.raises(DatasetError, match="no table of predictions"):
        read_folds(tmp_path)


def test_scores_that_round_to_a_tie_keep_the_prediction(tmp_path):
    scores = np.array([[0.33333301, 0.33333349, 0.3333335]])
    made = Evaluation(LABELS, ["a"], ["1"], np.array([2]), scores, [])
    made.write_csv(tmp_path / "a.csv")
    assert Evaluation.read_csv(tmp_path / "a.csv").predictions.tolist() == made.predictions.tolist() == [2]


@pytest.mark.parametrize(
    ("protocol", "num_folds", "wanted", "expected"),
    [
        ("emobox", None, None, [1, 2, 3, 4, 5, 6]),
        ("speaker", 3, None, [1, 2, 3]),
        ("random", None, None, [1]),
        ("random", None, [2, 1, 2], [1, 2]),
    ],
)
def test_the_folds_of_a_complete_run(protocol, num_folds, wanted, expected):
    assert fold_numbers(protocol, num_folds, wanted) == expected


def test_a_fold_that_does_not_exist_is_one_sentence():
    with pytest.raises(DatasetError, match="There is no fold 7; the folds are 1, 2, 3, 4, 5, 6"):
        fold_numbers("emobox", None, [1, 7])
