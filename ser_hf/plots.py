"""Every figure of the project, drawn with matplotlib's object-oriented interface.

pyplot keeps global state, which is wrong in a server that draws for several people at once, so nothing here uses it.
"""

import io
from pathlib import Path
from zlib import crc32

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from transformers.audio_utils import hertz_to_mel

from .modeling import SerFeatureExtractor

matplotlib.rcParams["svg.fonttype"] = "none"  # text stays text, so that a page can set its size and colour

# Paul Tol's colours (personal.sron.nl/~pault), this choice of them the one whose closest pair lies furthest apart
# under deuteranopia, protanopia and tritanopia, while all can be seen on white and on near-black.
EMOTION_COLORS = {
    "neutral": "#888C94",
    "calm": "#33BBEE",
    "happy": "#CCBB44",
    "sad": "#0077BB",
    "angry": "#CC3311",
    "fearful": "#AA4499",
    "disgust": "#117733",
    "surprised": "#EE7733",
    "bored": "#997700",
}
OTHER_COLORS = ("#44AA99", "#CC6677", "#AAAA00", "#6699CC", "#997700", "#EE99AA")

MID_GRAY = "#888C94"  # lines that are seen on white and on near-black
GRID = {"color": MID_GRAY, "alpha": 0.3, "linewidth": 0.6}
ATTENTION = LinearSegmentedColormap.from_list("attention", [MID_GRAY, "#EE7733", "#CC3311"])
TRIMMED_ALPHA = 0.3  # of the waveform where the model did not listen
MAX_COLUMNS = 600  # of a waveform or spectrogram; more cannot be told apart on a screen
FREQUENCIES = (500, 1000, 2000, 4000, 8000)  # Hz, ticks of a log-mel spectrogram
SOUND_SIZE = (5.0, 3.6)  # inches; narrow, so that the text can still be read on a telephone
SOUND_FONT_SIZE = 9  # points
SCREEN_DPI = 110  # pixels per inch of the spectrogram inside an SVG
FILE_DPI = 150  # pixels per inch of a saved figure
BEST_BY = ("eval_unweighted_accuracy", "eval_accuracy", "eval_loss")  # what the best epoch is chosen by, if logged
# What a bar of a comparison stands for → how it looks.
COMPARED = {
    "unseen speakers": {"facecolor": "#0077BB", "edgecolor": "#0077BB"},
    "random clips (leaky: the same speakers are in training and test)": {
        "facecolor": "#C9CCD1", "edgecolor": "white", "hatch": "///",
    },
    "unseen speakers, published by others": {"facecolor": "white", "edgecolor": "#0077BB", "linewidth": 1.2},
}  # fmt: skip


def emotion_color(label: str) -> str:
    """The colour of a class, as #RRGGBB: always the same one, also for a class this project has no name for."""
    return EMOTION_COLORS.get(label) or OTHER_COLORS[crc32(label.encode()) % len(OTHER_COLORS)]


def sound_figure(
    waveform: np.ndarray,
    sampling_rate: int,
    attention: np.ndarray | None = None,
    bounds: tuple[float, float] | None = None,
) -> Figure:
    """The waveform, coloured by what the model listened to, over the log-mel spectrogram on the same time axis.

    Args:
        waveform: (samples,) float in [-1, 1].
        sampling_rate: Hz.
        attention: (frames,) weights over `bounds`; None draws the waveform in one colour.
        bounds: the part that the model heard, (start, end) in seconds; what lies outside is drawn faint.
    """
    figure = Figure(figsize=SOUND_SIZE)
    # Margins by hand: matplotlib's layout engines cost more than drawing the figure.
    upper, lower = figure.subplots(
        2, sharex=True, gridspec_kw={"left": 0.12, "right": 0.985, "top": 0.99, "bottom": 0.135, "hspace": 0.08}
    )
    duration = len(waveform) / sampling_rate
    _draw_attention(upper, waveform, duration, attention, bounds or (0.0, duration))
    _draw_log_mel(lower, waveform, sampling_rate, duration)
    lower.set_xlim(0, duration)
    lower.set_xlabel("seconds", fontsize=SOUND_FONT_SIZE)
    return figure


