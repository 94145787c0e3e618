"""From a corpus to batches: decoded and trimmed once, cached in Arrow, augmented anew in every epoch."""

import logging
from collections.abc import Sequence

import datasets
import numpy as np
import torch
from torch.utils.data import Dataset, Sampler
from transformers import TrainerCallback
from transformers.trainer_pt_utils import get_length_grouped_indices

from ..audio import SAMPLING_RATE, load_audio
from ..errors import AudioError, DatasetError
from .arguments import AugmentationArguments
from .augmentation import augment, mask_spectrogram

logger = logging.getLogger(__name__)
INT16_SCALE = 32_767


def cache_waveforms(dataset: datasets.Dataset, extractor) -> datasets.Dataset:
    """Adds `waveform` (int16 at 16 kHz, trimmed as `extractor` trims) and `length` (samples) to a corpus.

    The result is memory-mapped Arrow: an epoch decodes nothing. Levels are set later, after augmentation.

    Raises:
        DatasetError: a clip cannot be used, by name.
    """

    def decode(row: dict) -> dict:
        try:
            waveform = load_audio(row["audio"])
        except AudioError as error:
            raise DatasetError(f"A clip of the data set cannot be used. {error}") from error
        start, end = extractor.trim_bounds(waveform)
        samples = np.round(waveform[start:end].clip(-1, 1) * INT16_SCALE).astype(np.int16)
        return {"waveform": samples, "length": len(samples)}

    trimming = (extractor.trim_top_db, extractor.trim_margin_seconds, extractor.max_seconds)
    features = datasets.Features(
        {**dataset.features, "waveform": datasets.Sequence(datasets.Value("int16")), "length": datasets.Value("int64")}
    )
    fingerprint = datasets.fingerprint.Hasher.hash((dataset._fingerprint, trimming, SAMPLING_RATE))
    return dataset.map(decode, features=features, new_fingerprint=fingerprint, desc="Decoding and trimming")


class SpeechDataset(Dataset):
    """Rows of a cached corpus as model inputs; with `augmentation`, different in every epoch and equal in every run.

    What a clip looks like depends on (seed, epoch, row) alone: neither the number of workers nor a resumed run
    changes it. An item is {"features": (frames, mels) or (samples,), "labels": int}.
    """

    def __init__(
        self,
        dataset: datasets.Dataset,
        rows: Sequence[int],
        extractor,
        augmentation: AugmentationArguments | None = None,
        seed: int = 0,
    ):
        self.dataset = dataset.select_columns(["waveform", "label"]).with_format("numpy")
        self.rows = list(rows)
        self.lengths = [dataset["length"][row] for row in self.rows]
        self.labels = np.array([dataset["label"][row] for row in self.rows])
        self.extractor = extractor
        self.augmentation = augmentation
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, item: int) -> dict:
        row = self.dataset[self.rows[item]]
        waveform = row["waveform"].astype(np.float32) / INT16_SCALE
        if self.augmentation is None:
            return {"features": self.extractor.features(waveform, trim=False), "labels": int(row["label"])}
        rng = np.random.default_rng((self.seed, self.epoch, self.rows[item]))
        features = self.extractor.features(augment(waveform, self.augmentation, rng), trim=False)
        if features.ndim == 2:  # the wav2vec2 family masks its hidden frames itself, see mask_time_prob
            features = mask_spectrogram(features, self.augmentation, rng)
        return {"features": features, "labels": int(row["label"])}


class Collator:
    """Items of a SpeechDataset → one padded batch with its attention mask and labels."""

    def __init__(self, extractor):
        self.extractor = extractor

    def __call__(self, items: list[dict]) -> dict[str, torch.Tensor]:
        batch = self.extractor.collate([item["features"] for item in items])
        return {**batch, "labels": torch.tensor([item["labels"] for item in items])}


class LengthGroupedSampler(Sampler):
    """Random batches of clips of similar length; the order depends on (seed, epoch) alone."""

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int):
        self.lengths, self.batch_size, self.seed, self.epoch = list(lengths), batch_size, seed, 0

    def __len__(self) -> int:
        return len(self.lengths)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self):
        generator = torch.Generator().manual_seed(self.seed * 100_003 + self.epoch)
        return iter(get_length_grouped_indices(self.lengths, self.batch_size, generator=generator))


class EpochCallback(TrainerCallback):
    """Tells the training set which epoch it is, also after a resume."""

    def __init__(self, dataset: SpeechDataset):
        self.dataset = dataset

    def on_epoch_begin(self, args, state, control, **kwargs):
        self.dataset.epoch = round(state.epoch or 0)
