"""finetune/train.py with the classic systems: each configuration trains; statistics see training clips only."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ser_hf import EmotionClassifier, ModelError
from ser_hf.labels import EMOTIONS
from ser_hf.modeling.configuration_spectrogram import BODIES
from ser_hf.training.arguments import parse_arguments
from ser_hf.training.data import SpectrogramViews, SpeechDataset, cache_waveforms
from ser_hf.training.fine_tuning import build_model, fine_tune, fit_to_training_clips, load_data
from ser_hf.training.trainer import class_weights

CONFIGS = Path(__file__).parents[2] / "configs"
SYSTEMS = {
    "log_mel_cnn": "cnn", "spectrogram_cnn": "cnn", "cnn_bilstm_attention": "cnn_bilstm_attention",
    "trimmed_mel_cnn": "cnn", "trimmed_mel_cnn_bias": "cnn", "mfcc_lstm": "lstm", "stacked_lstm": "stacked_lstm",
}  # fmt: skip
FIRST_STEPS = (
    "--max_steps", "2", "--eval_strategy", "steps", "--eval_steps", "1", "--save_strategy", "steps", "--save_steps",
    "1", "--logging_strategy", "steps", "--logging_steps", "1",
)  # fmt: skip


def arguments_for(config: str, corpus: Path, output: Path, *more: str) -> list[str]:
    return [
        str(CONFIGS / f"{config}.yaml"), "--data_dir", str(corpus), "--protocol", "speaker", "--num_folds", "3",
        "--validation_speakers", "1", "--output_dir", str(output), "--use_cpu", "true", "--disable_tqdm", "true",
        "--channel", "speech", *more,
    ]  # fmt: skip


@pytest.mark.parametrize("config", SYSTEMS)
def test_two_steps_of_each_system_leave_a_checkpoint_that_answers(config, corpus_dir, tmp_path, speech_file):
    metrics = fine_tune(*parse_arguments(arguments_for(config, corpus_dir, tmp_path, *FIRST_STEPS)))
    assert {path.name for path in tmp_path.iterdir()} >= {
        "model.safetensors", "config.json", "preprocessor_config.json", "metrics.json", "curves.png",
        "confusion_matrix.png", "README.md", "predictions.csv", "modeling_spectrogram.py",
    }  # fmt: skip
    classifier = EmotionClassifier.from_pretrained(tmp_path)
    assert classifier.model.config.body == SYSTEMS[config]
    prediction = classifier.predict(speech_file)
    assert list(prediction.scores) == list(EMOTIONS)
    assert (prediction.attention is not None) == (config == "cnn_bilstm_attention")
    assert metrics["settings"]["body"] == SYSTEMS[config]
    card = (tmp_path / "README.md").read_text()
    assert "whisper" not in card


def test_the_systems_are_as_their_descriptions_say():
    models = {config: parse_arguments([str(CONFIGS / f"{config}.yaml")])[0] for config in SYSTEMS}
    assert {config: model.body for config, model in models.items()} == SYSTEMS
    assert all(model.system == "ser-spectrogram" and model.frontend in BODIES[model.body] for model in models.values())
    attention, data, augmentation, training = parse_arguments([str(CONFIGS / "cnn_bilstm_attention.yaml")])
    assert data.channel == "both" and augmentation.waveform_or_mask
    assert training.class_weight_factors == ["surprised=1.5"] and training.class_weights
    _, extractor = build_model(attention, list(EMOTIONS))
    assert extractor.num_frames == extractor.feature_size == 128
    stacked, _, _, training = parse_arguments([str(CONFIGS / "stacked_lstm.yaml")])
    assert stacked.lstm_sizes == [256, 256, 128] and stacked.dense_size == 256
    assert (training.learning_rate, training.per_device_train_batch_size) == (1e-3, 128)
    assert build_model(stacked, list(EMOTIONS))[1].feature_size == 40 + 40 + 12 + 128 + 7 + 6
    plain, started = models["trimmed_mel_cnn"], models["trimmed_mel_cnn_bias"]
    assert started == replace(plain, init_output_bias=True)


def test_the_tones_of_unseen_speakers_are_learned(corpus_dir, tmp_path):
    arguments = arguments_for(
        "spectrogram_cnn", corpus_dir, tmp_path, "--num_train_epochs", "8", "--learning_rate", "1e-2",
        "--channels", "4", "8", "8", "--body_dropout", "0", "--per_device_train_batch_size", "8",
    )  # fmt: skip
    assert fine_tune(*parse_arguments(arguments))["test"]["unweighted_accuracy"] > 0.5  # chance is 0.125


def prepared(config: str, corpus_dir: Path, tmp_path: Path, *more: str):
    model_args, data_args, augmentation, training = parse_arguments(arguments_for(config, corpus_dir, tmp_path, *more))
    corpus, fold = load_data(data_args)
    model, extractor = build_model(model_args, corpus.dataset.features["label"].names)
    cached = cache_waveforms(corpus.dataset, extractor)
    views = SpectrogramViews(cached, extractor, augmentation, augmentation.num_views, seed=0)
    train_set = SpeechDataset(cached, fold.train, extractor, augmentation, training.seed, views)
    fit_to_training_clips(model, train_set, model_args.init_output_bias)
    return model, extractor, train_set, cached, fold


def test_the_normalisation_is_that_of_the_training_clips_alone(corpus_dir, tmp_path):
    _, extractor, train_set, cached, fold = prepared("spectrogram_cnn", corpus_dir, tmp_path)

    def statistics(rows):
        frames = torch.cat([train_set.views.get(row, 0) for row in rows])
        return frames.mean(0), frames.std(0)

    mean, deviation = statistics(fold.train)
    np.testing.assert_allclose(extractor.feature_mean, mean, atol=1e-2)
    np.testing.assert_allclose(extractor.feature_deviation, deviation, rtol=1e-3)
    everyone, _ = statistics(range(len(cached)))
    assert np.abs(np.array(extractor.feature_mean) - everyone.numpy()).max() > 0.05  # the test can fail


def test_the_output_bias_starts_at_the_class_frequencies(corpus_dir, tmp_path):
    model, _, train_set, _, _ = prepared("trimmed_mel_cnn_bias", corpus_dir, tmp_path)
    frequencies = torch.tensor(np.bincount(train_set.labels, minlength=8) / len(train_set), dtype=torch.float32)
    torch.testing.assert_close(model.classifier.bias.softmax(-1), frequencies)


def test_views_are_computed_once_and_drawn_by_seed_epoch_and_row(corpus_dir, tmp_path, monkeypatch):
    *_, train_set, cached, _ = prepared("log_mel_cnn", corpus_dir, tmp_path, "--num_views", "2")
    extractor = train_set.extractor
    again = SpectrogramViews(cached, extractor, train_set.augmentation, 2, seed=0)
    assert again.views.cache_file == train_set.views.views.cache_file
    monkeypatch.setattr(extractor, "spectrogram", None)  # nothing is computed any more
    takes = []
    for epoch in (0, 1, 0):
        train_set.epoch = epoch
        takes.append(train_set[3]["features"])
    assert torch.equal(takes[0], takes[2])
    assert takes[0].shape != takes[1].shape or not torch.equal(takes[0], takes[1])


def test_a_clip_is_either_changed_as_a_waveform_or_masked(corpus_dir, tmp_path):
    *_, train_set, _, _ = prepared("cnn_bilstm_attention", corpus_dir, tmp_path, "--num_views", "1")
    kinds = set()
    for epoch in range(12):
        train_set.epoch = epoch
        features = train_set[0]["features"]
        clean, noisy = (train_set.extractor.normalize(train_set.views.get(train_set.rows[0], view)) for view in (0, 1))
        changed_frames = (features != clean).any(1).sum()
        assert torch.equal(features, noisy) or changed_frames <= 0.1 * len(clean)
        kinds.add(torch.equal(features, noisy))
    assert kinds == {True, False}


def test_class_weights_take_factors_by_name():
    labels = np.array([0, 0, 0, 1])
    assert class_weights(labels, ["calm", "surprised"], False, []) is None
    torch.testing.assert_close(
        class_weights(labels, ["calm", "surprised"], True, ["surprised=1.5"]), torch.tensor([2 / 3, 3.0])
    )
    for wrong in ("surprise=1.5", "surprised", "surprised=-1", "surprised=much"):
        with pytest.raises(ModelError, match=r"surprised=1\.5"):
            class_weights(labels, ["calm", "surprised"], False, [wrong])


@pytest.mark.parametrize(("options", "expected"), [
    (["--body", "transformer"], "no body 'transformer'"), (["--frontend", "wavelet"], "no front end 'wavelet'"),
    (["--frontend", "stacked"], "does not fit the body 'cnn'"), (["--system", "svm"], "no system 'svm'"),
    (["--class_weight_factors", "joy=2"], "class_weight_factors"), (["--cut", "end"], "'centre'"),
])  # fmt: skip
def test_a_system_that_cannot_be_is_one_sentence(options, expected, corpus_dir, tmp_path):
    with pytest.raises(ModelError, match=expected):
        fine_tune(*parse_arguments(arguments_for("log_mel_cnn", corpus_dir, tmp_path, "--num_views", "0", *options)))


def test_a_run_says_what_it_was_made_of(corpus_dir, tmp_path):
    fine_tune(*parse_arguments(arguments_for("mfcc_lstm", corpus_dir, tmp_path, *FIRST_STEPS)))
    settings = json.loads((tmp_path / "metrics.json").read_text())["settings"]
    assert settings["system"] == "ser-spectrogram" and settings["lstm_sizes"] == [256]
    assert "num_encoder_layers" not in settings  # of the other family