def learning_curves(history: list[dict]) -> Figure:
    """Loss and accuracy by epoch, the best epoch marked.

    Args:
        history: `trainer.state.log_history`: rows with `epoch` and `loss`, or `eval_loss`, `eval_accuracy`,
            `eval_unweighted_accuracy` as fractions.
    """
    figure = Figure(figsize=(9.0, 3.6))
    losses, accuracies = figure.subplots(
        1, 2, gridspec_kw={"left": 0.075, "right": 0.985, "top": 0.9, "bottom": 0.15, "wspace": 0.2}
    )
    for axes, key, label, color in (
        (losses, "loss", "training", MID_GRAY),
        (losses, "eval_loss", "validation", EMOTION_COLORS["sad"]),
        (accuracies, "eval_unweighted_accuracy", "unweighted (UA)", EMOTION_COLORS["sad"]),
        (accuracies, "eval_accuracy", "plain (WA)", EMOTION_COLORS["surprised"]),
    ):
        epochs, values = _series(history, key)
        if epochs:
            axes.plot(epochs, values, label=label, color=color, marker="o", markersize=3, linewidth=1.6)
    best = _best_epoch(history)
    for axes, title in ((losses, "Loss"), (accuracies, "Accuracy on validation speakers")):
        if best is not None:
            axes.axvline(best, color="black", linewidth=0.9, linestyle=":", label=f"best epoch ({best:g})")
        axes.set_title(title, fontsize=11)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(**GRID)
        axes.spines[["top", "right"]].set_visible(False)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False, fontsize=9)
    accuracies.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    return figure


