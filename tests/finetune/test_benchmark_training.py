"""finetune/benchmark_training.py: what kept states save, measured in turns, and what it says without any."""

import json
import subprocess
import sys
from pathlib import Path

import transformers

from conftest import tiny_encoder_config

REPOSITORY = Path(__file__).parents[2]


def run(corpus_dir: Path, folder: Path, *options: str) -> subprocess.CompletedProcess:
    config = transformers.WhisperConfig(**tiny_encoder_config("whisper"))
    transformers.WhisperForConditionalGeneration(config).save_pretrained(folder / "encoder")
    command = [
        sys.executable, str(REPOSITORY / "finetune" / "benchmark_training.py"),
        str(REPOSITORY / "configs" / "whisper_base.yaml"), "--data_dir", str(corpus_dir), "--model_name_or_path",
        str(folder / "encoder"), "--num_encoder_layers", "2", "--num_frozen_layers", "2", "--protocol", "speaker",
        "--num_folds", "3", "--validation_speakers", "1", "--clips", "8", "--epochs", "1", "--use_cpu",
        "true", *options,
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_both_ways_are_measured_and_the_ratio_is_theirs(corpus_dir, tmp_path):
    done = run(corpus_dir, tmp_path, "--num_views", "1", "--json", str(tmp_path / "out.json"))
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "out.json").read_text())
    seconds = [result[name]["epoch_seconds"] for name in ("plain", "kept states")]
    assert result["ratio"] == seconds[0] / seconds[1] > 0
    assert f"{result['ratio']:.2f} x as fast" in done.stdout


def test_a_configuration_that_keeps_nothing_is_refused_in_a_sentence(corpus_dir, tmp_path):
    done = run(corpus_dir, tmp_path, "--num_views", "0")
    assert done.returncode == 1 and "--num_views 8" in done.stderr and "Traceback" not in done.stderr
