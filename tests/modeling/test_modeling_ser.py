"""The model gives the same answer however a clip is batched, for every family of encoder."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoConfig, AutoFeatureExtractor, AutoModelForAudioClassification

from conftest import FAMILIES, tiny_encoder_config
from ser_hf.modeling import SerConfig, SerFeatureExtractor, SerForAudioClassification


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, int(16_000 * seconds)).astype(np.float32)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_clip_alone_and_padded_in_a_batch_of_longer_ones_has_the_same_logits(tiny_model, family):
    model, extractor = tiny_model(family)
    clips = [noise(0.7, 1), noise(2.0, 2), noise(1.31, 3)]
    with torch.inference_mode():
        batch = model(**extractor(clips, sampling_rate=16_000))
        for row, clip in enumerate(clips):
            alone = model(**extractor(clip, sampling_rate=16_000))
            torch.testing.assert_close(batch.logits[row], alone.logits[0], atol=1e-4, rtol=0)
            frames = alone.pooling_weights.shape[1]
            torch.testing.assert_close(
                batch.pooling_weights[row, :frames], alone.pooling_weights[0], atol=1e-4, rtol=0
            )
            assert (batch.pooling_weights[row, frames:].abs() < 1e-6).all()
            assert alone.pooling_weights.sum().item() == pytest.approx(1, abs=1e-5)
    # The test can fail: different clips do have different logits.
    assert (batch.logits[0] - batch.logits[1]).abs().max() > 1e-4


@pytest.mark.parametrize("family", ["wav2vec2", "hubert", "wavlm"])
def test_the_plain_library_encoder_is_changed_by_padding_so_ours_has_a_reason(tiny_model, family):
    import transformers

    config = tiny_encoder_config(family)
    plain = {"wav2vec2": "Wav2Vec2Model", "hubert": "HubertModel", "wavlm": "WavLMModel"}[family]
    torch.manual_seed(0)
    config_class = type(SerConfig(encoder_config=config).encoder_config)
    config.pop("model_type")
    encoder = getattr(transformers, plain)(config_class(**config)).eval()
    clip = torch.from_numpy(noise(0.7))[None]
    padded = torch.nn.functional.pad(clip, (0, 16_000))
    mask = torch.nn.functional.pad(torch.ones_like(clip), (0, 16_000)).long()
    with torch.inference_mode():
        alone = encoder(clip).last_hidden_state
        in_batch = encoder(padded, attention_mask=mask).last_hidden_state[:, : alone.shape[1]]
    assert (alone - in_batch).abs().max() > 1e-3


@pytest.mark.parametrize("family", ["wav2vec2", "hubert", "wavlm", "hubert-layer-norm"])
def test_without_padding_the_encoder_is_the_library_s_own(tiny_model, family):
    import transformers

    model, _ = tiny_model(family)
    name = {"wav2vec2": "Wav2Vec2Model", "hubert": "HubertModel", "wavlm": "WavLMModel"}[family.split("-")[0]]
    plain = getattr(transformers, name)(model.config.encoder_config).eval()
    plain.load_state_dict(model.encoder.state_dict())
    clip = torch.from_numpy(noise(1.0))[None]
    with torch.inference_mode():
        ours, _ = model.hidden_states(clip, torch.ones_like(clip).long())
        theirs = plain(clip, output_hidden_states=True).hidden_states
    assert len(ours) == len(theirs) == 3
    for state, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(state, expected, atol=1e-4, rtol=1e-4)


def test_the_whisper_encoder_is_the_library_s_own_at_its_30_seconds(tiny_model):
    model, _ = tiny_model("whisper")
    features = torch.randn(1, 3000, 80)
    with torch.inference_mode():
        states, mask = model.hidden_states(features, torch.ones(1, 3000).long())
        expected = model.encoder(features.transpose(1, 2)).last_hidden_state
        torch.testing.assert_close(model.encoder.layer_norm(states[-1]), expected, atol=1e-5, rtol=0)
    assert mask.shape == (1, 1500)


def test_whisper_encodes_more_than_30_seconds_in_windows_and_less_without_padding(tiny_model):
    model, extractor = tiny_model("whisper")
    with torch.inference_mode():
        short = model(**extractor(noise(1.0)))
        long = model(**extractor([noise(37.0), noise(1.0)]))
    assert short.pooling_weights.shape == (1, 50)  # 20 ms a frame: nothing is padded to 30 s
    assert long.pooling_weights.shape == (2, 1850)
    torch.testing.assert_close(long.logits[1], short.logits[0], atol=1e-4, rtol=0)


@settings(max_examples=15, deadline=None)
@given(lengths=st.lists(st.integers(1_600, 20_000), min_size=1, max_size=4), family=st.sampled_from(FAMILIES))
def test_any_lengths_in_a_batch_give_finite_logits_equal_to_single_clips(lengths, family):
    torch.manual_seed(0)
    config = SerConfig(encoder_config=tiny_encoder_config(family), num_labels=3)
    model = SerForAudioClassification(config).eval()
    extractor = SerFeatureExtractor(feature_type="log_mel" if family == "whisper" else "waveform", trim_top_db=None)
    clips = [noise(length / 16_000, seed) for seed, length in enumerate(lengths)]
    with torch.inference_mode():
        batch = model(**extractor(clips)).logits
        alone = torch.cat([model(**extractor(clip)).logits for clip in clips])
    assert batch.isfinite().all()
    torch.testing.assert_close(batch, alone, atol=1e-4, rtol=0)


def test_the_encoder_is_cut_and_the_first_layers_are_frozen_as_the_config_says(tiny_model):
    model, extractor = tiny_model("whisper", num_encoder_layers=1, num_frozen_layers=1, first_pooled_layer=0)
    assert len(model.encoder.layers) == 1
    assert model.pooling.layer_weights.shape == (2,)
    assert not any(p.requires_grad for p in model.encoder.parameters())
    model.train()(**extractor(noise(0.5)), labels=torch.tensor([1])).loss.backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_convolutional_front_end_is_frozen_or_trained_as_the_config_says(tiny_model, family):
    for frozen in (True, False):
        model, extractor = tiny_model(family, freeze_feature_encoder=frozen, first_pooled_layer=0)
        model.train()(**extractor(noise(0.5)), labels=torch.tensor([1])).loss.backward()
        stem = model.encoder.conv1 if family == "whisper" else model.encoder.feature_extractor.conv_layers[0].conv
        assert (stem.weight.grad is None) == frozen


@pytest.mark.parametrize("options", [
    {"num_encoder_layers": 3}, {"num_frozen_layers": 3}, {"first_pooled_layer": 9}, {"calibration_temperature": 0.0},
    {"encoder_config": {"model_type": "bert"}},
])  # fmt: skip
def test_a_configuration_that_does_not_fit_says_what_would(options):
    with pytest.raises(ValueError, match=r"choose|positive"):
        SerConfig(**{"encoder_config": tiny_encoder_config("whisper"), **options})


def test_temperature_divides_the_logits_outside_training_only(tiny_model):
    model, extractor = tiny_model("whisper", head_dropout=0.0)
    inputs = extractor(noise(0.5))
    with torch.inference_mode():
        plain = model(**inputs).logits
        model.config.calibration_temperature = 2.0
        torch.testing.assert_close(model(**inputs).logits, plain / 2)
        torch.testing.assert_close(model.train()(**inputs).logits, plain)


@pytest.mark.parametrize("family", FAMILIES)
def test_saved_and_loaded_by_the_auto_classes_it_is_the_same_model(tiny_model, family, tmp_path):
    model, extractor = tiny_model(family)
    model.save_pretrained(tmp_path)
    extractor.save_pretrained(tmp_path)
    inputs = extractor(noise(0.8))
    loaded, loading = AutoModelForAudioClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not loading["missing_keys"] and not loading["unexpected_keys"]
    assert type(AutoConfig.from_pretrained(tmp_path)) is SerConfig
    again = AutoFeatureExtractor.from_pretrained(tmp_path)(noise(0.8))
    with torch.inference_mode():
        torch.testing.assert_close(loaded.eval()(**again).logits, model(**inputs).logits)
    assert {path.name for path in tmp_path.iterdir()} >= {
        "model.safetensors", "configuration_ser.py", "feature_extraction_ser.py", "modeling_ser.py",
    }  # fmt: skip
    assert not list(tmp_path.glob("*.bin"))


def test_the_encoder_of_a_checkpoint_is_taken_whole_or_refused(tmp_path):
    """As the Hub holds it: a whole Whisper with its decoder; then one with a weight of its encoder gone."""
    from safetensors.torch import load_file, save_file
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    torch.manual_seed(0)
    whisper = WhisperForConditionalGeneration(WhisperConfig(**tiny_encoder_config("whisper")))
    whisper.save_pretrained(tmp_path)
    model = SerForAudioClassification.from_encoder(tmp_path, {"num_encoder_layers": 1, "num_labels": 8})
    expected = whisper.model.encoder.layers[0].fc1.weight
    torch.testing.assert_close(model.encoder.layers[0].fc1.weight, expected)
    assert model.dtype == torch.float32

    weights = load_file(tmp_path / "model.safetensors")
    del weights["model.encoder.layers.0.fc1.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"layers\.0\.fc1\.weight"):
        SerForAudioClassification.from_encoder(tmp_path, {"num_encoder_layers": 1})


@pytest.mark.parametrize("family", ["wav2vec2", "hubert", "wavlm"])
def test_a_half_precision_encoder_is_loaded_in_float32(tiny_model, family, tmp_path):
    import transformers

    name = {"wav2vec2": "Wav2Vec2Model", "hubert": "HubertModel", "wavlm": "WavLMModel"}[family]
    model, _ = tiny_model(family)
    source = getattr(transformers, name)(model.config.encoder_config).half()
    source.save_pretrained(tmp_path)
    loaded = SerForAudioClassification.from_encoder(tmp_path, {"num_labels": 8})
    assert loaded.dtype == torch.float32
    torch.testing.assert_close(
        loaded.encoder.feature_projection.projection.weight, source.feature_projection.projection.weight.float()
    )


def test_trimming_removes_the_silent_ends_and_leaves_the_margin():
    extractor = SerFeatureExtractor()
    waveform = np.concatenate([np.zeros(16_000), noise(1.0), np.zeros(8_000)]).astype(np.float32)
    start, end = extractor.trim_bounds(waveform)
    assert start == pytest.approx(16_000 - 1_600, abs=400)
    assert end == pytest.approx(32_000 + 1_600, abs=400)
    assert SerFeatureExtractor(trim_top_db=None).trim_bounds(waveform) == (0, len(waveform))


@settings(max_examples=30, deadline=None)
@given(
    samples=st.integers(1, 40_000), gain=st.floats(1e-4, 1.0), feature_type=st.sampled_from(["log_mel", "waveform"])
)
def test_any_waveform_has_finite_features(samples, gain, feature_type):
    extractor = SerFeatureExtractor(feature_type=feature_type, level_db=-25.0, max_seconds=2.0)
    batch = extractor(noise(samples / 16_000) * np.float32(gain) if samples > 1 else np.ones(1, np.float32))
    inputs = batch[extractor.model_input_names[0]]
    assert inputs.isfinite().all()
    longest = 200 if feature_type == "log_mel" else 32_000
    assert inputs.shape[0] == 1 and 10 <= inputs.shape[1] <= longest
    assert batch["attention_mask"].all()


def test_with_a_level_the_gain_of_a_recording_does_not_matter():
    extractor = SerFeatureExtractor(level_db=-25.0)
    torch.testing.assert_close(
        extractor(noise(1.0)).input_features, extractor(noise(1.0) * 0.1).input_features, atol=1e-4, rtol=0
    )


def test_log_mel_is_whisper_s_own_where_nothing_is_padded():
    from transformers import WhisperFeatureExtractor

    waveform = noise(30.0)
    ours = SerFeatureExtractor(trim_top_db=None)(waveform).input_features[0]
    theirs = WhisperFeatureExtractor()(waveform, sampling_rate=16_000, return_tensors="pt").input_features[0].T
    torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=0)


def test_another_sampling_rate_is_refused():
    with pytest.raises(ValueError, match="8000 Hz"):
        SerFeatureExtractor()(noise(1.0), sampling_rate=8_000)


def test_the_saved_code_runs_where_this_package_is_not(tiny_model, tmp_path):
    """The remote code names no module but transformers, torch and NumPy, and gives the same scores."""
    model, extractor = tiny_model("whisper")
    model.save_pretrained(tmp_path / "checkpoint")
    extractor.save_pretrained(tmp_path / "checkpoint")
    np.save(tmp_path / "clip.npy", noise(0.8))
    script = """
