"""The page about the model: its card in short, as far as the folder of the checkpoint tells it."""

import json
import re
from pathlib import Path

import gradio as gr

from ser_hf.calibration import format_calibration
from ser_hf.classifier import EmotionClassifier

from . import markup
from .checkpoints import short_name

UNKNOWN = (
    "With it came no `metrics.json`, so nothing is said here about how often it is right; its model card may tell."
)
MISUSE = (
    "**Not for** decisions about people: hiring, credit, policing, medicine, education, monitoring at work. A voice "
    "that sounds angry is not an angry person."
)
THIS_PAGE = """### This page

- “Not sure” stands where the highest probability lies below the model's threshold.
- The parts of a recording without speech are found by level and pitch, not by the model.
- Recordings stay on the machine that serves this page and are deleted within 10 minutes. Nothing that identifies
  one is logged."""


def about_page(classifier: EmotionClassifier) -> None:
    """Adds the components of this page to the Blocks around it."""
    folder = Path(classifier.name) if classifier.name else None
    gr.Markdown(
        f"## {short_name(classifier.name) or 'The model'}\nIt hears: {', '.join(classifier.labels)}.", elem_id="model"
    )
    metrics = read_metrics(folder)
    if metrics:
        gr.HTML(figures(metrics), apply_default_css=False, elem_id="figures")
    else:
        gr.Markdown(UNKNOWN)
    gr.Markdown(words(folder), elem_id="card")


def read_metrics(folder: Path | None) -> dict | None:
    """metrics.json of a checkpoint; None where it is not there or cannot be read."""
    try:
        return json.loads((folder / "metrics.json").read_text(encoding="utf-8")) if folder else None
    except (OSError, ValueError):
        return None


def figures(metrics: dict) -> str:
    """Protocol, accuracy, confusion matrix and calibration of the test clips as HTML."""
    test = metrics["test"]
    tiles = {
        "unweighted accuracy (UA)": f"{100 * test['unweighted_accuracy']:.1f} %",
        "accuracy (WA)": f"{100 * test['accuracy']:.1f} %",
        "macro F1": f"{100 * test['macro_f1']:.1f} %",
        "parameters": f"{metrics['parameters'] / 1e6:.1f} M",
    }
    how = (
        f"Measured on {metrics['date']} with {test['clips']} clips of the speakers {', '.join(test['speakers'])}. The "
        f"protocol: {metrics['protocol']}, fold {metrics['fold']}. UA is the mean recall over the emotions; guessing "
        f"gives {100 / len(test['labels']):.1f} %."
    )
    parts = [markup.tiles(tiles), markup.note(how), markup.confusion_matrix(test["confusion_matrix"], test["labels"])]
    if calibration := metrics.get("calibration"):
        parts += [markup.reliability(calibration["bins"]), markup.note(format_calibration(calibration))]
    return "".join(parts)


def words(folder: Path | None) -> str:
    """Data, limits and misuse as Markdown, from the model card where there is one."""
    card = folder / "README.md" if folder else None
    text = card.read_text(encoding="utf-8") if card and card.is_file() else ""
    parts = [f"### {title}\n\n{found}" for title in ("Data", "Limits") if (found := section(text, title))]
    if not any("Not for" in part for part in parts):
        parts.append(MISUSE)
    return "\n\n".join([*parts, THIS_PAGE])


def section(text: str, title: str) -> str:
    """What stands under a second-level heading of a Markdown text; empty without that heading."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, flags=re.MULTILINE | re.DOTALL)
    return found.group(1).strip() if found else ""
