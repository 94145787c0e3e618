"""What can be set, one dataclass per concern. A YAML file and the command line set the same fields."""

import dataclasses
import difflib
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

import torch
import yaml
from transformers import HfArgumentParser, TrainingArguments

from ..classifier import EMBEDDED
from ..corpora.arguments import DatasetArguments
from ..errors import ModelError

VALIDATION_ACTORS = 4  # of the 20 training actors in each fold of RAVDESS


@dataclass
class SpectrogramArguments:
    """The classic systems: a front end's features and a small network of its own, no pretrained encoder."""

    frontend: str = field(default="log_mel", metadata={"help": "log_mel, mfcc, or stacked (six families)."})
    body: str = field(default="cnn", metadata={"help": "cnn, cnn_bilstm_attention, lstm or stacked_lstm."})
    feature_rate: int = field(default=16_000, metadata={"help": "Features are computed at this rate, Hz."})
    num_mel_bins: int = field(default=64, metadata={"help": "Bins of the log-mel spectrogram."})
    num_mfcc: int = field(default=40, metadata={"help": "Coefficients of the cepstrum."})
    n_fft: int = field(default=512, metadata={"help": "Window of the spectrum, samples at feature_rate."})
    hop_length: int = field(default=256, metadata={"help": "Step of the spectrum, samples at feature_rate."})
    duration_seconds: float | None = field(
        default=None, metadata={"help": "Clips are cut or padded to this; by default they keep their lengths."}
    )
    cut: str = field(default="start", metadata={"help": "What is kept of a longer clip: start or centre."})
    channels: list[int] = field(
        default_factory=lambda: [16, 32, 64, 128], metadata={"help": "Channels of the convolution blocks."}
    )
    lstm_sizes: list[int] = field(default_factory=lambda: [256], metadata={"help": "Width of each LSTM layer."})
    body_dropout: float = field(default=0.1, metadata={"help": "Dropout inside the body."})
    dense_size: int = field(default=128, metadata={"help": "Width of the layer before the classifier; 0: none."})
    init_output_bias: bool = field(
        default=False, metadata={"help": "Start the output bias at the class frequencies of the training clips."}
    )


@dataclass
class ModelArguments(SpectrogramArguments):
    system: str = field(
        default="ser", metadata={"help": "ser (a pretrained encoder) or ser-spectrogram (frontend and body)."}
    )
    model_name_or_path: str = field(
        default="openai/whisper-base",
        metadata={
            "help": "Pretrained encoder, or a checkpoint of ours to go on from: a Hub name, a folder, or 'embedded'. "
            "SER_WEIGHTS_DIR is searched first."
        },
    )
    revision: str = field(default="main", metadata={"help": "Branch, tag or commit of the Hub repository."})
    num_encoder_layers: int | None = field(default=None, metadata={"help": "Keep the first n layers; all by default."})
    first_pooled_layer: int = field(default=1, metadata={"help": "First hidden state of the weighted layer sum."})
    num_frozen_layers: int = field(default=0, metadata={"help": "The first k layers, and the stem, are not trained."})
    freeze_feature_encoder: bool = field(default=True, metadata={"help": "Do not train the convolutional front end."})
    pooling_dim: int = field(default=128, metadata={"help": "Width of the attention pooling's scoring layer."})
    head_dim: int = field(default=256, metadata={"help": "Width of the head's hidden layer; 0: a linear head."})
    head_dropout: float = field(default=0.3, metadata={"help": "Dropout before and inside the head."})
    num_heads: int = field(default=1, metadata={"help": "Heads whose probabilities are averaged."})
    trim_top_db: float | None = field(default=30.0, metadata={"help": "Ends this far below the peak are cut, dB."})
    level_db: float | None = field(default=None, metadata={"help": "Root mean square every clip is brought to, dBFS."})
    max_seconds: float = field(default=60.0, metadata={"help": "Longer clips are cut to this, after trimming."})


@dataclass
class DataArguments(DatasetArguments):
    protocol: str = field(
        default="emobox",
        metadata={"help": "emobox (RAVDESS; elsewhere it falls back to speaker), speaker, or random (leaky)."},
    )
    fold: int = field(default=1, metadata={"help": "Which fold of the protocol is the test set."})
    num_folds: int | None = field(default=None, metadata={"help": "How many folds (speaker, random)."})
    validation_speakers: int = field(
        default=VALIDATION_ACTORS,
        metadata={"help": "Training speakers held out to choose the epoch; by default a fifth of them."},
    )
    split_seed: int = field(default=0, metadata={"help": "Seed of the folds and of the validation speakers."})
    max_train_clips: int | None = field(default=None, metadata={"help": "Use this many clips only (for a quick try)."})


