"""Scores that can be believed: temperature, calibration error, and when "not sure" is said."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_hf.calibration import (
    BINS,
    UNCERTAIN_SHARE,
    calibration_figures,
    expected_calibration_error,
    fit_temperature,
    fit_uncertainty_threshold,
    format_calibration,
    reliability_bins,
)
from ser_hf.evaluation import Evaluation

ANSWERS = st.lists(st.tuples(st.floats(0.01, 1.0), st.booleans()), min_size=1, max_size=60)


def test_the_temperature_undoes_overconfidence():
    rng = np.random.default_rng(0)
    true_logits = rng.normal(0, 1.5, (4000, 4))
    probabilities = np.exp(true_logits) / np.exp(true_logits).sum(-1, keepdims=True)
    labels = np.array([rng.choice(4, p=row) for row in probabilities])
    assert fit_temperature(3 * true_logits, labels) == pytest.approx(3, rel=0.1)
    assert fit_temperature(true_logits, labels) == pytest.approx(1, rel=0.1)


@settings(max_examples=100, deadline=None)
@given(ANSWERS)
def test_the_calibration_error_is_a_fraction_and_every_clip_is_in_the_bin_of_its_score(answers):
    confidence, right = (np.array(column) for column in zip(*answers, strict=True))
    bins = reliability_bins(confidence, right)
    assert 0 <= expected_calibration_error(bins) <= 1
    assert sum(row["clips"] for row in bins) == len(answers)
    for row in bins:
        inside = (confidence > row["low"]) & (confidence <= row["high"])
        assert row["clips"] == inside.sum()
        assert row["accuracy"] == pytest.approx(right[inside].mean())


@settings(max_examples=50, deadline=None)
@given(ANSWERS)
def test_in_one_bin_the_error_is_the_gap_between_mean_score_and_accuracy(answers):
    """No binning can make it smaller: it is at least that gap over all clips."""
    confidence, right = (np.array(column) for column in zip(*answers, strict=True))
    error = expected_calibration_error(reliability_bins(confidence, right))
    assert error >= abs(confidence.mean() - right.mean()) - 1e-9


@pytest.mark.parametrize(
    ("confidence", "right", "error"),
    [
        ([1.0] * 4, [True] * 4, 0.0),
        ([1.0] * 4, [False] * 4, 1.0),
        ([0.75] * 4, [True, True, True, False], 0.0),
        ([0.5, 0.5, 0.9, 0.9], [True, True, True, False], 0.45),  # two bins: |0.5 - 1| and |0.9 - 0.5|
    ],
)
def test_calibration_errors_known_beforehand(confidence, right, error):
    bins = reliability_bins(np.array(confidence), np.array(right))
    assert expected_calibration_error(bins) == pytest.approx(error)


def test_a_score_on_an_edge_belongs_to_the_bin_below_it():
    (row,) = reliability_bins(np.array([3 / BINS]), np.array([True]))
    assert (row["low"], row["high"]) == (2 / BINS, 3 / BINS)


@settings(max_examples=30, deadline=None)
@given(st.integers(5, 300), st.integers(2, 8), st.floats(0.3, 4.0), st.integers(0, 99))
def test_the_threshold_calls_at_most_a_fifth_of_the_validation_clips_uncertain(clips, classes, temperature, seed):
    logits = 3 * np.random.default_rng(seed).standard_normal((clips, classes))
    threshold = fit_uncertainty_threshold(logits, temperature)
    scores = np.exp(logits / temperature)
    scores /= scores.sum(-1, keepdims=True)
    assert 1 / classes <= threshold <= 1
    assert UNCERTAIN_SHARE - 1 / clips <= (scores.max(-1) < threshold).mean() <= UNCERTAIN_SHARE + 1 / clips


def test_what_not_sure_comes_to_is_counted_on_the_test_clips():
    scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.45, 0.55], [0.7, 0.3]])
    references = np.array([0, 1, 1, 1, 0])  # wrong are the second and the third
    made = Evaluation(["calm", "sad"], list("abcde"), ["1"] * 5, references, scores, [])
    figures = made.calibration(threshold=0.65)
    assert figures["uncertain_share"] == pytest.approx(2 / 5)
    assert figures["errors_caught"] == pytest.approx(1 / 2)
    assert "40.0 % of the clips; 50.0 % of the wrong answers" in format_calibration(figures)


def test_a_model_without_errors_has_none_to_catch():
    figures = calibration_figures(np.array([0.9, 0.4]), np.array([True, True]), threshold=0.5)
    assert figures["errors_caught"] is None
    assert "no answer is wrong" in format_calibration(figures)


def test_a_model_without_a_threshold_is_never_not_sure():
    figures = calibration_figures(np.array([0.9, 0.1]), np.array([True, False]), threshold=0.0)
    assert figures["uncertain_share"] == figures["errors_caught"] == 0
    assert "never" in format_calibration(figures)
