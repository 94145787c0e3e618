"""The classic systems: every front end with every body that fits, alone and batched, here and in a bare pipeline."""

import json
import os
import subprocess
import sys

import librosa
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoConfig, AutoFeatureExtractor, AutoModelForAudioClassification

from ser_hf import EmotionClassifier
from ser_hf.audio import SAMPLING_RATE
from ser_hf.labels import EMOTIONS
from ser_hf.modeling import SpectrogramConfig, SpectrogramFeatureExtractor, SpectrogramForAudioClassification
from ser_hf.modeling.configuration_spectrogram import BODIES
from ser_hf.training.checkpoint import save_checkpoint

FITTING = [(frontend, body) for body, frontends in BODIES.items() for frontend in frontends]
DURATIONS = (None, 2.0)
LSTM_SIZES = {"stacked_lstm": [12, 8, 6]}


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, int(SAMPLING_RATE * seconds)).astype(np.float32)


def tiny_system(frontend="log_mel", body="cnn", options=None, **extractor_options):
    """(random model in eval mode, its extractor with the statistics of some noise)."""
    torch.manual_seed(0)
    extractor = SpectrogramFeatureExtractor(
        frontend=frontend, **{"num_mel_bins": 32, "num_mfcc": 13, **extractor_options}
    )
    extractor.fit_normalization([extractor.spectrogram(noise(1.0, seed)) for seed in range(2)])
    labels = dict(enumerate(EMOTIONS))
    config = SpectrogramConfig(
        frontend=frontend, body=body, feature_size=extractor.feature_size, channels=[4, 4, 4],
        lstm_sizes=LSTM_SIZES.get(body, [8]), dense_size=8, id2label=labels,
        label2id={name: number for number, name in labels.items()}, **(options or {}),
    )  # fmt: skip
    model = SpectrogramForAudioClassification(config)
    with torch.no_grad():  # batch norms that were trained move zeros: padding would show
        for name, values in [*model.named_parameters(), *model.named_buffers()]:
            if "norm" in name and values.is_floating_point():
                values.uniform_(0.5, 1.5)
    return model.eval(), extractor


@pytest.mark.parametrize("duration", DURATIONS)
@pytest.mark.parametrize(("frontend", "body"), FITTING)
def test_a_clip_alone_and_in_a_batch_has_the_same_logits(frontend, body, duration):
    model, extractor = tiny_system(frontend, body, duration_seconds=duration)
    clips = [noise(0.7, 1), noise(2.6, 2), noise(1.31, 3)]
    with torch.inference_mode():
        batch = model(**extractor(clips, sampling_rate=SAMPLING_RATE))
        assert batch.logits.shape == (3, 8)
        for row, clip in enumerate(clips):
            alone = model(**extractor(clip))
            torch.testing.assert_close(batch.logits[row], alone.logits[0], atol=1e-5, rtol=0)
            if body == "cnn_bilstm_attention":
                frames = alone.pooling_weights.shape[1]
                weights = batch.pooling_weights[row]
                torch.testing.assert_close(weights[:frames], alone.pooling_weights[0], atol=1e-5, rtol=0)
                assert weights.sum().item() == pytest.approx(1, abs=1e-5)
            else:
                assert alone.pooling_weights is None
    # The test can fail: different clips do have different logits.
    assert (batch.logits[0] - batch.logits[1]).abs().max() > 1e-5


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 40_000), min_size=1, max_size=3),
    system=st.sampled_from(FITTING),
    rate=st.sampled_from([16_000, 22_050]),
    cut=st.sampled_from(["start", "centre"]),
    duration=st.sampled_from(DURATIONS),
)
def test_any_lengths_in_a_batch_give_finite_logits_equal_to_single_clips(lengths, system, rate, cut, duration):
    model, extractor = tiny_system(*system, feature_rate=rate, cut=cut, duration_seconds=duration)
    clips = [noise(length / SAMPLING_RATE, seed) for seed, length in enumerate(lengths)]
    clips = [clip if len(clip) else np.zeros(1, np.float32) for clip in clips]
    with torch.inference_mode():
        batch = model(**extractor(clips)).logits
        alone = torch.cat([model(**extractor(clip)).logits for clip in clips])
    assert batch.isfinite().all()
    torch.testing.assert_close(batch, alone, atol=1e-5, rtol=0)


def test_with_a_duration_every_clip_has_the_same_shape_and_the_mask_says_what_is_sound():
    extractor = SpectrogramFeatureExtractor(
        feature_rate=22_050, num_mel_bins=128, n_fft=2048, hop_length=520, duration_seconds=3.0, trim_top_db=None
    )
    batch = extractor([noise(1.5), noise(5.0)])
    assert batch.input_features.shape == (2, 128, 128)
    assert batch.attention_mask.sum(1).tolist() == [64, 128]


