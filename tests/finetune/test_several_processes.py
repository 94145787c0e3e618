"""Training on two processes: as on one, also after one was killed; and memory that a large set does not fill."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers

from conftest import tiny_encoder_config
from ser_hf.training.arguments import parse_arguments
from ser_hf.training.data import EvenSampler
from ser_hf.training.fine_tuning import fine_tune

REPOSITORY = Path(__file__).parents[2]
SCRIPT = REPOSITORY / "finetune" / "train.py"
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
GLOBAL_BATCH = 8
CLIPS = 45  # no multiple of the global batch: the last step of an epoch has five clips for both processes
CHANGES_OFF = [
    "--head_dropout", "0", "--noise_probability", "0", "--gain_db", "0", "--speed_probability", "0", "--crop_fraction",
    "0", "--reverberation_probability", "0", "--band_probability", "0", "--time_masks", "0", "--frequency_masks", "0",
]  # fmt: skip


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("encoders") / "whisper"
    torch.manual_seed(0)
    config = transformers.WhisperConfig(**tiny_encoder_config("whisper"))
    transformers.WhisperForConditionalGeneration(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def arguments(corpus_dir, encoder):
    """(output folder, processes) → what train.py is given, for the same optimisation with any number of processes."""

    def make(output: Path, processes: int) -> list[str]:
        return [
            str(REPOSITORY / "configs" / "whisper_base.yaml"), "--model_name_or_path", str(encoder),
            "--data_dir", str(corpus_dir), "--output_dir", str(output), "--protocol", "speaker", "--num_folds", "3",
            "--validation_speakers", "1", "--max_train_clips", str(CLIPS), "--num_encoder_layers", "2",
            "--num_frozen_layers", "1", "--num_views", "0", "--num_heads", "2", "--refit", "false",
            "--num_train_epochs", "3", "--learning_rate", "1e-3", "--train_sampling_strategy", "random",
            "--per_device_train_batch_size", str(GLOBAL_BATCH // 2 // processes), "--gradient_accumulation_steps", "2",
            "--gradient_checkpointing", "true", "--class_weights", "true", "--logging_strategy", "steps",
            "--logging_steps", "1", "--save_total_limit", "3", "--disable_tqdm", "true", *CHANGES_OFF,
        ]  # fmt: skip

    return make


@pytest.fixture(scope="module")
def environment(cache_of_the_tests) -> dict[str, str]:
    return {**os.environ, "HF_DATASETS_CACHE": str(cache_of_the_tests)}


@pytest.fixture(scope="module")
def two_processes(arguments, environment, tmp_path_factory) -> Path:
    """The folder of a run on two processes that nobody disturbed."""
    output = tmp_path_factory.mktemp("runs") / "two"
    command = [*TORCHRUN, str(SCRIPT), *arguments(output, 2)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("unseen speakers, 3 folds") == 1  # one process reports
    return output


def metrics_of(run: Path) -> dict:
    return json.loads((run / "metrics.json").read_text(encoding="utf-8"))


def losses_of(run: Path) -> list[float]:
    checkpoint = max(run.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    history = json.loads((checkpoint / "trainer_state.json").read_text())["log_history"]
    return [entry[name] for entry in history for name in ("loss", "eval_loss") if name in entry]


@pytest.mark.slow
def test_two_processes_reach_the_loss_curve_of_one(two_processes, arguments, tmp_path):
    one = fine_tune(*parse_arguments([*arguments(tmp_path / "one", 1), "--use_cpu", "true"]))
    two = metrics_of(two_processes)
    assert (one["processes"], two["processes"]) == (1, 2)
    curve = losses_of(tmp_path / "one")
    assert len(curve) == 3 * (-(-CLIPS // GLOBAL_BATCH) + 1)  # every step, and validation after every epoch
    assert losses_of(two_processes) == pytest.approx(curve, abs=1e-3)
    assert min(curve) < curve[0] - 0.1  # a curve, not a line
    assert two["train_clips"] == CLIPS
    assert two["temperature"] == pytest.approx(one["temperature"], abs=1e-3)


@pytest.mark.slow
def test_a_run_goes_on_after_one_of_two_processes_was_killed(two_processes, arguments, environment, tmp_path):
    killed = tmp_path / "killed.py"
    killed.write_text(f"""
import os, runpy, signal, sys
sys.path.insert(0, {str(SCRIPT.parent)!r})
from ser_hf.training.data import EpochCallback

def on_epoch_end(self, args, state, control, **kwargs):
    if args.process_index == 1 and round(state.epoch) == 2:  # before the second epoch is saved
        os.kill(os.getpid(), signal.SIGKILL)

EpochCallback.on_epoch_end = on_epoch_end
runpy.run_path({str(SCRIPT)!r}, run_name="__main__")
""")
    output = tmp_path / "run"
    options = {"env": environment, "capture_output": True, "text": True, "check": False}
    done = subprocess.run([*TORCHRUN, str(killed), *arguments(output, 2)], **options)
    assert done.returncode != 0  # the run fails as a whole
    assert not (output / "metrics.json").exists()
    (left,) = output.glob("checkpoint-*")
    (output / "checkpoint-999").mkdir()  # as if it had been killed while it saved
    done = subprocess.run(
        [*TORCHRUN, str(SCRIPT), *arguments(output, 2), "--resume_from_checkpoint", "last"], **options
    )
    assert done.returncode == 0, done.stderr
    resumed, whole = metrics_of(output), metrics_of(two_processes)
    assert left.name == "checkpoint-6" and resumed["processes"] == 2
    assert resumed["test"] == whole["test"] and resumed["validation"] == whole["validation"]
    assert (output / "predictions.csv").read_text() == (two_processes / "predictions.csv").read_text()


@pytest.mark.parametrize(("clips", "batch"), [(45, 8), (48, 8), (3, 8)])
def test_no_clip_counts_twice_in_an_epoch(clips, batch):
    sampler = EvenSampler(torch.utils.data.SequentialSampler(range(clips)), batch)
    order = list(sampler)
    assert len(order) == len(sampler) and len(order) % batch == 0
    assert [item for item in order if item is not None] == list(range(clips))


EPOCH = """
import resource, sys
import datasets, numpy as np, pyarrow as pa
from ser_hf.modeling import SerFeatureExtractor
from ser_hf.training.data import SpeechDataset

samples = np.arange(20 * 16_000).astype(np.int16)
waveform = pa.ListArray.from_arrays([0, len(samples)], samples)
clip = pa.table({"waveform": waveform, "length": [len(samples)], "label": [0]})
with pa.ipc.new_stream(sys.argv[2], clip.schema) as file:
    for _ in range(int(sys.argv[1])):
        file.write_table(clip)
cached = datasets.Dataset.from_file(sys.argv[2])
train_set = SpeechDataset(cached, range(len(cached)), SerFeatureExtractor(feature_type="waveform"))
heard = sum(len(train_set[item]["features"]) for item in range(len(train_set)))
print(heard, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_an_epoch_of_ten_times_the_clips_takes_no_more_memory(tmp_path):
    """The larger set, of 700 clips, is 450 MB: with all of it in memory the process would be half as large again."""
    peaks = {}
    for clips in (70, 700):
        command = [sys.executable, "-c", EPOCH, str(clips), str(tmp_path / f"{clips}.arrow")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        heard, peaks[clips] = map(int, done.stdout.split())
        assert heard == clips * 20 * 16_000
    assert peaks[700] < 1.2 * peaks[70]
