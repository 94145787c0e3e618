"""What a training run leaves beside its checkpoint: curves, confusion matrix, classification report, model card.

Everything is written from the run itself; what is not known is left out.
"""

import json
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from .calibration import format_calibration
from .corpora import Corpus
from .errors import ModelError
from .evaluation import format_report
from .licenses import card_fields
from .markdown import table
from .plots import confusion_matrix_figure, learning_curves, reliability_figure, save_figure
from .results import write_json

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

## Intended use

To study and to try out how feelings are heard in a voice: acted or read speech of one person at a time, and as a
starting point for training on your own data.

**Not for** decisions about people: hiring, credit, policing, medicine, education, monitoring at work. A voice that
sounds angry is not an angry person.

## Data

{data}

- training: {train_clips} clips of the speakers {train_speakers}
- validation: the speakers {validation_speakers}; {validation_use}
- test, heard once and after every choice: the speakers {test_speakers}

{license}

## Training

The best epoch by validation UA was {best_epoch}, with a validation UA of {validation_ua:.1f} %.

{settings}

![Loss and accuracy by epoch](curves.png)

## Figures by class

Test speakers, {protocol_cell}, measured on {date}:

```
{report}
```

![Confusion matrix](confusion_matrix.png)

{measured}## Limits

- {limit_data}
- Confidence falls short of certainty: {wrong_sentence}.
- Another language, another microphone, noise, or feelings that are not acted: what no table above says of them was
  not measured.

## Cost of training

{cost}

## How to cite