import sys, json, numpy
sys.path = [p for p in sys.path if p]
sys.modules["ser_hf"] = None  # an import of it would fail
from transformers import pipeline
pipe = pipeline("audio-classification", model="checkpoint", trust_remote_code=True, top_k=None)
print(json.dumps(pipe({"array": numpy.load("clip.npy"), "sampling_rate": 16000})))
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    scores = {row["label"]: row["score"] for row in json.loads(done.stdout.splitlines()[-1])}
    with torch.inference_mode():
        expected = model(**extractor(noise(0.8))).logits.softmax(-1)[0]
    for number, label in model.config.id2label.items():
        assert scores[label] == pytest.approx(expected[number].item(), abs=1e-4)


def test_the_head_sees_standardised_statistics_which_travel_with_the_checkpoint(tiny_model, tmp_path):
    model, extractor = tiny_model("whisper")
    inputs = extractor([noise(1.0, seed) for seed in range(6)])
    with torch.inference_mode():
        statistics = model(**inputs).statistics
    model.standardize(statistics)
    standardised = (statistics - model.statistics_mean) / model.statistics_deviation
    torch.testing.assert_close(standardised.mean(0), torch.zeros_like(standardised[0]), atol=1e-2, rtol=0)
    model.save_pretrained(tmp_path)
    again = AutoModelForAudioClassification.from_pretrained(tmp_path)
    torch.testing.assert_close(again.statistics_mean, model.statistics_mean)


