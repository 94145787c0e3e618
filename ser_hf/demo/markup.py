"""What the pages show that no Gradio component does: HTML without scripts. All text in it is escaped here."""

from collections.abc import Sequence
from html import escape

from ser_hf.classifier import Prediction, Segment
from ser_hf.plots import emotion_color


def hint(text: str) -> str:
    """A quiet sentence where an answer will stand."""
    return f'<p class="hint">{escape(text)}</p>'


def note(text: str) -> str:
    """A remark in small print; lines stay lines."""
    return f'<p class="note">{escape(text).replace(chr(10), "<br>")}</p>'


def summary(text: str) -> str:
    """What was done; screen readers say it when it comes."""
    return f'<p class="summary" role="status">{escape(text)}</p>'


def problem(text: str) -> str:
    """What went wrong, in a box that stays; screen readers say it at once."""
    return f'<p class="problem" role="alert">{escape(text)}</p>'


def progress(done: float, total: float | None, text: str) -> str:
    """A bar that fills, or one that only moves where the total is not known."""
    state = f' value="{done:.2f}" max="{total:.2f}"' if total else ""
    return f'<div class="progress"><progress aria-label="Progress"{state}></progress><span>{escape(text)}</span></div>'


def answer(heard: Prediction | Segment) -> str:
    """The emotion in one large line, with its probability; "Not sure" where the model is not."""
    color, word, score = emotion_color(heard.label), escape(heard.label), percent(heard.score)
    if heard.uncertain:
        color, word, score = "transparent", "Not sure", f"perhaps {word}, {score}"
    return (
        f'<p class="answer" role="status"><span class="dot" style="background:{color}"></span>'
        f'<strong>{word}</strong> <span class="score">{score}</span></p>'
    )


def probabilities(scores: dict[str, float]) -> str:
    """A bar for every emotion, in the order of `scores`."""
    rows = "".join(
        f'<tr><th scope="row">{escape(label)}</th>'
        f'<td class="track"><div style="width:{100 * score:.1f}%;background:{emotion_color(label)}"></div></td>'
        f'<td class="score">{percent(score)}</td></tr>'
        for label, score in scores.items()
    )
    return f'<table class="probabilities"><caption>How probable each emotion is</caption>{rows}</table>'


def sound(svg: str, description: str, caption: str) -> str:
    """A figure with its caption; `description` is what screen readers say in its place."""
    return (
        f'<figure class="sound"><figcaption>{escape(caption)}</figcaption>'
        f'<div role="img" aria-label="{escape(description)}">{svg}</div></figure>'
    )


def side_by_side(names: Sequence[str], parts: Sequence[str]) -> str:
    """The answers of several models in columns, each under its name."""
    columns = "".join(
        f'<section class="result"><h3>{escape(name)}</h3>{part}</section>'
        for name, part in zip(names, parts, strict=True)
    )
    return f'<div class="beside">{columns}</div>'


def legend(colors: dict[str, str]) -> str:
    """What the colours of a chart stand for."""
    items = "".join(f'<li><i style="background:{color}"></i>{escape(name)}</li>' for name, color in colors.items())
    return f'<ul class="legend" aria-label="Colours">{items}</ul>'


def tiles(values: dict[str, str]) -> str:
    """A few figures, large, each with what it is."""
    return '<dl class="tiles">' + "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in values.items()
    ) + "</dl>"  # fmt: skip


def confusion_matrix(matrix: Sequence[Sequence[int]], labels: Sequence[str]) -> str:
    """Counts of the test clips; the colour of a cell is its share of the row. Matrix (classes, classes)."""
    head = "".join(f'<th scope="col"><span>{escape(label)}</span></th>' for label in labels)
    rows = ""
    for label, counts in zip(labels, matrix, strict=True):
        total = max(sum(counts), 1)
        cells = "".join(
            f'<td style="--share:{count / total:.3f}" title="{100 * count / total:.0f} % of {escape(label)} was '
            f'called {escape(predicted)}">{count or ""}</td>'
            for predicted, count in zip(labels, counts, strict=True)
        )
        rows += f'<tr><th scope="row">{escape(label)}</th>{cells}</tr>'
    return (
        '<table class="confusion"><caption>Confusion matrix: how many clips of the emotion on the left were called '
        f"what stands above</caption><thead><tr><td></td>{head}</tr></thead><tbody>{rows}</tbody></table>"
    )


def reliability(bins: Sequence[dict]) -> str:
    """How often the model is right, by how sure it says it is; bins as in `ser_hf.calibration.reliability_bins`."""
    color = emotion_color("sad")
    rows = "".join(
        f'<tr><th scope="row">{100 * row["low"]:.0f} to {100 * row["high"]:.0f} %</th>'
        f'<td class="track"><div style="width:{100 * row["accuracy"]:.1f}%;background:{color}"></div></td>'
        f'<td class="score">{100 * row["accuracy"]:.0f} %</td><td class="score">{row["clips"]}</td></tr>'
        for row in bins
    )
    return (
        '<table class="probabilities reliability"><caption>How often it is right, by its own confidence</caption>'
        '<thead><tr><th scope="col">confidence</th><td></td><th scope="col">right</th><th scope="col">clips</th></tr>'
        f"</thead>{rows}</table>"
    )


def percent(share: float) -> str:
    """0.948 → "95 %". Nothing is ever quite certain or quite impossible to a model, so neither 0 nor 100 is said."""
    if share < 0.01:
        return "&lt;1 %"
    if share > 0.99:
        return "&gt;99 %"
    return f"{100 * share:.0f} %"


def clock(seconds: float) -> str:
    """75 → "1:15", 7200 → "2:00:00"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