@pytest.mark.parametrize(("cut", "expected"), [("start", (0, 32_000)), ("centre", (16_000, 48_000))])
def test_a_longer_clip_is_cut_where_the_configuration_says(cut, expected):
    extractor = SpectrogramFeatureExtractor(duration_seconds=2.0, cut=cut, trim_top_db=None)
    clip = noise(4.0)
    assert extractor.trim_bounds(clip) == expected
    torch.testing.assert_close(extractor.features(clip), extractor.features(clip[slice(*expected)]))


def test_the_six_families_are_librosa_s(monkeypatch):
    from ser_hf.modeling import feature_extraction_spectrogram as module

    monkeypatch.setattr(module, "MAX_FREQUENCY", 11_025.0)
    module._mel_filters.cache_clear()
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(2 * SAMPLING_RATE) / SAMPLING_RATE).astype(np.float32)
    clip, fft, hop = (tone + noise(2.0))[: 2 * SAMPLING_RATE], 2048, 512
    extractor = SpectrogramFeatureExtractor(
        "stacked", feature_rate=16_000, num_mel_bins=128, n_fft=fft, hop_length=hop, trim_top_db=None
    )
    ours = extractor.spectrogram(clip).T.numpy()
    module._mel_filters.cache_clear()
    magnitude = np.abs(librosa.stft(clip, n_fft=fft, hop_length=hop))
    log_mel = librosa.power_to_db(librosa.feature.melspectrogram(S=magnitude**2, sr=16_000, n_mels=128))
    mfcc = librosa.feature.mfcc(S=log_mel, n_mfcc=40)
    chroma = librosa.feature.chroma_stft(S=magnitude**2, sr=16_000, tuning=0)
    theirs = {
        "mfcc": mfcc,
        "delta": librosa.feature.delta(mfcc, mode="nearest"),
        "chroma": chroma,
        "log_mel": log_mel,
        "contrast": librosa.feature.spectral_contrast(S=magnitude, sr=16_000, fmin=200, n_bands=5),
        "tonnetz": librosa.feature.tonnetz(chroma=chroma, sr=16_000),
    }
    start = 0
    for family, expected in theirs.items():
        # At 16 kHz librosa refuses the sixth octave above 200 Hz, and lets the fifth reach to the end.
        rows = expected if family != "contrast" else expected[:5]
        np.testing.assert_allclose(ours[start : start + len(rows)], rows, atol=2e-2, err_msg=family)
        start += 7 if family == "contrast" else len(rows)
    assert start == len(ours) == 233


@pytest.mark.parametrize(("config", "expected"), [
    ({"body": "transformer"}, "no body 'transformer'.*stacked_lstm"),
    ({"frontend": "wavelet"}, "no front end 'wavelet'.*mfcc"),
    ({"frontend": "mfcc"}, "'mfcc' does not fit the body 'cnn'"),
    ({"frontend": "stacked", "body": "cnn_bilstm_attention"}, "does not fit"),
    ({"channels": [4] * 8}, "blocks"),
    ({"body": "stacked_lstm", "lstm_sizes": [8]}, "two layers"),
    ({"body": "lstm", "lstm_sizes": [8, 8]}, "one LSTM layer"),
    ({"calibration_temperature": 0.0}, "positive"),
])  # fmt: skip
def test_a_configuration_that_does_not_fit_says_what_would(config, expected):
    with pytest.raises(ValueError, match=expected):
        SpectrogramConfig(**config)


@pytest.mark.parametrize(("options", "expected"), [
    ({"frontend": "wavelet"}, "choose one of"), ({"cut": "end"}, "choose 'start'"),
    ({"frontend": "mfcc", "num_mel_bins": 20}, "choose as many or fewer"), ({"duration_seconds": 0.01}, "choose 0.5"),
])  # fmt: skip
def test_a_feature_extractor_that_cannot_be_says_what_could(options, expected):
    with pytest.raises(ValueError, match=expected):
        SpectrogramFeatureExtractor(**options)


def test_normalised_training_clips_have_mean_0_and_deviation_1_and_a_still_feature_stays_finite():
    extractor = SpectrogramFeatureExtractor("mfcc", num_mel_bins=32, num_mfcc=13)
    clips = [extractor.spectrogram(noise(1.0, seed)) for seed in range(3)]
    clips = [torch.cat([clip[:, :-1], torch.full((len(clip), 1), 7.0)], dim=1) for clip in clips]
    extractor.fit_normalization(clips)
    frames = torch.cat([extractor.normalize(clip) for clip in clips])
    torch.testing.assert_close(frames.mean(0), torch.zeros(13), atol=1e-3, rtol=0)
    torch.testing.assert_close(frames[:, :-1].std(0), torch.ones(12), atol=1e-2, rtol=0)
    assert frames[:, -1].abs().max() < 1e-3