def test_several_heads_give_the_mean_of_their_probabilities(tiny_model):
    model, extractor = tiny_model("whisper", num_heads=3)
    inputs = extractor([noise(0.7, 1), noise(1.3, 2)], sampling_rate=16_000)
    with torch.inference_mode():
        output = model(**inputs, labels=torch.tensor([0, 1]))
    assert output.head_logits.shape == (2, 3, 8)
    each = output.head_logits.softmax(-1)
    assert (each[:, 0] - each[:, 1]).abs().max() > 1e-4  # they are three heads and not one
    torch.testing.assert_close(output.logits.softmax(-1), each.mean(1), atol=1e-6, rtol=0)
    losses = [torch.nn.functional.cross_entropy(output.head_logits[:, k], torch.tensor([0, 1])) for k in range(3)]
    torch.testing.assert_close(output.loss, sum(losses) / 3)


@pytest.mark.parametrize(
    ("family", "frozen", "first"),
    [("whisper", 1, 1), ("whisper", 2, 1), ("whisper", 1, 0), ("hubert", 2, 1), ("wavlm", 2, 0)],
)
def test_kept_states_of_frozen_layers_give_the_same_answer_as_the_sound(tiny_model, family, frozen, first):
    model, extractor = tiny_model(family, num_frozen_layers=frozen, first_pooled_layer=first)
    inputs = extractor([noise(0.7, 1), noise(1.3, 2)], sampling_rate=16_000)
    expected = model(**inputs)
    kept, frames = model.frozen_states(inputs[extractor.model_input_names[0]], inputs["attention_mask"])
    assert kept.shape[-1] == (frozen - first + 1) * 16
    again = model(encoder_states=kept, attention_mask=frames)
    torch.testing.assert_close(again.logits, expected.logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(again.pooling_weights, expected.pooling_weights, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("family", "options", "said"),
    [
        ("whisper", {"num_frozen_layers": 0}, "nothing to keep"),
        ("whisper", {"num_frozen_layers": 1, "first_pooled_layer": 2}, "nothing to keep"),
        ("hubert", {"num_frozen_layers": 1}, "only if all are frozen"),
    ],
)
def test_states_that_cannot_be_kept_are_refused(tiny_model, family, options, said):
    model, extractor = tiny_model(family, **options)
    inputs = extractor(noise(0.7), sampling_rate=16_000)
    with pytest.raises(ValueError, match=said):
        model.frozen_states(inputs[extractor.model_input_names[0]], inputs["attention_mask"])


@pytest.mark.parametrize("snr_db", [20, 10])
def test_noise_does_not_hide_where_the_speech_begins_and_ends(speech, snr_db):
    extractor = SerFeatureExtractor()
    clean = np.array(extractor.trim_bounds(speech))
    spoken = speech[slice(*clean)]
    level = np.sqrt(np.mean(np.square(spoken)) / 10 ** (snr_db / 10))
    noisy = speech + level * np.random.default_rng(0).standard_normal(len(speech)).astype(np.float32)
    assert clean[0] > 0.3 * 16_000 and len(speech) - clean[1] > 0.3 * 16_000  # there is silence to be cut
    assert np.abs(extractor.trim_bounds(noisy) - clean).max() < 0.25 * 16_000


@pytest.mark.parametrize("sound", [noise(1.0), np.sin(np.arange(16_000) / 10).astype(np.float32)])
def test_sound_without_a_pause_is_kept_whole(sound):
    assert SerFeatureExtractor().trim_bounds(sound) == (0, len(sound))
