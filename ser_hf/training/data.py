"""From a corpus to batches: decoded and trimmed once, cached in Arrow, augmented anew in every epoch."""

import hashlib
import logging
import mmap
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
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
IGNORED_LABEL = -100  # of torch's cross-entropy, and not counted by the Trainer
ROWS_WRITTEN = 32  # clips held in memory until they are written to Arrow
BYTES_MAPPED = 16 * 2**20  # read from a memory map before its pages are given back


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
        writer_batch_size=ROWS_WRITTEN,
        desc="Decoding and trimming",
    )


class MappedColumn:
    """A column of lists of numbers of a cached data set, memory-mapped; row → (numbers,) array.

    The pages of a memory map count as memory of the process that has read them, until someone else needs it. Here they
    are given back on the way, so that what training takes does not grow with the data set.
    """

    def __init__(self, cached: datasets.Dataset, name: str):
        (self.cache_file,) = (file["filename"] for file in cached.cache_files)
        self.name = name
        with open(self.cache_file, "rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._column = pa.ipc.open_stream(pa.py_buffer(self._map)).read_all()[name]
        self._bytes_read = 0

    def __len__(self) -> int:
        return len(self._column)

    def __getitem__(self, row: int) -> np.ndarray:
        numbers = self._column[row].values.to_numpy().copy()
        self._bytes_read += numbers.nbytes
        if self._bytes_read > BYTES_MAPPED and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)
            self._bytes_read = 0
        return numbers


class ClipViews:
    """Every clip's features as it is (view 0) and `num_views` times augmented, computed once for all folds and epochs.

    Memory-mapped Arrow of 16 bits a number. What a view looks like depends on (seed, view, row) alone.

    Args:
        compute: takes on clips, (samples,) each, and the augmentation's random generator of each (None for the clip
            as it is) → the features of each, (frames, feature_size).
        made_by: whatever else the features depend on; it names the cache together with the clips and the settings.
    """

    def __init__(
        self,
        cached: datasets.Dataset,
        compute: Callable[[list[np.ndarray], list[np.random.Generator | None]], list[torch.Tensor]],
        feature_size: int,
        augmentation: AugmentationArguments,
        num_views: int,
        seed: int,
        kind: str,
        made_by: object,
    ):
        self.num_views, self.feature_size = num_views, feature_size

        def views_of(batch: dict, rows: list[int]) -> dict:
            takes, generators = [], []
            for samples, row in zip(batch["waveform"], rows, strict=True):
                waveform = np.asarray(samples, dtype=np.float32) / INT16_SCALE
                for view in range(num_views + 1):
                    rng = np.random.default_rng((seed, view, row)) if view else None
                    takes.append(augment(waveform, augmentation, rng) if view else waveform)
                    generators.append(rng)
            return {"features": [item.to(torch.float16).numpy().ravel() for item in compute(takes, generators)]}

        fingerprint = datasets.fingerprint.Hasher.hash((cached._fingerprint, made_by, num_views, seed))
        views = cached.map(
            views_of,
            batched=True,
            batch_size=ROWS_WRITTEN,
            with_indices=True,
            remove_columns=cached.column_names,
            features=datasets.Features({"features": datasets.Sequence(datasets.Value("float16"))}),
            new_fingerprint=fingerprint,
            cache_file_name=_cache_file(kind, fingerprint),
            writer_batch_size=ROWS_WRITTEN,
            desc="Computing features",
        )
        self.views = MappedColumn(views, "features")

    def get(self, row: int, view: int) -> torch.Tensor:
        """(frames, features) float32 of one view of a clip."""
        flat = self.views[row * (self.num_views + 1) + view]
        return torch.from_numpy(flat.astype(np.float32)).view(-1, self.feature_size)

    def __getitem__(self, row: int) -> torch.Tensor:
        """(frames, features) float32 of a clip as it is."""
        return self.get(row, view=0)


class SpectrogramViews(ClipViews):
    """Views of spectrograms, not normalised: the statistics are those of a fold's training clips."""

    def __init__(
        self, cached: datasets.Dataset, extractor, augmentation: AugmentationArguments, num_views: int, seed: int
    ):
        def compute(takes, generators):
            return [extractor.spectrogram(take, trim=False) for take in takes]

        statistics = ("feature_mean", "feature_deviation")
        front_end = {name: value for name, value in extractor.to_dict().items() if name not in statistics}
        changes = {name: value for name, value in asdict(augmentation).items() if "mask" not in name}
        super().__init__(
            cached,
            compute,
            extractor.feature_size,
            augmentation,
            num_views,
            seed,
            kind="spectrograms",
            made_by=(front_end, changes),
        )