{citation}
"""


def write_report(folder: Path, metrics: dict, history: list[dict], corpus: Corpus) -> None:
    """Plots, classification_report.txt, the model card, and metrics.json with what it says of the corpus → `folder`.

    Args:
        metrics: what `fine_tune` returns; gains "corpus", what the card says of the data.
        history: the Trainer's log history.
    """
    test = metrics["test"]
    title = _protocol(metrics)
    save_figure(learning_curves(history), folder / "curves.png")
    figure = confusion_matrix_figure(test["confusion_matrix"], test["labels"], title)
    save_figure(figure, folder / "confusion_matrix.png")
    (folder / "classification_report.txt").write_text(format_report(test, title) + "\n", encoding="utf-8")
    metrics["corpus"] = corpus_facts(corpus)
    write_json(folder / "metrics.json", metrics)
    write_card(folder)


def corpus_facts(corpus: Corpus) -> dict:
    """What a card says of the data, so that it can be written anew without them."""
    has_language = "language" in corpus.dataset.column_names
    return {
        "name": corpus.name,
        "summary": corpus.summary,
        "license": corpus.license,
        "citation": corpus.citation,
        "languages": sorted({name for name in corpus.dataset["language"] if name}) if has_language else [],
    }


def write_card(folder: Path, corpus: Corpus | None = None) -> None:
    """README.md, and reliability.png where calibration was measured, from the metrics.json of a checkpoint.

    To be called whenever figures were added there.

    Args:
        corpus: whose facts metrics.json is given, where it lacks them.

    Raises:
        ModelError: metrics.json is not there, or does not know the corpus.
    """
    path = folder / "metrics.json"
    if not path.is_file():
        raise ModelError(f"{folder} has no metrics.json: give a folder that finetune/train.py wrote.")
    metrics = json.loads(path.read_text(encoding="utf-8"))
    if corpus is not None:
        metrics["corpus"] = corpus_facts(corpus)
        write_json(path, metrics)
    if "corpus" not in metrics:
        raise ModelError(f"{path} says nothing of the corpus, which the model card needs: train anew.")
    if "calibration" in metrics:
        figure = reliability_figure(metrics["calibration"]["bins"], _protocol(metrics))
        save_figure(figure, folder / "reliability.png")
    (folder / "README.md").write_text(model_card(metrics), encoding="utf-8")


def card_metadata(metrics: dict) -> ModelCardData:
    """The card's YAML header, with the figures as `model-index` under the protocol's name."""
    test, corpus = metrics["test"], metrics["corpus"]
    results = [
        EvalResult(
            task_type="audio-classification",
            task_name="Speech emotion recognition",
            dataset_type=corpus["name"],
            dataset_name=f"{corpus['name']} {metrics['channel']}".strip() + f": {_protocol(metrics)}",
            dataset_config=_protocol(metrics),
            dataset_split="test",
            metric_type=metric_type,
            metric_name=metric_name,
            metric_value=round(test[name], 4),
        )
        for name, (metric_type, metric_name) in METRIC_NAMES.items()
    ]
    base = metrics["settings"].get("model_name_or_path")
    known = {
        "language": corpus["languages"],
        "base_model": base if base and not Path(base).is_dir() else None,
        **card_fields(corpus["license"]),
    }
    return ModelCardData(
        library_name="transformers",
        pipeline_tag="audio-classification",
        tags=["speech-emotion-recognition", "emotion", "audio", *test["labels"]],
        datasets=[corpus["name"]],
        metrics=["recall", "accuracy", "f1"],
        model_name=_title(metrics),
        eval_results=results,
        **{name: value for name, value in known.items() if value},
    )


def model_card(metrics: dict) -> str:
    """The whole card as Markdown with its YAML header."""
    test, settings, corpus = metrics["test"], metrics["settings"], metrics["corpus"]
    leaky = "leaky" in metrics["protocol"]
    wrong = 1 - test["accuracy"]
    license = f"Licence of the data: {corpus['license']}." if corpus["license"] else "Licence of the data: not known."
    set_values = [[name, str(value)] for name, value in settings.items() if value is not None]
    card = CARD.format(
        metadata=card_metadata(metrics).to_yaml(),
        title=_title(metrics),
        labels=", ".join(test["labels"]),
        encoder_sentence=f"{_network(settings)}, {metrics['parameters'] / 1e6:.1f} M parameters in all.",
        protocol_cell=_protocol(metrics),
        ua=100 * test["unweighted_accuracy"],
        wa=100 * test["accuracy"],
        f1=100 * test["macro_f1"],
        leak_sentence=(
            "**Speakers are not known: clips of one voice may be on both sides, so this may not hold for new ones.**"
            if "speakers unknown" in metrics["protocol"]
            else "**The same speakers are in training and test, so this figure does not hold for new voices.**"
            if leaky
            else "No test speaker was heard in training or in any choice."
        ),
        data=corpus["summary"],
        train_clips=metrics["train_clips"],
        train_speakers=_names(metrics["train_speakers"]),
        validation_speakers=_names(metrics["validation_speakers"]),
        validation_use=(
            "a first training without them set the calibration, then they were trained on as well"
            if settings.get("refit")
            else "they chose the epoch and set the calibration"
        ),
        test_speakers=_names(test["speakers"]),
        license=license,
        best_epoch="not recorded" if metrics["best_epoch"] is None else f"{metrics['best_epoch']:g}",
        validation_ua=100 * metrics["validation"]["unweighted_accuracy"],
        settings=table(["setting", "value"], set_values, text=(0, 1)),
        date=metrics["date"],
        report=format_report(test, _protocol(metrics)),
        measured="".join(
            f"## {heading}\n\n{text}\n\n" for heading, text in _measured_besides(metrics).items() if text
        ),
        limit_data=(
            "RAVDESS is acted: 24 North American actors say two sentences. Spontaneous speech differs."
            if corpus["name"] == "ravdess"
            else f"It was trained on {corpus['name']} alone."
        ),
        wrong_sentence=(
            f"one clip in {1 / wrong:.1f} of {'the test' if leaky else 'unseen speakers'} was named wrongly here"
            if wrong
            else "none of the test clips was named wrongly, but they are few"
        ),
        cost=_cost(metrics),
        citation="\n".join(line for line in (corpus["citation"], _encoder_citation(settings)) if line)
        or "No publication is known to this program.",
    )
    ModelCard(card)  # fails here, not on the Hub, if the header is not what the Hub reads
    return card


def _measured_besides(metrics: dict) -> dict[str, str]:
    """Heading → what was measured after training; empty where it was not."""
    temperature = f"Scores are divided by a temperature of {metrics['temperature']:.2f}, fitted on validation clips."
    calibration, conditions = metrics.get("calibration"), metrics.get("conditions")
    if calibration:
        text = format_calibration(calibration)
        temperature += f"\n\n```\n{text}\n```\n\n![Confidence and accuracy](reliability.png)"
    robustness = ""
    if conditions:
        rows = [[name, str(row["clips"]), *_percent(row)] for name, row in conditions.items()]
        robustness = (
            f"The same test clips, {_protocol(metrics)}, as they sound elsewhere:\n\n"
            f"{table(['condition', 'clips', 'UA %', 'WA %', 'F1 %'], rows, text=(0,))}"
        )
    strangers = ""
    if metrics.get("cross_corpus"):
        rows = []
        for name, row in metrics["cross_corpus"].items():
            among = row.get("among_common_emotions")
            rows.append([
                name, ", ".join(row.get("emotions", [])), str(row["clips"]), *_percent(row),
                f"{100 * among['unweighted_accuracy']:.1f}" if among else "",
            ])  # fmt: skip
        header = ["corpus", "emotions", "clips", "UA %", "WA %", "F1 %", "UA % where only these can be answered"]
        strangers = (
            "Corpora that nothing was trained on: other people, other rooms, often another language.\n\n"
            f"{table(header, rows, text=(0, 1))}"
        )
    return {"Calibration": temperature, "Robustness": robustness, "Other corpora": strangers}


def _percent(figures: dict) -> list[str]:
    return [f"{100 * figures[name]:.1f}" if figures.get(name) is not None else "" for name in METRIC_NAMES]


def _cost(metrics: dict) -> str:
    """What a figure of CO₂ would be computed from; the electricity's origin is not known here."""
    facts = [f"- hardware: {metrics['hardware']}", f"- training: {metrics['train_minutes']:.1f} minutes"]
    if "total_minutes" in metrics:
        facts.append(f"- with loading, features and tests: {metrics['total_minutes']:.1f} minutes")
    facts.append(f"- trained parameters: {metrics['trained_parameters'] / 1e6:.1f} M")
    return "\n".join(facts)


def _encoder_citation(settings: dict) -> str:
    if "model_name_or_path" not in settings:
        return ""
    name = settings["model_name_or_path"]
    return "" if Path(name).is_dir() else f"The encoder: https://huggingface.co/{name}"


def _protocol(metrics: dict) -> str:
    return f"{metrics['protocol']}, fold {metrics['fold']}"


def _title(metrics: dict) -> str:
    settings = metrics["settings"]
    if "model_name_or_path" in settings:
        base = Path(settings["model_name_or_path"]).name.removesuffix("-encoder")
    else:
        base = f"{settings['frontend']} {settings['body']}"
    return f"{base} for emotion in speech ({metrics['corpus']['name']})"


def _network(settings: dict) -> str:
    if "model_name_or_path" in settings:
        return f"Encoder: `{settings['model_name_or_path']}`"
    return f"A network without a pretrained encoder: front end `{settings['frontend']}`, body `{settings['body']}`"


def _names(speakers: list[str]) -> str:
    return ", ".join(speakers) or "not known"
