"""What someone gets who takes a checkpoint elsewhere as ONNX: torch's scores, whatever the batch and the length."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ser_hf import EmotionClassifier, ModelError, onnx_export
from ser_hf.audio import SAMPLING_RATE
from ser_hf.labels import EMOTIONS
from ser_hf.modeling import SpectrogramConfig, SpectrogramFeatureExtractor, SpectrogramForAudioClassification
from ser_hf.onnx_export import export_onnx
from ser_hf.reference import synthetic_clip
from ser_hf.training.checkpoint import save_checkpoint

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


@pytest.fixture
def checkpoint(tiny_model, tmp_path):
    """family or body → the folder of a random checkpoint whose scores differ from clip to clip."""

    def make(kind: str) -> Path:
        if kind in ("whisper", "hubert"):
            model, extractor = tiny_model(kind)
        else:
            torch.manual_seed(0)
            sizes = [16, 8] if kind == "stacked_lstm" else [16]
            duration = {"duration_seconds": 2.0} if kind == "stacked_lstm" else {}
            extractor = SpectrogramFeatureExtractor(num_mel_bins=32, **duration)
            config = SpectrogramConfig(
                body=kind, feature_size=32, channels=[4, 4, 8, 8], lstm_sizes=sizes, id2label=dict(enumerate(EMOTIONS))
            )
            model = SpectrogramForAudioClassification(config).eval()
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if name.endswith("classifier.weight"):
                    weight.mul_(30)
        save_checkpoint(model, extractor, tmp_path / "checkpoint")
        return tmp_path / "checkpoint"

    return make


@pytest.mark.parametrize("kind", ["whisper", "hubert", "cnn", "cnn_bilstm_attention", "stacked_lstm"])
def test_onnxruntime_scores_equal_torchs_at_other_lengths_and_batches(checkpoint, tmp_path, kind):
    folder = checkpoint(kind)
    done = export_onnx(folder, tmp_path / "model.onnx")
    assert done.difference < 1e-3
    classifier = EmotionClassifier.from_pretrained(folder)
    session = onnxruntime.InferenceSession(done.path, providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["labels"]) == classifier.labels and metadata["sampling_rate"] == "16000"
    for seconds in ((0.5,), (1.7, 5.2), (11.0, 0.4, 2.0, 3.3)):
        clips = [synthetic_clip(seed, length) for seed, length in enumerate(seconds, 50)]
        inputs = classifier.feature_extractor(clips, sampling_rate=SAMPLING_RATE)
        logits = session.run(None, {name: inputs[name].numpy() for name in done.inputs})[0]
        scores = torch.from_numpy(logits).softmax(-1).numpy()
        expected = [list(p.scores.values()) for p in classifier.predict([(clip, SAMPLING_RATE) for clip in clips])]
        np.testing.assert_allclose(scores, expected, atol=1e-3)
        assert np.ptp(expected) > 0.1  # not the even scores that any graph would give


def test_a_graph_that_differs_is_not_left_there(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_export, "_torch_scores", lambda classifier, inputs: np.full((len(inputs[0]), 8), np.nan))
    with pytest.raises(ModelError, match="differs from torch"):
        export_onnx(checkpoint("stacked_lstm"), tmp_path / "model.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_without_the_packages_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModelError, match=r"onnxruntime is not installed: run `pip install -e '\.\[onnx\]'`"):
        export_onnx(None, tmp_path / "model.onnx")
