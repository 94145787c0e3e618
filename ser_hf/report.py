"""What a training run leaves beside its checkpoint: curves, confusion matrix, classification report, model card.

Everything is written from the run itself; what is not known is left out.
"""

from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from .corpora import Corpus
from .evaluation import format_report
from .plots import confusion_matrix_figure, learning_curves, save_figure

METRIC_NAMES = {
    "unweighted_accuracy": ("recall", "Unweighted accuracy (UA, mean recall)"),
    "accuracy": ("accuracy", "Weighted accuracy (WA, plain accuracy)"),
    "macro_f1": ("f1", "Macro F1"),
}

CARD = """---
{metadata}
---

# {title}

Recognises emotion in speech: **{labels}**. {encoder_sentence}

| protocol | test speakers | UA | WA | macro F1 |
|---|---|---|---|---|
| {protocol_cell} | {test_speakers} | **{ua:.1f} %** | {wa:.1f} % | {f1:.1f} % |

UA, unweighted accuracy, is the mean recall over the classes. {leak_sentence}

## Use

```python
import numpy as np
from transformers import pipeline

classify = pipeline("audio-classification", model=".", trust_remote_code=True)  # "." is a copy of this folder
waveform = np.random.default_rng(0).normal(0, 0.1, 32_000).astype("float32")  # your own sound comes here
print(classify({{"array": waveform, "sampling_rate": 16_000}}))
```

Give the sound as it was recorded: silent ends are trimmed, and everything else is prepared, by the feature extractor.
Scores are calibrated with a temperature of {temperature:.2f}, fitted on the validation speakers.

## Data

{data}

- training: {train_clips} clips of the speakers {train_speakers}
- validation, which chose the epoch: the speakers {validation_speakers}
- test, heard once and after every choice: the speakers {test_speakers}

{citation}

## Training

{training}

| setting | value |
|---|---|
{settings}

![Loss and accuracy by epoch](curves.png)

## Figures by class

Test speakers, {protocol_cell}, measured on {date}:

```
{report}
```

![Confusion matrix](confusion_matrix.png)

## Limits

- {limit_data}
- Confidence falls short of certainty: one clip in {one_in} of unseen speakers was named wrongly here.
- Another language, another microphone, noise, or feelings that are not acted are outside of what was measured.

**Not for** decisions about people: hiring, credit, policing, medicine, education, monitoring at work. A voice that
sounds angry is not an angry person.
"""


def write_report(folder: Path, metrics: dict, history: list[dict], corpus: Corpus) -> None:
    """curves.png, confusion_matrix.png, classification_report.txt and README.md (the model card) → `folder`.

    Args:
        metrics: what `fine_tune` returns.
        history: the Trainer's log history.
    """
    test = metrics["test"]
    title = f"{metrics['protocol']}, fold {metrics['fold']}"
    save_figure(learning_curves(history), folder / "curves.png")
    figure = confusion_matrix_figure(test["confusion_matrix"], test["labels"], title)
    save_figure(figure, folder / "confusion_matrix.png")
    (folder / "classification_report.txt").write_text(format_report(test, title) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(model_card(metrics, corpus), encoding="utf-8")


def card_metadata(metrics: dict, corpus: Corpus) -> ModelCardData:
    """The card's YAML header, with the figures as `model-index` under the protocol's name."""
    test = metrics["test"]
    data_name = f"{corpus.name} {metrics['channel']}".strip()
    results = [
        EvalResult(
            task_type="audio-classification",
            task_name="Speech emotion recognition",
            dataset_type=corpus.name,
            dataset_name=data_name,
            dataset_config=f"{metrics['protocol']}, fold {metrics['fold']}",
            dataset_split="test",
            metric_type=metric_type,
            metric_name=metric_name,
            metric_value=round(test[name], 4),
        )
        for name, (metric_type, metric_name) in METRIC_NAMES.items()
    ]
    base = metrics["settings"].get("model_name_or_path")
    known = {
        "license": corpus.license.lower().replace(" ", "-") or None,
        "language": sorted(set(corpus.dataset["language"])) if "language" in corpus.dataset.column_names else None,
        "datasets": [corpus.name],
        "base_model": base if base and not Path(base).is_dir() else None,
    }
    return ModelCardData(
        library_name="transformers",
        pipeline_tag="audio-classification",
        tags=["speech-emotion-recognition", "emotion", "audio", *test["labels"]],
        metrics=["recall", "accuracy", "f1"],
        model_name=_title(metrics, corpus),
        eval_results=results,
        **{name: value for name, value in known.items() if value},
    )


def model_card(metrics: dict, corpus: Corpus) -> str:
    """The whole card as Markdown with its YAML header."""
    test, settings = metrics["test"], metrics["settings"]
    leaky = "leaky" in metrics["protocol"]
    wrong = 1 - test["accuracy"]
    card = CARD.format(
        metadata=card_metadata(metrics, corpus).to_yaml(),
        title=_title(metrics, corpus),
        labels=", ".join(test["labels"]),
        encoder_sentence=f"{_network(settings)}, {metrics['parameters'] / 1e6:.1f} M parameters in all.",
        protocol_cell=f"{metrics['protocol']}, fold {metrics['fold']}",
        ua=100 * test["unweighted_accuracy"],
        wa=100 * test["accuracy"],
        f1=100 * test["macro_f1"],
        leak_sentence=(
            "**The same speakers are in training and test, so this figure does not hold for new voices.**"
            if leaky
            else "No test speaker was heard in training or in any choice."
        ),
        temperature=metrics["temperature"],
        data=corpus.summary,
        train_clips=metrics["train_clips"],
        train_speakers=_names(metrics["train_speakers"]),
        validation_speakers=_names(metrics["validation_speakers"]),
        test_speakers=_names(test["speakers"]),
        citation="\n".join(
            line
            for line in (corpus.citation, f"Licence of the data: {corpus.license}." if corpus.license else "")
            if line
        ),
        training=(
            f"{metrics['train_minutes']:.1f} minutes on {metrics['hardware']}; the best epoch by validation UA was "
            f"{metrics['best_epoch']:g}, with a validation UA of "
            f"{100 * metrics['validation']['unweighted_accuracy']:.1f} %."
        ),
        settings="\n".join(f"| {name} | {value} |" for name, value in settings.items() if value is not None),
        date=metrics["date"],
        report=format_report(test, f"{metrics['protocol']}, fold {metrics['fold']}"),
        limit_data=(
            "RAVDESS is acted: 24 North American actors say two sentences. Spontaneous speech differs."
            if corpus.name == "ravdess"
            else f"It was trained on {corpus.name} alone."
        ),
        one_in=f"{1 / wrong:.1f}" if wrong else "none",
    )
    ModelCard(card)  # fails here, not on the Hub, if the header is not what the Hub reads
    return card


def _title(metrics: dict, corpus: Corpus) -> str:
    settings = metrics["settings"]
    if "model_name_or_path" in settings:
        base = Path(settings["model_name_or_path"]).name.removesuffix("-encoder")
    else:
        base = f"{settings['frontend']} {settings['body']}"
    return f"{base} for emotion in speech ({corpus.name})"


def _network(settings: dict) -> str:
    if "model_name_or_path" in settings:
        return f"Encoder: `{settings['model_name_or_path']}`"
    return f"A network without a pretrained encoder: front end `{settings['frontend']}`, body `{settings['body']}`"


def _names(speakers: list[str]) -> str:
    return ", ".join(speakers)
