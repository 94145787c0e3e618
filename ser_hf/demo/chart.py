"""Emotions over time as stacked bars that can be hovered over and zoomed into, for the timeline and the live page."""

from collections.abc import Sequence

import gradio as gr
import numpy as np
import pandas as pd

from ser_hf.classifier import Segment
from ser_hf.plots import emotion_color

NO_SPEECH = "no speech"
NO_SPEECH_COLOR = "rgba(136, 140, 148, 0.28)"  # a veil of the neutral gray, on white and on near-black
# Seconds; averaged bars have one of these widths, so that the ticks of the axis are round.
WIDTHS = (1, 2, 3, 6, 12, 15, 30, 60, 120, 300, 600)
MAX_BARS = 160  # more cannot be told apart on a screen; what is longer is averaged, what is zoomed into is not
MIN_SHARE = 0.005  # thinner slices of a bar are left out


def emotion_chart(labels: Sequence[str], **options) -> gr.BarPlot:
    """An empty chart for these emotions, in their fixed colours."""
    return gr.BarPlot(
        x="time",
        y="probability",
        color="emotion",
        color_map=colors(labels),
        colors_in_legend=[],  # `markup.legend` is one that wraps on a telephone
        y_lim=[0, 1],
        y_title="probability",
        y_axis_format=".0%",
        height=300,
        show_label=False,  # its height would be missing below, where the title of the axis stands
        buttons=[],
        **options,
    )


def colors(labels: Sequence[str]) -> dict[str, str]:
    """The colour of every part of a bar, the uppermost first."""
    return {NO_SPEECH: NO_SPEECH_COLOR, **{label: emotion_color(label) for label in labels}}


def bars(
    segments: Sequence[Segment], labels: Sequence[str], hop: float, limits: tuple[float, float] | None = None
) -> tuple[pd.DataFrame, float]:
    """The bars of a timeline and their width.

    Args:
        segments: of the windows, each drawn at its middle.
        labels: of the model.
        hop: from one window to the next, seconds.
        limits: (start, end) in seconds of the part to draw; None is all of it.

    Returns:
        (time, probability, emotion) rows, the time in the middle of a bar, and the width of a bar, both in seconds.
    """
    names = [NO_SPEECH, *labels]
    start, end = limits or (0.0, segments[-1].end)
    middles = np.array([(segment.start + segment.end) / 2 for segment in segments])
    chosen = np.flatnonzero((middles >= start) & (middles <= end))
    narrowest = max(hop, (end - start) / MAX_BARS)
    width = hop if narrowest == hop else next((width for width in WIDTHS if width >= narrowest), narrowest)
    shares = np.zeros((len(chosen), len(names)))
    for row, number in enumerate(chosen):
        scores = segments[number].scores
        shares[row] = [1.0] + [0.0] * len(labels) if scores is None else [0.0, *scores.values()]
    positions = np.floor(middles[chosen] / width + 1e-6).astype(int)
    rows = [(0.0, 0.0, name) for name in names]  # in this order they are stacked
    for position in np.unique(positions):
        means = shares[positions == position].mean(axis=0)
        middle = (position + 0.5) * width
        rows += [(middle, mean, name) for mean, name in zip(means, names, strict=True) if mean >= MIN_SHARE]
    if rows[len(names) :]:
        rows[: len(names)] = [(rows[len(names)][0], 0.0, name) for name in names]
    return pd.DataFrame(rows, columns=["time", "probability", "emotion"]), width
