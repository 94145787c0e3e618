"""Figures say what they are about, keep their order and colours, and are quick enough for a page."""

import re
import subprocess
import sys
import time

import matplotlib.colors
import numpy as np
import pytest

from ser_hf.labels import EMOTIONS
from ser_hf.plots import (
    EMOTION_COLORS,
    confusion_matrix_figure,
    emotion_color,
    figure_svg,
    learning_curves,
    reliability_figure,
    save_figure,
    sound_figure,
)

RATE = 16_000  # Hz


def contrast(first: str, second: str) -> float:
    """Contrast ratio of two colours as WCAG 2 defines it, 1 to 21."""

    def luminance(color: str) -> float:
        rgb = np.array(matplotlib.colors.to_rgb(color))
        return float(np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722])

    lighter, darker = sorted((luminance(first), luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def clip(seconds: float) -> np.ndarray:
    """(samples,) a tone in noise with a second of silence at each end."""
    time = np.arange(int(seconds * RATE)) / RATE
    sound = 0.3 * np.sin(2 * np.pi * 220 * time) + np.random.default_rng(0).normal(0, 0.02, len(time))
    return np.where((time > 1) & (time < seconds - 1), sound, 0).astype(np.float32)


def history() -> list[dict]:
    """As the Trainer logs it: the best unweighted accuracy is that of epoch 2, and epoch 2 is evaluated again."""
    rows = []
    for epoch, (loss, eval_loss, accuracy, unweighted) in enumerate(
        [(2.0, 1.9, 0.4, 0.38), (1.2, 1.4, 0.6, 0.61), (0.8, 1.5, 0.65, 0.58)], start=1
    ):
        rows.append({"epoch": float(epoch), "loss": loss, "learning_rate": 1e-4})
        rows.append(
            {
                "epoch": float(epoch),
                "eval_loss": eval_loss,
                "eval_accuracy": accuracy,
                "eval_unweighted_accuracy": unweighted,
            }
        )
    rows.append({"epoch": 3.0, "train_loss": 1.3, "train_runtime": 5.0})
    return [*rows, {"epoch": 3.0, "eval_loss": 1.4, "eval_accuracy": 0.6, "eval_unweighted_accuracy": 0.61}]


def test_every_emotion_has_a_colour_of_its_own_that_shows_on_white_and_on_near_black():
    colors = [emotion_color(label) for label in EMOTIONS]
    assert colors == [EMOTION_COLORS[label] for label in EMOTIONS]
    assert len(set(colors)) == len(EMOTIONS)
    for color in colors:
        assert contrast(color, "#FFFFFF") > 1.5
        assert contrast(color, "#18181B") > 2


def test_an_unknown_class_has_the_same_colour_in_every_process():
    command = [sys.executable, "-c", "from ser_hf.plots import emotion_color; print(emotion_color('mild_irritation'))"]
    other = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert re.fullmatch("#[0-9A-F]{6}", other)
    assert emotion_color("mild_irritation") == other


def test_the_waveform_and_the_spectrogram_share_a_time_axis_in_seconds():
    figure = sound_figure(clip(4.0), RATE, np.full(100, 0.01), (1.0, 3.0))
    upper, lower = figure.axes
    assert upper.get_shared_x_axes().joined(upper, lower)
    assert lower.get_xlim() == (0.0, 4.0)
    assert (lower.get_xlabel(), lower.get_ylabel()) == ("seconds", "kHz")
    assert [tick.get_text() for tick in lower.get_yticklabels()] == ["0.5", "1", "2", "4", "8"]
    assert lower.images[0].get_extent()[:2] == [0, 4.0]


def test_attention_lies_over_the_part_that_the_model_heard():
    weights = np.linspace(0.001, 0.02, 100)
    upper = sound_figure(clip(4.0), RATE, weights, (1.0, 3.0)).axes[0]
    image = upper.images[0]
    assert image.get_extent()[:2] == [1.0, 3.0]
    drawn = np.asarray(image.get_array())[0]
    assert drawn.shape == (100,)
    assert np.all(np.diff(drawn) > 0)
    assert drawn.max() <= 1


def test_even_attention_is_drawn_neither_as_important_nor_as_unimportant():
    upper = sound_figure(clip(4.0), RATE, np.full(100, 0.01), (1.0, 3.0)).axes[0]
    np.testing.assert_allclose(np.asarray(upper.images[0].get_array()), 0.5)


def test_a_model_without_attention_gets_a_plain_waveform():
    upper, lower = sound_figure(clip(4.0), RATE).axes
    assert not upper.images
    assert upper.collections
    assert lower.images


@pytest.mark.parametrize("seconds", [0.1, 60.0])
def test_the_shortest_and_the_longest_clip_can_be_drawn(seconds):
    waveform = np.random.default_rng(0).normal(0, 0.1, int(seconds * RATE)).astype(np.float32)
    svg = figure_svg(sound_figure(waveform, RATE, np.array([1.0]), (0.0, seconds)))
    assert len(svg) < 600_000  # bytes: it is sent to a browser


def test_an_svg_has_no_ground_and_leaves_its_text_colour_to_the_page():
    svg = figure_svg(sound_figure(clip(4.0), RATE, np.full(100, 0.01), (1.0, 3.0)))
    assert svg.startswith("<svg")
    assert svg.rstrip().endswith("</svg>")
    texts = re.findall(r"<text[^>]*>[^<]*</text>", svg)
    assert any("seconds" in text for text in texts)
    assert not any("fill" in text for text in texts)
    assert "#ffffff" not in svg


def test_a_figure_of_four_seconds_is_drawn_within_a_third_of_a_second():
    waveform, weights = clip(4.0), np.full(100, 0.01)
    durations = []
    for _ in range(4):
        start = time.perf_counter()
        figure_svg(sound_figure(waveform, RATE, weights, (1.0, 3.0)))
        durations.append(time.perf_counter() - start)
    assert min(durations) < 0.35


def test_learning_curves_show_loss_and_accuracy_by_epoch_and_mark_the_best():
    losses, accuracies = learning_curves(history()).axes
    assert (losses.get_xlabel(), accuracies.get_xlabel()) == ("epoch", "epoch")
    lines = {line.get_label(): line.get_ydata() for line in losses.lines + accuracies.lines}
    assert list(lines["training"]) == [2.0, 1.2, 0.8]
    assert list(lines["validation"]) == [1.9, 1.4, 1.5]
    assert list(lines["unweighted (UA)"]) == [0.38, 0.61, 0.58]
    assert list(lines["plain (WA)"]) == [0.4, 0.6, 0.65]
    assert list(lines["best epoch (2)"]) == [0, 1]


def test_learning_curves_without_any_evaluation_have_no_best_epoch():
    losses, accuracies = learning_curves([{"epoch": 1.0, "loss": 2.0}]).axes
    assert [line.get_label() for line in losses.lines] == ["training"]
    assert not accuracies.lines


def test_a_confusion_matrix_has_the_classes_in_order_and_counts_and_shares_of_the_row():
    matrix = np.zeros((8, 8), dtype=int)
    matrix[0] = [3, 1, 0, 0, 0, 0, 0, 0]
    matrix[7, 7] = 5
    axes = confusion_matrix_figure(matrix, list(EMOTIONS), "RAVDESS, fold 1").axes[0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == list(EMOTIONS)
    rows = [tick.get_text() for tick in axes.get_yticklabels()]
    assert [row.split()[0] for row in rows] == list(EMOTIONS)
    assert rows[0] == "neutral (4)"
    assert (axes.get_xlabel(), axes.get_title()) == ("predicted", "RAVDESS, fold 1")
    assert axes.get_ylabel().startswith("true")
    shares = np.asarray(axes.images[0].get_array())
    assert shares[0, 0] == 0.75
    assert not shares[1].any()  # a class without clips
    texts = [text.get_text() for text in axes.texts]
    assert texts[:4] == ["3", "75 %", "1", "25 %"]


def test_the_reliability_diagram_has_a_bar_for_each_bin_as_high_as_its_accuracy():
    bins = [
        {"low": 0.4, "high": 0.5, "clips": 3, "confidence": 0.45, "accuracy": 1 / 3},
        {"low": 0.9, "high": 1.0, "clips": 8, "confidence": 0.97, "accuracy": 0.75},
    ]
    upper, lower = reliability_figure(bins, "RAVDESS, fold 1").axes
    assert [bar.get_height() for bar in upper.patches] == pytest.approx([1 / 3, 0.75])
    assert [bar.get_x() for bar in upper.patches] == [bar.get_x() for bar in lower.patches] == [0.4, 0.9]
    assert [bar.get_height() for bar in lower.patches] == [3, 8]
    assert upper.get_title() == "RAVDESS, fold 1"


def test_saving_makes_the_folder_and_a_picture(tmp_path):
    path = tmp_path / "new" / "curves.png"
    save_figure(learning_curves(history()), path)
    assert path.read_bytes().startswith(b"\x89PNG")