class EncoderViews(ClipViews):
    """Views of the states of an encoder's frozen layers, about half a megabyte for a clip of two seconds.

    The encoder runs once for each view of a clip, not once in every epoch of every fold.
    """

    def __init__(
        self,
        cached: datasets.Dataset,
        extractor,
        model,
        augmentation: AugmentationArguments,
        num_views: int,
        seed: int,
        bf16: bool = False,
        batch_size: int = 16,
    ):
        device = model.device

        @torch.inference_mode()
        def compute(takes, generators):
            features = [extractor.features(take, trim=False) for take in takes]
            if extractor.feature_type == "log_mel":
                features = [
                    item if rng is None else mask_spectrogram(item, augmentation, rng)
                    for item, rng in zip(features, generators, strict=True)
                ]
            states: list[torch.Tensor] = [torch.empty(0)] * len(features)
            order = sorted(range(len(features)), key=lambda item: len(features[item]))
            for start in range(0, len(order), batch_size):
                items = order[start : start + batch_size]
                batch = extractor.collate([features[item] for item in items])
                inputs = batch[extractor.model_input_names[0]].to(device)
                with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                    kept, frames = model.frozen_states(inputs, batch["attention_mask"].to(device))
                for item, state, length in zip(items, kept.cpu(), frames.sum(-1).tolist(), strict=True):
                    states[item] = state[:length]
            return states

        config = model.config
        states = config.num_frozen_layers - config.first_pooled_layer + 1
        model.eval()
        super().__init__(
            cached,
            compute,
            states * config.hidden_size,
            augmentation,
            num_views,
            seed,
            kind="encoder_states",
            made_by=(
                frozen_weights(model),
                extractor.to_dict(),
                asdict(augmentation),
                config.num_frozen_layers,
                config.first_pooled_layer,
                bf16,
            ),
        )


def frozen_weights(model) -> str:
    """A digest of the weights that are not trained: caches made by others do not fit."""
    digest = hashlib.sha256()
    for name, parameter in model.encoder.named_parameters():
        if not parameter.requires_grad:
            digest.update(name.encode())
            digest.update(parameter.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _cache_file(kind: str, fingerprint: str) -> str:
    """Where a cache of this content lies: without a name `datasets` holds it in memory, for this process alone."""
    folder = Path(datasets.config.HF_DATASETS_CACHE) / "ser_hf"
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder / f"{kind}-{fingerprint}.arrow")


class SpeechDataset(Dataset):
    """Rows of a cached corpus as model inputs; with `augmentation`, different in every epoch and equal in every run.

    What a clip looks like depends on (seed, epoch, row) alone: neither the number of workers nor a resumed run
    changes it. An item is {"features": (frames, mels) or (samples,), "labels": int}; with `EncoderViews` its features
    are (frames, states * hidden). Item None is any clip with a label that is ignored, see `EvenSampler`.
    """

    def __init__(
        self,
        dataset: datasets.Dataset,
        rows: Sequence[int],
        extractor,
        augmentation: AugmentationArguments | None = None,
        seed: int = 0,
        views: ClipViews | None = None,
    ):
        self.waveforms = MappedColumn(dataset, "waveform")
        self.rows = list(rows)
        columns = dataset.select_columns(["length", "label"]).with_format("numpy")[:]
        self.lengths = columns["length"][self.rows].tolist()
        self.labels = columns["label"][self.rows]
        self.extractor = extractor
        self.augmentation = augmentation
        self.seed = seed
        self.views = views
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, item: int | None) -> dict:
        if item is None:
            return {**self[0], "labels": IGNORED_LABEL}
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
        if isinstance(self.views, EncoderViews):
            return {"features": features, "labels": label}
        if features.ndim == 2 and masked:  # the wav2vec2 family masks its hidden frames itself, see mask_time_prob
            features = mask_spectrogram(features, self.augmentation, rng)
        return {"features": features, "labels": label}

    def _features(self, row: int, rng: np.random.Generator | None = None) -> torch.Tensor:
        """The model's input for a row of the corpus; with `rng`, of an augmented take on it."""
        if self.views is not None and (rng is None or self.views.num_views):
            of_encoder = isinstance(self.views, EncoderViews)
            # A spectrogram that is drawn can still be masked; kept states are as they are, so the clip itself is one.
            view = 0 if rng is None else int(rng.integers(0 if of_encoder else 1, self.views.num_views + 1))
            features = self.views.get(row, view)
            return features if of_encoder else self.extractor.normalize(features)
        waveform = self.waveforms[row].astype(np.float32) / INT16_SCALE
        if rng is not None:
            waveform = augment(waveform, self.augmentation, rng)
        return self.extractor.features(waveform, trim=False)


class Collator:
    """Items of a SpeechDataset → one padded batch with its attention mask and labels.

    Args:
        encoder_states: the items are states of an encoder's frozen layers, not inputs of the model.
    """

    def __init__(self, extractor, encoder_states: bool = False):
        self.extractor, self.encoder_states = extractor, encoder_states

    def __call__(self, items: list[dict]) -> dict[str, torch.Tensor]:
        batch = dict(self.extractor.collate([item["features"] for item in items]))
        if self.encoder_states:
            batch["encoder_states"] = batch.pop(self.extractor.model_input_names[0])
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


class EvenSampler(Sampler):
    """Another sampler's order, filled up with None to a multiple of `batch_size`, that of all processes together.

    accelerate would fill up with clips of the epoch's first batches, which would then count twice.
    """

    def __init__(self, sampler: Sampler, batch_size: int):
        self.sampler, self.batch_size = sampler, batch_size

    def __len__(self) -> int:
        return -(-len(self.sampler) // self.batch_size) * self.batch_size

    def set_epoch(self, epoch: int) -> None:
        self.sampler.set_epoch(epoch)

    def __iter__(self):
        yield from self.sampler
        yield from [None] * (len(self) - len(self.sampler))


class EpochCallback(TrainerCallback):
    """Tells the training set which epoch it is, also after a resume."""

    def __init__(self, dataset: SpeechDataset):
        self.dataset = dataset

    def on_epoch_begin(self, args, state, control, **kwargs):
        self.dataset.epoch = round(state.epoch or 0)
