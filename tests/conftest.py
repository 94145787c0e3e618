"""Tiny random models of the real classes, synthesised speech, and the data that may or may not be there."""

import os
import shutil
import subprocess
from pathlib import Path

# Tiny models gain nothing from more threads; on a busy machine waiting for them takes longer than the work. Set before
# torch is imported, and passed on to the programs that the tests start (the benchmark sets its own number).
os.environ.setdefault("OMP_NUM_THREADS", "1")

import datasets
import numpy as np
import pytest
import soundfile

from ser_hf.audio import SAMPLING_RATE, load_audio
from ser_hf.labels import EMOTIONS
from ser_hf.modeling import SerConfig, SerFeatureExtractor, SerForAudioClassification

os.environ.setdefault("HF_HUB_OFFLINE", "1")

FAMILIES = ("whisper", "wav2vec2", "hubert", "wavlm", "hubert-layer-norm")
CORPUS_ACTORS = (1, 2, 3, 4, 5, 6)
SHARED_SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def tiny_encoder_config(family: str) -> dict:
    """A tiny configuration of a real encoder; the -layer-norm variant is what the *large* models use."""
    if family == "whisper":
        return {
            "model_type": "whisper", "d_model": 16, "encoder_layers": 2, "encoder_attention_heads": 2,
            "encoder_ffn_dim": 32, "decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 32,
            "num_mel_bins": 80, "max_source_positions": 1500, "vocab_size": 32, "pad_token_id": 0,
            "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1,
        }  # fmt: skip
    variant = {"feat_extract_norm": "layer", "do_stable_layer_norm": True} if family.endswith("-layer-norm") else {}
    return {
        "model_type": family.removesuffix("-layer-norm"), **SHARED_SIZES, **variant, "conv_dim": [16] * 7,
        "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2, "vocab_size": 32,
    }  # fmt: skip


@pytest.fixture
def tiny_model():
    """family → (random model in eval mode, its feature extractor)."""
    import torch

    def make(family: str = "whisper", **options) -> tuple[SerForAudioClassification, SerFeatureExtractor]:
        torch.manual_seed(0)
        labels = dict(enumerate(EMOTIONS))
        config = SerConfig(
            encoder_config=tiny_encoder_config(family), id2label=labels,
            label2id={name: number for number, name in labels.items()}, **options,
        )  # fmt: skip
        extractor = SerFeatureExtractor(feature_type="log_mel" if family == "whisper" else "waveform")
        return SerForAudioClassification(config).eval(), extractor

    return make