def confusion_matrix_figure(matrix: np.ndarray, labels: list[str], title: str) -> Figure:
    """Counts and row percentages; rows are the true classes, columns the predicted ones, the colour is the percentage.

    Args:
        matrix: (classes, classes) counts.
        labels: (classes,) in the order of the rows and columns.
    """
    counts = np.asarray(matrix)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 2.4 + 0.68 * len(labels)  # inches: room for "100 %" in every cell, and for the names beside them
    figure = Figure(figsize=(side, side * 0.92))
    axes = figure.subplots(gridspec_kw={"left": 1.3 / side, "right": 0.98, "top": 0.93, "bottom": 1.3 / side})
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), count in np.ndenumerate(counts):
        share = shares[row, column]
        color = "white" if share > 0.55 else "black" if count else MID_GRAY
        axes.text(column, row - 0.13, f"{count:g}", ha="center", va="center", color=color, fontsize=11)
        if count:
            axes.text(column, row + 0.24, f"{100 * share:.0f} %", ha="center", va="center", color=color, fontsize=8)
    positions = range(len(labels))
    axes.set_xticks(positions, labels, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(positions, [f"{label} ({n:g})" for label, n in zip(labels, counts.sum(axis=1), strict=True)])
    axes.set_xlabel("predicted")
    axes.set_ylabel("true (clips)")
    axes.set_title(title, fontsize=11)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def save_figure(figure: Figure, path: str | Path) -> None:
    """Writes a figure on a white ground; the suffix decides the format, and missing folders are made."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=FILE_DPI, facecolor="white", bbox_inches="tight")


def figure_svg(figure: Figure) -> str:
    """The figure as an `<svg>` element without a ground, for a web page.

    Text is text, and black text has no colour of its own: in a page it takes the CSS `fill`, dark on light and light
    on dark.
    """
    file = io.StringIO()
    figure.savefig(file, format="svg", dpi=SCREEN_DPI, transparent=True, metadata={"Date": None})
    document = file.getvalue()
    return document[document.index("<svg") :]


def _draw_attention(
    axes: Axes, waveform: np.ndarray, duration: float, attention: np.ndarray | None, bounds: tuple[float, float]
) -> None:
    times, low, high = _envelope(waveform, duration)
    peak = max(np.abs(low).max(), np.abs(high).max(), 1e-6)
    low, high = low / peak, high / peak
    heard = (times >= bounds[0]) & (times <= bounds[1])
    axes.fill_between(times, low, high, color=MID_GRAY, alpha=TRIMMED_ALPHA, linewidth=0.8)
    if attention is None:
        axes.fill_between(times, low, high, where=heard, color=ATTENTION(0.5), linewidth=0.8)
    elif heard.any():
        # 1 is what every moment would weigh if all weighed the same; even weights shall look even, not all important.
        relative = attention * len(attention) / max(float(attention.sum()), 1e-12)
        weights = relative / max(float(relative.max()), 2.0)
        middles = bounds[0] + (np.arange(len(weights)) + 0.5) * (bounds[1] - bounds[0]) / len(weights)
        axes.fill_between(middles, -1.15, -1.15 + 2.3 * weights, color=ATTENTION(0.5), alpha=0.22, linewidth=0)
        # One image of the weights, cut out along the waveform, is far quicker than a coloured line per moment.
        shape = axes.fill_between(times, low, high, where=heard, facecolor="none", edgecolor="none")
        image = axes.imshow(
            weights[None, :], cmap=ATTENTION, vmin=0, vmax=1, extent=(*bounds, -1, 1), aspect="auto", zorder=3
        )
        image.set_clip_path(shape.get_paths()[0], axes.transData)
        shape.remove()
    axes.set_ylim(-1.15, 1.15)
    axes.set_yticks([])
    axes.tick_params(length=0, labelbottom=False)
    axes.spines[:].set_visible(False)


def _draw_log_mel(axes: Axes, waveform: np.ndarray, sampling_rate: int, duration: float) -> None:
    extractor = SerFeatureExtractor(sampling_rate=sampling_rate)
    frames = extractor.log_mel(torch.from_numpy(np.ascontiguousarray(waveform, dtype=np.float32))).numpy()
    step = -(-len(frames) // MAX_COLUMNS)
    starts = np.arange(0, len(frames), step)
    columns = np.maximum.reduceat(frames, starts)
    top = hertz_to_mel(sampling_rate / 2, mel_scale="slaney")
    axes.imshow(columns.T, origin="lower", aspect="auto", cmap="magma", extent=(0, duration, 0, top))
    ticks = [frequency for frequency in FREQUENCIES if frequency <= sampling_rate / 2]
    axes.set_yticks(
        [hertz_to_mel(float(frequency), mel_scale="slaney") for frequency in ticks],
        [f"{frequency / 1000:g}" for frequency in ticks],
    )
    axes.tick_params(length=0, labelsize=SOUND_FONT_SIZE)
    axes.spines[:].set_visible(False)
    axes.set_ylabel("kHz", fontsize=SOUND_FONT_SIZE, labelpad=8)


def _envelope(waveform: np.ndarray, duration: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Middles in seconds, minima and maxima, (columns,) each, of at most MAX_COLUMNS stretches of the waveform."""
    count = min(MAX_COLUMNS, len(waveform))
    starts = np.arange(count) * len(waveform) // count
    return (
        (np.arange(count) + 0.5) * duration / count,
        np.minimum.reduceat(waveform, starts),
        np.maximum.reduceat(waveform, starts),
    )


def _series(history: list[dict], key: str) -> tuple[list[float], list[float]]:
    """Epochs and values of one figure. The first row of an epoch counts: the best model may be evaluated again."""
    rows: dict[float, float] = {}
    for row in history:
        if key in row and "epoch" in row:
            rows.setdefault(row["epoch"], row[key])
    return list(rows), list(rows.values())


def _best_epoch(history: list[dict]) -> float | None:
    for key in BEST_BY:
        epochs, values = _series(history, key)
        if epochs:
            return epochs[int(np.argmin(values) if key.endswith("loss") else np.argmax(values))]
    return None


def comparison_figure(systems: list[tuple[str, list[tuple]]], chance: float | None = None) -> Figure:
    """UA of every system under every protocol, side by side, with their intervals.

    Args:
        systems: (name, bars), the first at the top; a bar is (kind, UA, (low, high) or None, remark), fractions, its
            kind one of COMPARED.
        chance: the UA of guessing.
    """
    margins = {"left": 2.6, "right": 0.3, "top": 0.95, "bottom": 0.6}  # inches
    width, height = 9.0, 0.62 * len(systems) + margins["top"] + margins["bottom"]
    figure = Figure(figsize=(width, height))
    axes = figure.subplots(
        gridspec_kw={
            "left": margins["left"] / width,
            "right": 1 - margins["right"] / width,
            "top": 1 - margins["top"] / height,
            "bottom": margins["bottom"] / height,
        }
    )
    step = 0.42  # of a row, from one of its bars to the next
    for row, (_, bars) in enumerate(systems):
        for number, (kind, value, bounds, remark) in enumerate(bars):
            y = row + (number - (len(bars) - 1) / 2) * step
            axes.barh(y, value, step - 0.04, **COMPARED[kind], zorder=2)
            if bounds is not None:
                axes.plot(bounds, (y, y), color="black", linewidth=1.1, marker="|", markersize=5, zorder=3)
            end = max(value, bounds[1] if bounds else 0.0)
            text = f"{100 * value:.1f}" + (f" ({remark})" if remark else "")
            axes.text(end + 0.012, y, text, va="center", fontsize=8.5, zorder=4)
    used = {kind for _, bars in systems for kind, *_ in bars}
    for kind in (kind for kind in COMPARED if kind in used):
        axes.barh(0, 0, 0, **COMPARED[kind], label=kind)
    if chance is not None:
        axes.axvline(
            chance, color="black", linewidth=1.1, linestyle=":", zorder=3, label=f"chance, {100 * chance:g} %"
        )
    axes.set_yticks(range(len(systems)), [name for name, _ in systems], fontsize=8.5)
    axes.set_ylim(len(systems) - 0.45, -0.55)
    axes.set_xlim(0, 1.06)
    axes.set_xticks(np.arange(0, 1.01, 0.1))
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    axes.set_xlabel("unweighted accuracy (UA), with its 95 % interval over speakers")
    axes.grid(axis="x", **GRID)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), frameon=False, fontsize=9, ncols=1, labelspacing=0.3)
    return figure


