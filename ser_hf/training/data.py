"""From a corpus to batches: decoded and trimmed once, cached in Arrow, augmented anew in every epoch."""

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

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
    if getattr(extractor, "duration_seconds", None):
        trimming += (extractor.duration_seconds, extractor.cut)
    features = datasets.Features(
        {**dataset.features, "waveform": datasets.Sequence(datasets.Value("int16")), "length": datasets.Value("int64")}
    )
    # The corpus's fingerprint knows the names of its files; a file that was replaced has another time.
    paths = [Path(clip["path"]) for clip in dataset["audio"] if clip["path"]]
    times = [path.stat().st_mtime_ns for path in paths if path.is_file()]
    fingerprint = datasets.fingerprint.Hasher.hash((dataset._fingerprint, times, trimming, SAMPLING_RATE))
    return dataset.map(
        decode,
        features=features,
        new_fingerprint=fingerprint,
        cache_file_name=_cache_file("waveforms", fingerprint),
        desc="Decoding and trimming",
    )


class SpectrogramViews:
    """Every clip's spectrogram as it is (view 0) and `num_views` times augmented, computed once for all folds.

    Memory-mapped Arrow of 16 bits a number. Not normalised: the statistics are those of a fold's training clips.
    """

    def __init__(
        self, cached: datasets.Dataset, extractor, augmentation: AugmentationArguments, num_views: int, seed: int
    ):
        self.num_views, self.feature_size = num_views, extractor.feature_size

        def compute(batch: dict, rows: list[int]) -> dict:
            views = []
            for samples, row in zip(batch["waveform"], rows, strict=True):
                waveform = np.asarray(samples, dtype=np.float32) / INT16_SCALE
                for view in range(num_views + 1):
                    rng = np.random.default_rng((seed, view, row))
                    take = augment(waveform, augmentation, rng) if view else waveform
                    views.append(extractor.spectrogram(take, trim=False).numpy().astype(np.float16).ravel())
            return {"spectrogram": views}

        statistics = ("feature_mean", "feature_deviation")
        front_end = {name: value for name, value in extractor.to_dict().items() if name not in statistics}
        changes = {name: value for name, value in asdict(augmentation).items() if "mask" not in name}
        fingerprint = datasets.fingerprint.Hasher.hash((cached._fingerprint, front_end, changes, num_views, seed))
        self.views = cached.map(
            compute,
            batched=True,
            batch_size=32,
            with_indices=True,
            remove_columns=cached.column_names,
            features=datasets.Features({"spectrogram": datasets.Sequence(datasets.Value("float16"))}),
            new_fingerprint=fingerprint,
            cache_file_name=_cache_file("spectrograms", fingerprint),
            desc="Computing features",
        ).with_format("numpy")

    def get(self, row: int, view: int) -> torch.Tensor:
        """(frames, features) float32 of one view of a clip."""
        flat = self.views[row * (self.num_views + 1) + view]["spectrogram"]
        return torch.from_numpy(flat.astype(np.float32)).view(-1, self.feature_size)


def _cache_file(kind: str, fingerprint: str) -> str:
    """Where a cache of this content lies: without a name `datasets` holds it in memory, for this process alone."""
    folder = Path(datasets.config.HF_DATASETS_CACHE) / "ser_hf"
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder / f"{kind}-{fingerprint}.arrow")


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
        views: SpectrogramViews | None = None,
    ):
        self.dataset = dataset.select_columns(["waveform"]).with_format("numpy")
        self.rows = list(rows)
        self.lengths = [dataset["length"][row] for row in self.rows]
        self.labels = np.array([dataset["label"][row] for row in self.rows])
        self.extractor = extractor
        self.augmentation = augmentation
        self.seed = seed
        self.views = views
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, item: int) -> dict:
        row, label = self.rows[item], int(self.labels[item])
        if self.augmentation is None:
            return {"features": self._features(row), "labels": label}
        rng = np.random.default_rng((self.seed, self.epoch, row))
        changed = masked = True
        if self.augmentation.waveform_or_mask:
            changed = rng.random() < 0.5
            masked = not changed
        changed = changed and self.augmentation.changes_waveform
        features = self._features(row, rng if changed else None)
        if features.ndim == 2 and masked:  # the wav2vec2 family masks its hidden frames itself, see mask_time_prob
            features = mask_spectrogram(features, self.augmentation, rng)
        return {"features": features, "labels": label}

    def _features(self, row: int, rng: np.random.Generator | None = None) -> torch.Tensor:
        """The model's input for a row of the corpus; with `rng`, of an augmented take on it."""
        if self.views is not None and (rng is None or self.views.num_views):
            view = 0 if rng is None else int(rng.integers(1, self.views.num_views + 1))
            return self.extractor.normalize(self.views.get(row, view))
        waveform = self.dataset[row]["waveform"].astype(np.float32) / INT16_SCALE
        if rng is not None:
            waveform = augment(waveform, self.augmentation, rng)
        return self.extractor.features(waveform, trim=False)


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
