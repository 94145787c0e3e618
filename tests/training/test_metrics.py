"""The figures are the ones that their names say."""

import numpy as np
import pytest
import torch

from ser_hf.training.metrics import emotion_metrics, per_class
from ser_hf.training.trainer import WeightedCrossEntropy, inverse_frequency_weights


def test_ua_counts_every_class_alike_and_wa_every_clip():
    # 8 clips of class 0, all right; 2 of class 1, one right: recalls 1 and 0.5.
    figures = emotion_metrics().compute(predictions=[0] * 9 + [1], references=[0] * 8 + [1] * 2)
    assert figures["unweighted_accuracy"] == pytest.approx(0.75)
    assert figures["accuracy"] == pytest.approx(0.9)
    f1 = (2 * 8 / (9 + 8), 2 * 1 / (1 + 2))
    assert figures["macro_f1"] == pytest.approx(np.mean(f1))
    assert figures["weighted_f1"] == pytest.approx(0.8 * f1[0] + 0.2 * f1[1])


def test_a_class_without_clips_does_not_count():
    figures = emotion_metrics().compute(predictions=[0, 2], references=[0, 0])
    assert figures["unweighted_accuracy"] == pytest.approx(0.5)


def test_every_class_has_its_row():
    rows = per_class([0, 0, 1], [0, 1, 1], ["calm", "sad", "angry"])
    assert rows["calm"] == {"precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3), "clips": 2}
    assert rows["angry"]["clips"] == 0


def test_rare_classes_weigh_more_and_the_mean_weight_is_one():
    labels = np.array([0] * 30 + [1] * 10)
    weights = inverse_frequency_weights(labels, 3)
    assert weights.tolist() == pytest.approx([40 / 60, 2.0, 0.0])
    assert weights[labels].mean() == pytest.approx(1)


def test_the_loss_is_the_same_in_one_batch_and_accumulated_over_two():
    logits, labels = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 1, 1])
    loss = WeightedCrossEntropy(torch.tensor([0.5, 1.0, 2.0]), smoothing=0.1)

    class Output:
        def __init__(self, logits):
            self.logits = logits

    whole = loss(Output(logits), labels, num_items_in_batch=6)
    parts = sum(loss(Output(logits[i : i + 2]), labels[i : i + 2], num_items_in_batch=6) for i in (0, 2, 4))
    torch.testing.assert_close(whole, parts)
    plain = WeightedCrossEntropy(None, smoothing=0.0)
    torch.testing.assert_close(plain(Output(logits), labels), torch.nn.functional.cross_entropy(logits, labels))
