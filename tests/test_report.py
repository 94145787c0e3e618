"""The model card: what the Hub reads of it, and that nothing is claimed that was not measured."""

import json
import subprocess
import sys

import pytest
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results

from ser_hf import ModelError
from ser_hf.classifier import EMBEDDED
from ser_hf.corpora import load_corpus
from ser_hf.report import card_metadata, model_card, write_card

CALIBRATION = {
    "temperature": 1.3, "uncertainty_threshold": 0.42, "expected_calibration_error": 0.061, "uncertain_share": 0.2,
    "errors_caught": 0.5,
    "bins": [{"low": 0.4, "high": 0.6, "clips": 3, "confidence": 0.5, "accuracy": 0.33}],
}  # fmt: skip
CONDITIONS = {
    "clean": {"clips": 240, "unweighted_accuracy": 0.761, "accuracy": 0.758, "macro_f1": 0.754},
    "white noise, 10 dB": {"clips": 240, "unweighted_accuracy": 0.415, "accuracy": 0.41, "macro_f1": 0.4},
}
CROSS_CORPUS = {
    "emodb": {
        "emotions": ["neutral", "happy"], "clips": 408, "unweighted_accuracy": 0.512, "accuracy": 0.5,
        "macro_f1": 0.49, "among_common_emotions": {"unweighted_accuracy": 0.613},
    },
}  # fmt: skip


@pytest.fixture
def metrics() -> dict:
    stored = json.loads((EMBEDDED / "metrics.json").read_text())
    left_out = ("calibration", "conditions", "cross_corpus")
    return {name: value for name, value in stored.items() if name not in left_out} | {
        "corpus": {
            "name": "ravdess", "summary": "ravdess: 1,440 clips", "license": "CC BY-NC-SA 4.0",
            "citation": "Livingstone SR, Russo FA (2018).", "languages": ["en"],
        }
    }  # fmt: skip


def test_the_header_survives_the_hubs_own_round_trip(metrics):
    written = card_metadata(metrics)
    read = ModelCard(model_card(metrics)).data
    assert read.to_dict() == written.to_dict()
    assert ModelCard(str(ModelCard(model_card(metrics)))).data.to_dict() == written.to_dict()
    assert read.license == "cc-by-nc-sa-4.0" and read.language == ["en"] and read.datasets == ["ravdess"]
    assert read.pipeline_tag == "audio-classification" and read.base_model == "openai/whisper-base"
    assert {"speech-emotion-recognition", *metrics["test"]["labels"]} <= set(read.tags)
    assert read.metrics == ["recall", "accuracy", "f1"]
    name, results = model_index_to_eval_results(eval_results_to_model_index(read.model_name, read.eval_results))
    assert name == read.model_name
    test = metrics["test"]
    expected = [test["unweighted_accuracy"], test["accuracy"], test["macro_f1"]]
    assert [result.metric_value for result in results] == pytest.approx(expected, abs=1e-4)
    assert all(metrics["protocol"] in result.dataset_name and result.dataset_split == "test" for result in results)


def test_the_card_has_what_a_reader_has_to_know(metrics):
    text = model_card(metrics)
    for heading in (
        "Use", "Intended use", "Data", "Training", "Figures by class", "Calibration", "Limits", "Cost of training",
        "How to cite",
    ):  # fmt: skip
        assert f"\n## {heading}\n" in text
    assert "**Not for** decisions about people" in text and "Licence of the data: CC BY-NC-SA 4.0" in text
    assert f"- hardware: {metrics['hardware']}" in text and "minutes" in text
    assert "Livingstone" in text and "https://huggingface.co/openai/whisper-base" in text
    assert "| learning_rate | " in text
    assert all(speaker in text for speaker in metrics["test"]["speakers"])


def test_what_was_not_measured_is_not_there_and_what_was_is(metrics):
    assert "## Robustness" not in model_card(metrics) and "## Other corpora" not in model_card(metrics)
    text = model_card(metrics | {"calibration": CALIBRATION, "conditions": CONDITIONS, "cross_corpus": CROSS_CORPUS})
    assert "6.10 %" in text and "below 0.42" in text and "(reliability.png)" in text
    assert "| white noise, 10 dB | 240 | 41.5 | 41.0 | 40.0 |" in text
    assert "| emodb | neutral, happy | 408 | 51.2 | 50.0 | 49.0 | 61.3 |" in text


def test_a_leaky_protocol_and_a_perfect_model_are_told_as_they_are(metrics):
    test = metrics["test"] | {"accuracy": 1.0}
    text = model_card(metrics | {"protocol": "random clips (leaky)", "test": test, "best_epoch": None})
    assert "this figure does not hold for new voices" in text and "No test speaker was heard" not in text
    assert "none of the test clips was named wrongly" in text


def test_a_licence_the_hub_has_no_name_for_is_other(metrics):
    corpus = metrics["corpus"] | {"license": "free for research", "citation": ""}
    header = ModelCard(model_card(metrics | {"corpus": corpus})).data
    assert header.license == "other" and header.license_name == "free for research"
    unknown = ModelCard(model_card(metrics | {"corpus": corpus | {"license": "", "languages": []}})).data
    assert unknown.license is None and unknown.language is None


def test_a_card_is_written_anew_when_figures_were_added(metrics, corpus_dir, tmp_path):
    metrics.pop("corpus")
    (tmp_path / "metrics.json").write_text(json.dumps(metrics | {"calibration": CALIBRATION}))
    with pytest.raises(ModelError, match="says nothing of the corpus"):
        write_card(tmp_path)
    write_card(tmp_path, load_corpus("ravdess", str(corpus_dir)))
    assert "96 clips" in (tmp_path / "README.md").read_text() and (tmp_path / "reliability.png").is_file()
    stored = json.loads((tmp_path / "metrics.json").read_text())
    (tmp_path / "metrics.json").write_text(json.dumps(stored | {"conditions": CONDITIONS}))
    write_card(tmp_path)
    assert "## Robustness" in (tmp_path / "README.md").read_text()


def test_the_snippet_of_a_card_runs(metrics):
    snippet = model_card(metrics).split("```python\n")[1].split("```")[0]
    done = subprocess.run([sys.executable, "-c", snippet], cwd=EMBEDDED, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "'label'" in done.stdout and "'score'" in done.stdout