@dataclass
class AugmentationArguments:
    noise_probability: float = field(default=0.5, metadata={"help": "Chance of noise on a clip."})
    noise_snr_db: list[float] = field(default_factory=lambda: [8.0, 30.0], metadata={"help": "Range of its SNR, dB."})
    gain_db: float = field(default=8.0, metadata={"help": "Gain is drawn from ± this, dB."})
    speed: list[float] = field(
        default_factory=lambda: [0.85, 1.15], metadata={"help": "Range of the speed; pitch moves with it."}
    )
    speed_probability: float = field(default=0.8, metadata={"help": "Chance of a change of speed."})
    stretch: list[float] = field(
        default_factory=lambda: [0.9, 1.1], metadata={"help": "Range of the time stretch; pitch stays."}
    )
    stretch_probability: float = field(default=0.0, metadata={"help": "Chance of a time stretch."})
    formants: list[float] = field(
        default_factory=lambda: [0.88, 1.14], metadata={"help": "Range of the formants' factor; pitch and tempo stay."}
    )
    formant_probability: float = field(default=0.0, metadata={"help": "Chance of moved formants."})
    silence_seconds: float = field(default=0.0, metadata={"help": "With noise: up to this much of it at either end."})
    babble_share: float = field(default=0.0, metadata={"help": "Share of the noises that are many voices at once."})
    reverberation_probability: float = field(default=0.0, metadata={"help": "Chance of a room around a clip."})
    band_probability: float = field(default=0.0, metadata={"help": "Chance of a narrow band, as of a telephone."})
    crop_fraction: float = field(default=0.1, metadata={"help": "Up to this share of a clip is cut off its ends."})
    time_masks: int = field(default=2, metadata={"help": "SpecAugment: stretches of time set to the mean."})
    time_mask_fraction: float = field(default=0.1, metadata={"help": "SpecAugment: the longest, a share of a clip."})
    frequency_masks: int = field(default=2, metadata={"help": "SpecAugment: bands set to the mean."})
    frequency_mask_bins: int = field(default=12, metadata={"help": "SpecAugment: the widest, in mel bins."})
    waveform_or_mask: bool = field(
        default=False, metadata={"help": "Change a clip as a waveform or mask its spectrogram, never both."}
    )
    num_views: int = field(
        default=0,
        metadata={
            "help": "Takes on every clip computed once and drawn from; 0: new in every epoch. With an encoder, whose "
            "frozen layers' states are kept, they are drawn from together with the clip as it is."
        },
    )

    @property
    def changes_waveform(self) -> bool:
        chances = (
            self.noise_probability,
            self.speed_probability,
            self.stretch_probability,
            self.formant_probability,
            self.reverberation_probability,
            self.band_probability,
        )
        return any((*chances, self.gain_db, self.crop_fraction))


@dataclass
class SerTrainingArguments(TrainingArguments):
    """TrainingArguments of transformers, with what classification of emotions needs besides."""

    output_dir: str = field(default="runs/default", metadata={"help": "Where checkpoints, figures and the model go."})
    # The others wait while one process decodes the clips, and while it tests.
    ddp_timeout: int = field(default=86_400, metadata={"help": "How long processes wait for each other, seconds."})
    head_learning_rate: float | None = field(
        default=None, metadata={"help": "Learning rate of everything above the encoder; learning_rate by default."}
    )
    layer_decay: float = field(
        default=1.0, metadata={"help": "Each layer below the top one learns at this share of the one above it."}
    )
    class_weights: bool = field(default=False, metadata={"help": "Weigh the loss by inverse class frequency."})
    class_weight_factors: list[str] = field(
        default_factory=list, metadata={"help": "Times the class weights (which are 1 by default): surprised=1.5 …"}
    )
    refit: bool = field(
        default=False,
        metadata={"help": "After the choice by validation, train again with the validation speakers' clips as well."},
    )
    early_stopping_patience: int | None = field(
        default=None, metadata={"help": "Stop after this many epochs without a better validation UA."}
    )

    def __post_init__(self):
        # Without this, several processes on a machine without a GPU would each train alone, into the same folder.
        if int(os.environ.get("WORLD_SIZE", 1)) > 1 and not torch.accelerator.is_available():
            self.use_cpu = True
        super().__post_init__()


GROUPS = (ModelArguments, DataArguments, AugmentationArguments, SerTrainingArguments)


def parse_arguments(arguments: list[str] | None = None):
    """[CONFIG.yaml] [--field value …] → one instance of each group in GROUPS; the command line wins.

    Raises:
        ModelError: the configuration does not exist, is not YAML, or names a field that there is not.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    from_file: list[str] = []
    if arguments and not arguments[0].startswith("-"):
        from_file = read_config(Path(arguments.pop(0)))
    return HfArgumentParser(GROUPS).parse_args_into_dataclasses(from_file + arguments)


def read_config(path: Path) -> list[str]:
    """A YAML file of fields → the same as command-line arguments."""
    if not path.is_file():
        known = ", ".join(sorted(str(p) for p in path.parent.glob("*.yaml"))) or "none there"
        raise ModelError(f"There is no configuration {path}; in its folder: {known}.")
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise ModelError(f"{path} is not YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(settings, dict):
        raise ModelError(f"{path} holds a {type(settings).__name__}; lines of 'field: value' are expected.")
    known = {f.name for group in GROUPS for f in dataclasses.fields(group) if f.init}
    arguments = []
    for name, value in settings.items():
        if name not in known:
            close = difflib.get_close_matches(str(name), known, n=1)
            hint = f" Did you mean '{close[0]}'?" if close else ""
            raise ModelError(f"{path} sets '{name}', which is no field of this program.{hint}")
        if value is None or value == []:
            continue
        values = value if isinstance(value, list) else [value]
        arguments += [f"--{name}", *map(str, values)]
    return arguments


def find_encoder(name: str) -> str:
    """A folder, or a Hub name; with SER_WEIGHTS_DIR set, its folder of that name (or NAME-encoder)."""
    if name == "embedded":
        return str(EMBEDDED)
    if Path(name).is_dir() or not os.environ.get("SER_WEIGHTS_DIR"):
        return name
    for suffix in ("", "-encoder"):
        folder = Path(os.environ["SER_WEIGHTS_DIR"]) / (name.rsplit("/", 1)[-1] + suffix)
        if (folder / "config.json").is_file():
            return str(folder)
    return name
