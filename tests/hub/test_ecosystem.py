"""Inside the ecosystem: Hugging Face's evaluator runs on our model, extractor and metric."""

import evaluate
import pytest
from datasets import ClassLabel, Dataset

from ser_hf import EmotionClassifier
from ser_hf.audio import SAMPLING_RATE
from ser_hf.reference import synthetic_clip
from ser_hf.training.metrics import UnweightedAccuracy


def test_the_evaluator_gives_the_figure_that_our_own_classifier_comes_to(published_files):
    classifier = EmotionClassifier.from_pretrained(published_files)
    clips = [synthetic_clip(seed, 0.5 + 0.3 * seed) for seed in range(8)]
    predicted = [p.label for p in classifier.predict([(clip, SAMPLING_RATE) for clip in clips])]
    others = [name for name in classifier.labels if name not in predicted]
    truth = [*predicted[:5], *others[:3]]  # five right, three wrong
    sound = [{"array": clip, "sampling_rate": SAMPLING_RATE} for clip in clips]
    data = Dataset.from_dict({"audio": sound, "label": truth})
    data = data.cast_column("label", ClassLabel(names=classifier.labels)).with_format("numpy")
    result = evaluate.evaluator("audio-classification").compute(
        model_or_pipeline=classifier.model,
        feature_extractor=classifier.feature_extractor,
        data=data,
        metric=UnweightedAccuracy(),
        input_column="audio",
        label_column="label",
        label_mapping=classifier.model.config.label2id,
    )
    right = {name: [t == p for t, p in zip(truth, predicted, strict=True) if t == name] for name in set(truth)}
    expected = sum(sum(hits) / len(hits) for hits in right.values()) / len(right)
    assert result["unweighted_accuracy"] == pytest.approx(expected) and 0 < expected < 1
    assert result["samples_per_second"] > 0