@pytest.mark.parametrize(("frontend", "body"), FITTING)
def test_every_weight_is_trained_also_by_a_batch_of_one(frontend, body):
    model, extractor = tiny_system(frontend, body)
    model.train()(**extractor(noise(1.0)), labels=torch.tensor([1])).loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_temperature_divides_the_logits_outside_training_only():
    model, extractor = tiny_system("mfcc", "lstm", options={"head_dropout": 0.0, "body_dropout": 0.0})
    inputs = extractor(noise(0.6))
    with torch.inference_mode():
        plain = model(**inputs).logits
        model.config.calibration_temperature = 2.0
        torch.testing.assert_close(model(**inputs).logits, plain / 2)
        torch.testing.assert_close(model.train()(**inputs).logits, plain)


@pytest.mark.parametrize(("frontend", "body"), FITTING)
def test_saved_and_loaded_by_the_auto_classes_it_is_the_same_model(frontend, body, tmp_path, speech):
    model, extractor = tiny_system(frontend, body, duration_seconds=2.0, feature_rate=22_050)
    save_checkpoint(model, extractor, tmp_path, half=False)
    loaded, loading = AutoModelForAudioClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not loading["missing_keys"] and not loading["unexpected_keys"]
    assert type(AutoConfig.from_pretrained(tmp_path)) is SpectrogramConfig
    again = AutoFeatureExtractor.from_pretrained(tmp_path)
    assert again.to_dict() == extractor.to_dict()
    with torch.inference_mode():
        torch.testing.assert_close(loaded.eval()(**again(speech)).logits, model(**extractor(speech)).logits)
    assert {path.name for path in tmp_path.iterdir()} >= {
        "model.safetensors", "configuration_spectrogram.py", "feature_extraction_spectrogram.py",
        "feature_extraction_ser.py", "modeling_spectrogram.py",
    }  # fmt: skip
    assert not list(tmp_path.glob("*.bin"))


def test_a_checkpoint_of_half_the_size_keeps_its_whole_numbers_and_computes_in_float32(tmp_path, speech):
    model, extractor = tiny_system()
    model.train()(**extractor([speech, speech]))  # counts a batch
    model.eval()
    save_checkpoint(model, extractor, tmp_path)
    loaded = EmotionClassifier.from_pretrained(tmp_path, device="cpu")
    assert loaded.model.dtype == torch.float32
    counted = [v for name, v in loaded.model.state_dict().items() if name.endswith("num_batches_tracked")]
    assert counted and all(v.dtype == torch.int64 and v == 1 for v in counted)
    expected = EmotionClassifier(model, extractor, device="cpu").predict((speech, SAMPLING_RATE)).scores
    assert loaded.predict((speech, SAMPLING_RATE)).scores == pytest.approx(expected, abs=5e-3)


PIPELINE_SCRIPT = """
import json, sys
import numpy
sys.path = [entry for entry in sys.path if entry]
for absent in ("ser_hf", "librosa", "soxr"):
    sys.modules[absent] = None  # not there: an import of it fails
from transformers import pipeline
clips = [{"array": numpy.load(path), "sampling_rate": 16000} for path in sys.argv[1].split(",")]
for model in sys.argv[2:]:
    pipe = pipeline("audio-classification", model=model, trust_remote_code=True, top_k=None)
    alone = [pipe(clip.copy()) for clip in clips]
    print(json.dumps([alone, pipe([clip.copy() for clip in clips], batch_size=len(clips))]))
"""


def test_a_bare_pipeline_elsewhere_gives_the_same_scores_for_a_clip_and_for_a_batch(speech, tmp_path):
    systems = [("log_mel", "cnn", None), ("log_mel", "cnn_bilstm_attention", 2.0), ("stacked", "stacked_lstm", None)]
    clips = [speech, speech[:SAMPLING_RATE], np.concatenate([speech, speech])]
    files = [tmp_path / f"{number}.npy" for number in range(len(clips))]
    for file, clip in zip(files, clips, strict=True):
        np.save(file, clip)
    folders = []
    for frontend, body, duration in systems:
        folders.append(tmp_path / f"{frontend}-{body}")
        save_checkpoint(
            *tiny_system(frontend, body, duration_seconds=duration, feature_rate=22_050, n_fft=1024), folders[-1]
        )
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment["HF_MODULES_CACHE"] = str(tmp_path / "modules")
    command = [sys.executable, "-c", PIPELINE_SCRIPT, ",".join(map(str, files)), *map(str, folders)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for folder, line in zip(folders, done.stdout.splitlines()[-len(folders) :], strict=True):
        classifier = EmotionClassifier.from_pretrained(folder, device="cpu")
        for clip, *answers in zip(clips, *json.loads(line), strict=True):
            expected = classifier.predict((clip, SAMPLING_RATE))
            assert (expected.attention is not None) == ("attention" in folder.name)
            for answer in answers:
                assert {row["label"]: row["score"] for row in answer} == pytest.approx(expected.scores, abs=1e-4)