def count_figure(table: np.ndarray, names: list[str], parts: list[str] | None, colors: list[str], unit: str) -> Figure:
    """Stacked horizontal bars, the first at the top.

    Args:
        table: (names, parts) counts.
        parts: what the parts of a bar are, for the legend; None where there is only one.
        colors: (parts,).
    """
    row, left, top, bottom = 0.26, _room_for(names), 0.35 if parts else 0.1, 0.55  # inches
    width, height = 8.5, row * len(names) + top + bottom
    figure = Figure(figsize=(width, height))
    axes = figure.subplots(
        gridspec_kw={"left": left / width, "right": 0.95, "top": 1 - top / height, "bottom": bottom / height}
    )
    before = np.zeros(len(names))
    for number, color in enumerate(colors):
        label = parts[number] if parts else None
        axes.barh(names, table[:, number], left=before, color=color, edgecolor="white", linewidth=0.6, label=label)
        before += table[:, number]
    for position, total in enumerate(before):
        axes.text(total, position, f" {total:,.0f}", va="center", fontsize=9)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(0, 1.07 * before.max())
    axes.set_xlabel(unit)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _bare(axes, "x")
    if parts:
        axes.legend(
            loc="lower left", bbox_to_anchor=(0, 1), ncols=len(parts), frameon=False, fontsize=9, borderaxespad=0.1,
            columnspacing=1.0, handlelength=1.0,
        )  # fmt: skip
    return figure