@pytest.fixture(scope="session")
def speech() -> np.ndarray:
    """(samples,) float32 at 16 kHz: a spoken sentence with half a second of silence at each end."""
    silence = np.zeros(SAMPLING_RATE // 2, dtype=np.float32)
    return np.concatenate([silence, spoken("Kids are talking by the door"), silence])


def spoken(sentence: str, voice: str = "en", pitch: int = 50, speed: int = 160) -> np.ndarray:
    """(samples,) float32 at 16 kHz from espeak-ng; a hummed stand-in with the rhythm of speech where it is missing."""
    if shutil.which("espeak-ng"):
        command = ["espeak-ng", "-v", voice, "-p", str(pitch), "-s", str(speed), "--stdout", sentence]
        return load_audio(subprocess.run(command, check=True, capture_output=True).stdout)
    time = np.arange(int(SAMPLING_RATE * 0.06 * len(sentence))) / SAMPLING_RATE
    tone = sum(np.sin(2 * np.pi * (80 + 2 * pitch) * k * time) / k for k in range(1, 12))
    return (0.2 * tone * np.abs(np.sin(2 * np.pi * speed / 60 * time))).astype(np.float32)


def write_clip(
    path: Path, sound: int | None = None, seconds: float = 0.25, rate: int = SAMPLING_RATE, kind: str | None = None
) -> Path:
    """A short noise; each path has its own, unless `sound` names one. `kind`: "MP3" …, whatever the suffix says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = sound if sound is not None else int.from_bytes(str(path).encode(), "little")
    noise = np.random.default_rng(seed).integers(-16_000, 16_000, round(seconds * rate), dtype=np.int16)
    soundfile.write(path, noise, rate, format=kind)
    return path


@pytest.fixture(scope="session")
def speech_file(speech, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("speech") / "clip.wav"
    soundfile.write(path, speech, SAMPLING_RATE)
    return path


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with one folder per real corpus."""
    folder = Path(os.environ.get("SER_DATA_DIR", ""))
    if not os.environ.get("SER_DATA_DIR") or not (folder / "ravdess").is_dir():
        pytest.skip("SER_DATA_DIR is not set to a folder that holds ravdess/")
    return folder


@pytest.fixture(scope="session")
def weights_dir() -> Path:
    """The folder with one folder per pretrained encoder."""
    folder = Path(os.environ.get("SER_WEIGHTS_DIR", ""))
    if not os.environ.get("SER_WEIGHTS_DIR") or not (folder / "whisper-base-encoder").is_dir():
        pytest.skip("SER_WEIGHTS_DIR is not set to a folder that holds whisper-base-encoder/")
    return folder


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_tests(tmp_path_factory):
    """What training caches does not outlive the tests."""
    folder, before = tmp_path_factory.mktemp("cache"), datasets.config.HF_DATASETS_CACHE
    datasets.config.HF_DATASETS_CACHE = folder
    yield folder
    datasets.config.HF_DATASETS_CACHE = before


@pytest.fixture(scope="session")
def corpus_dir(tmp_path_factory) -> Path:
    """Six actors, two clips of each of the eight emotions: every emotion is a tone of its own."""
    root = tmp_path_factory.mktemp("ravdess")
    rng = np.random.default_rng(0)
    time = np.arange(int(0.6 * SAMPLING_RATE)) / SAMPLING_RATE
    for actor in CORPUS_ACTORS:
        folder = root / "Audio_Speech_Actors_01-24" / f"Actor_{actor:02d}"
        folder.mkdir(parents=True)
        for emotion in range(1, 9):
            for repetition in (1, 2):
                pitch = 200 * emotion * (1 + 0.02 * rng.standard_normal())
                clip = 0.3 * np.sin(2 * np.pi * pitch * time) + 0.01 * rng.standard_normal(len(time))
                name = f"03-01-{emotion:02d}-01-01-{repetition:02d}-{actor:02d}.wav"
                soundfile.write(folder / name, clip, SAMPLING_RATE)
    return root


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A Hub on localhost that this process and the programs it starts know as the Hub, logged in as `someone`."""
    from hub.hub_server import serve
    from huggingface_hub import constants

    state, server = serve()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    for name, value in {"ENDPOINT": endpoint, "HF_HUB_OFFLINE": False, "HF_HUB_DISABLE_XET": True}.items():
        monkeypatch.setattr(constants, name, value)
    environment = {
        "HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": "hf_someone",
        "HF_HOME": str(tmp_path / "hf_home"),
    }  # fmt: skip
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    state.stop = server.shutdown
    yield state
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def published_files(tmp_path_factory) -> Path:
    """A tiny random checkpoint with everything that a training run leaves beside it."""
    import torch

    from ser_hf.classifier import EMBEDDED
    from ser_hf.reference import write_reference_scores
    from ser_hf.training.checkpoint import save_checkpoint

    folder = tmp_path_factory.mktemp("runs") / "tiny"
    folder.mkdir()
    torch.manual_seed(0)
    labels = dict(enumerate(EMOTIONS))
    config = SerConfig(
        encoder_config=tiny_encoder_config("whisper"), id2label=labels, label2id={n: i for i, n in labels.items()}
    )
    model, extractor = SerForAudioClassification(config).eval(), SerFeatureExtractor()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("classifier.weight"):
                weight.mul_(60)  # so that clips differ in their scores, as a trained model's do
    save_checkpoint(model, extractor, folder)
    write_reference_scores(folder, model, extractor)
    for name in ("README.md", "metrics.json", "curves.png", "confusion_matrix.png", "classification_report.txt"):
        shutil.copyfile(EMBEDDED / name, folder / name)
    return folder
