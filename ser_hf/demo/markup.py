"""What the pages show that no Gradio component does: HTML without scripts. All text in it is escaped here."""

from html import escape

from ser_hf.classifier import Prediction
from ser_hf.plots import emotion_color


def hint(text: str) -> str:
    """A quiet sentence where an answer will stand."""
    return f'<p class="hint">{escape(text)}</p>'


def problem(text: str) -> str:
    """What went wrong, in a box that stays; screen readers say it at once."""
    return f'<p class="problem" role="alert">{escape(text)}</p>'


def answer(prediction: Prediction) -> str:
    """The emotion in one large line, with its probability."""
    return (
        '<p class="answer" role="status">'
        f'<span class="dot" style="background:{emotion_color(prediction.label)}"></span>'
        f'<strong>{escape(prediction.label)}</strong> <span class="score">{percent(prediction.score)}</span></p>'
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


def percent(share: float) -> str:
    """0.948 → "95 %". Nothing is ever quite certain or quite impossible to a model, so neither 0 nor 100 is said."""
    if share < 0.01:
        return "&lt;1 %"
    if share > 0.99:
        return "&gt;99 %"
    return f"{100 * share:.0f} %"