def distribution_figure(values: np.ndarray, labels: list[str], emotions: list[str], xlabel: str) -> Figure:
    """The histogram of all clips, and below it a box for each emotion on the same axis.

    Args:
        values: (clips,). labels: (clips,) their emotions. emotions: in the order of the boxes.
    """
    upper_height, row, bottom = 1.5, 0.3, 0.6  # inches
    width, height = 8.5, upper_height + row * len(emotions) + bottom + 0.2
    groups = [values[np.array([label == emotion for label in labels])] for emotion in emotions]
    ticks = [f"{emotion} ({len(group):,})" for emotion, group in zip(emotions, groups, strict=True)]
    figure = Figure(figsize=(width, height))
    upper, lower = figure.subplots(
        2,
        sharex=True,
        height_ratios=[upper_height, row * len(emotions)],
        gridspec_kw={
            "left": _room_for(ticks) / width, "right": 0.98, "top": 1 - 0.1 / height, "bottom": bottom / height,
            "hspace": 0.08,
        },
    )  # fmt: skip
    upper.hist(values, bins=min(30, max(10, len(values) // 10)), color=MID_GRAY)
    upper.set_ylabel("clips")
    upper.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    boxes = lower.boxplot(
        groups, orientation="horizontal", widths=0.6, patch_artist=True, medianprops={"color": "black"},
        flierprops={"marker": ".", "markersize": 4, "markerfacecolor": MID_GRAY, "markeredgecolor": "none"},
        tick_labels=ticks,
    )  # fmt: skip
    for box, emotion in zip(boxes["boxes"], emotions, strict=True):
        box.set(facecolor=emotion_color(emotion), alpha=0.75)
    lower.invert_yaxis()
    lower.set_xlabel(xlabel)
    _bare(upper, "y")
    upper.tick_params(labelbottom=False)
    _bare(lower, "x")
    return figure


def trim_figure(thresholds: tuple[float, ...], removed: np.ndarray) -> Figure:
    """How much of the clips each threshold removes.

    Args:
        thresholds: dB. removed: (clips, thresholds) shares.
    """
    figure = Figure(figsize=(8.5, 3.2))
    axes = figure.subplots(gridspec_kw={"left": 0.1, "right": 0.98, "top": 0.96, "bottom": 0.17})
    boxes = axes.boxplot(
        list(removed.T), widths=0.5, whis=(5, 95), patch_artist=True, showfliers=False, showmeans=True,
        medianprops={"color": "black"}, tick_labels=[f"{threshold:g} dB" for threshold in thresholds],
        meanprops={"marker": "D", "markersize": 5, "markerfacecolor": "white", "markeredgecolor": "black"},
    )  # fmt: skip
    for box in boxes["boxes"]:
        box.set(facecolor=EMOTION_COLORS["calm"], alpha=0.75)
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    axes.set_xlabel("threshold below the loudest moment (diamond: mean)")
    axes.set_ylabel("of a clip removed")
    _bare(axes, "y")
    return figure


def emotion_examples_figure(waveforms: dict[str, np.ndarray], sampling_rate: int) -> Figure:
    """A row for each emotion: its waveform and its log-mel spectrogram, all over the same seconds.

    Args:
        waveforms: emotion → (samples,).
    """
    row, bottom, top = 1.05, 0.5, 0.05  # inches
    width, height = 8.5, row * len(waveforms) + bottom + top
    figure = Figure(figsize=(width, height))
    table = figure.subplots(
        len(waveforms), 2, squeeze=False,
        gridspec_kw={
            "left": _room_for(list(waveforms)) / width, "right": 0.985, "top": 1 - top / height,
            "bottom": bottom / height, "wspace": 0.13,
            "hspace": 0.12,
        },
    )  # fmt: skip
    longest = max(map(len, waveforms.values())) / sampling_rate
    corner = {"ha": "right", "va": "top", "fontsize": 7, "color": "#4a4f57"}
    for (emotion, waveform), (left, right) in zip(waveforms.items(), table, strict=True):
        duration = len(waveform) / sampling_rate
        times, low, high = _envelope(waveform, duration)
        left.fill_between(times, low, high, color=emotion_color(emotion), linewidth=0.6)
        peak = float(np.abs(waveform).max())
        left.set_ylim(-1.05 * peak, 1.05 * peak)
        left.set_yticks([])
        left.text(0.99, 0.98, f"peak {20 * np.log10(peak):.0f} dBFS", transform=left.transAxes, **corner)
        left.set_ylabel(emotion, rotation=0, ha="right", va="center", fontsize=10)
        _draw_log_mel(right, waveform, sampling_rate, duration)
        right.set_ylabel("")
        for axes in (left, right):
            axes.set_xlim(0, longest)
            axes.spines[:].set_visible(False)
            axes.tick_params(length=0, labelsize=8, labelbottom=emotion == list(waveforms)[-1])
    for axes in table[-1]:
        axes.set_xlabel("seconds", fontsize=9)
    return figure


def _room_for(names: list[str]) -> float:
    """Inches that tick labels of this length need."""
    return 0.25 + 0.085 * max(map(len, names))


def _bare(axes: Axes, grid: str) -> None:
    """No frame, and grid lines along one axis, behind what is drawn."""
    axes.grid(axis=grid, **GRID)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)


def reliability_figure(bins: list[dict], title: str) -> Figure:
    """Accuracy by score, against the diagonal that calibrated scores lie on; below it, how many clips have the score.

    Args:
        bins: as `ser_hf.calibration.reliability_bins` returns them.
    """
    figure = Figure(figsize=(4.6, 5.2))
    upper, lower = figure.subplots(
        2,
        sharex=True,
        height_ratios=[3, 1],
        gridspec_kw={"left": 0.15, "right": 0.97, "top": 0.91, "bottom": 0.1, "hspace": 0.08},
    )
    edges, widths = [row["low"] for row in bins], [row["high"] - row["low"] for row in bins]
    bar = {"align": "edge", "edgecolor": "white", "linewidth": 0.6}
    upper.bar(edges, [row["accuracy"] for row in bins], widths, color=EMOTION_COLORS["sad"], **bar)
    upper.plot(
        [row["confidence"] for row in bins], [row["accuracy"] for row in bins], linestyle="none", marker="o",
        markersize=4, color="black", label="mean score and accuracy",
    )  # fmt: skip
    upper.plot((0, 1), (0, 1), color="black", linewidth=0.9, linestyle=":", label="calibrated")
    lower.bar(edges, [row["clips"] for row in bins], widths, color=MID_GRAY, **bar)
    upper.set_ylim(0, 1)
    upper.set_ylabel("accuracy")
    upper.set_title(title, fontsize=11)
    upper.legend(frameon=False, fontsize=9, loc="upper left")
    lower.set_xlim(0, 1)
    lower.set_xlabel("score of the answer")
    lower.set_ylabel("clips")
    lower.yaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
    for axes in (upper, lower):
        _bare(axes, "y")
    upper.tick_params(labelbottom=False)
    return figure
