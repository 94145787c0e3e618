"""Waveform → log-mel, MFCC or six stacked families of features. Self-contained: this is what a Hub repository serves.

All in torch, so that a bare pipeline needs nothing but transformers, torch and torchaudio; the tests hold every
family equal to librosa's.
"""

from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
import torchaudio
from transformers import BatchFeature
from transformers.audio_utils import chroma_filter_bank, mel_filter_bank

from .feature_extraction_ser import SerFeatureExtractor

FRONTENDS = ("log_mel", "mfcc", "stacked")
MIN_SECONDS = 0.5  # shorter clips are filled with silence: four halvings of time have to leave a frame
DYNAMIC_RANGE_DB = 80.0  # what lies further below a clip's loudest bin is raised to that
MAX_FREQUENCY = 8_000.0  # Hz; sound of 16 kHz has nothing above, at whatever rate it is resampled
MIN_DEVIATION = 1e-3  # a feature that never moves is left at 0 by the normalisation
NUM_CHROMA, NUM_TONNETZ = 12, 6
CONTRAST_BANDS, CONTRAST_LOWEST, CONTRAST_QUANTILE = 6, 200.0, 0.02  # octaves from 200 Hz, and the band below
DELTA_FRAMES = 9


class SpectrogramFeatureExtractor(SerFeatureExtractor):
    """Trims silence, sets level and rate, computes a front end's frames, normalises them, pads or cuts to a length.

    Args:
        frontend: "log_mel" (dB), "mfcc", or "stacked": MFCC, their deltas, 12 chroma, log-mel, 7 spectral contrasts,
            6 tonnetz, frame by frame.
        sampling_rate: of the input, Hz.
        feature_rate: the input is resampled to this before anything is computed, Hz.
        num_mel_bins, num_mfcc: of the log-mel spectrogram and of the cepstrum.
        n_fft, hop_length: in samples at `feature_rate`.
        trim_top_db, trim_margin_seconds, level_db, max_seconds: as for `SerFeatureExtractor`.
        duration_seconds: every clip is cut, or padded at its end, to this; None: clips keep their lengths.
        cut: which part of a longer clip is kept, "start" or "centre".
        feature_mean, feature_deviation: (features,) of the training clips, which normalise every frame; None: no
            normalisation.
    """

    def __init__(
        self,
        frontend: str = "log_mel",
        sampling_rate: int = 16_000,
        feature_rate: int = 16_000,
        num_mel_bins: int = 64,
        num_mfcc: int = 40,
        n_fft: int = 512,
        hop_length: int = 256,
        trim_top_db: float | None = 30.0,
        trim_margin_seconds: float = 0.1,
        level_db: float | None = None,
        max_seconds: float = 60.0,
        duration_seconds: float | None = None,
        cut: str = "start",
        feature_mean: list[float] | None = None,
        feature_deviation: list[float] | None = None,
        **kwargs,
    ):
        if frontend not in FRONTENDS:
            raise ValueError(f"There is no front end '{frontend}'; choose one of {', '.join(FRONTENDS)}.")
        if cut not in ("start", "centre"):
            raise ValueError(f"cut is '{cut}'; choose 'start' or 'centre', the part that is kept.")
        if num_mfcc > num_mel_bins and frontend != "log_mel":
            raise ValueError(f"{num_mfcc} MFCC cannot come from {num_mel_bins} mel bins: choose as many or fewer.")
        if duration_seconds is not None and not MIN_SECONDS <= duration_seconds <= max_seconds:
            raise ValueError(
                f"duration_seconds is {duration_seconds:g}; choose {MIN_SECONDS:g} to {max_seconds:g} seconds."
            )
        super().__init__(
            sampling_rate=sampling_rate,
            num_mel_bins=num_mel_bins,
            hop_length=hop_length,
            n_fft=n_fft,
            trim_top_db=trim_top_db,
            trim_margin_seconds=trim_margin_seconds,
            level_db=level_db,
            max_seconds=max_seconds,
            **kwargs,
        )
        stacked = 2 * num_mfcc + NUM_CHROMA + num_mel_bins + CONTRAST_BANDS + 1 + NUM_TONNETZ
        self.feature_size = {"log_mel": num_mel_bins, "mfcc": num_mfcc, "stacked": stacked}[frontend]
        self.frontend = frontend
        self.feature_rate = feature_rate
        self.num_mfcc = num_mfcc
        self.duration_seconds = duration_seconds
        self.cut = cut
        self.feature_mean = feature_mean
        self.feature_deviation = feature_deviation

    def to_dict(self) -> dict:
        inherited = ("feature_type", "do_normalize")  # these choose between inputs that this family does not have
        return {name: value for name, value in super().to_dict().items() if name not in inherited}

    @property
    def num_frames(self) -> int | None:
        """Frames of every clip, where the duration is fixed."""
        if self.duration_seconds is None:
            return None
        return 1 + round(self.duration_seconds * self.feature_rate) // self.hop_length

    def trim_bounds(self, waveform: np.ndarray) -> tuple[int, int]:
        """First and one-past-last sample of `waveform` (samples,) that are kept: trimmed, then cut to the duration."""
        start, end = super().trim_bounds(waveform)
        if self.duration_seconds is None:
            return start, end
        kept = round(self.duration_seconds * self.sampling_rate)
        if self.cut == "centre":
            start += max(0, end - start - kept) // 2
        return start, min(end, start + kept)

    def spectrogram(self, waveform: np.ndarray, trim: bool = True) -> torch.Tensor:
        """(samples,) → (frames, features) float32 of the front end, not normalised and not padded."""
        sound = self.prepare(waveform, trim)
        sound = torch.nn.functional.pad(sound, (0, max(0, round(MIN_SECONDS * self.sampling_rate) - len(sound))))
        if self.feature_rate != self.sampling_rate:
            sound = _resampler(self.sampling_rate, self.feature_rate)(sound)
        window = torch.hann_window(self.n_fft)
        spectrum = torch.stft(
            sound, self.n_fft, self.hop_length, window=window, return_complex=True, pad_mode="constant"
        )
        magnitude = spectrum.abs().T  # (frames, frequencies)
        power = magnitude.square()
        log_mel = _decibel(power @ _mel_filters(self.n_fft, self.num_mel_bins, self.feature_rate))
        log_mel = log_mel.maximum(log_mel.max() - DYNAMIC_RANGE_DB)
        if self.frontend == "log_mel":
            features = log_mel
        else:
            mfcc = log_mel @ torchaudio.functional.create_dct(self.num_mfcc, self.num_mel_bins, norm="ortho")
            features = mfcc
        if self.frontend == "stacked":
            delta = torchaudio.functional.compute_deltas(mfcc.T, win_length=DELTA_FRAMES).T
            chroma = power @ _chroma_filters(self.n_fft, self.feature_rate)
            chroma = chroma / chroma.amax(1, keepdim=True).clamp(min=1e-10)
            contrast = _spectral_contrast(magnitude, self.n_fft, self.feature_rate)
            features = torch.cat([mfcc, delta, chroma, log_mel, contrast, chroma_to_tonnetz(chroma)], dim=1)
        return features[: self.num_frames]

    def normalize(self, features: torch.Tensor) -> torch.Tensor:
        """(frames, features) → the same with the training clips' mean at 0 and their deviation at 1."""
        if self.feature_mean is None:
            return features
        mean, deviation = torch.tensor(self.feature_mean), torch.tensor(self.feature_deviation)
        return (features - mean) / deviation

    def fit_normalization(self, clips: list[torch.Tensor]) -> None:
        """Sets mean and deviation from the training clips' spectrograms, each (frames, features)."""
        total = sum(clip.double().sum(0) for clip in clips)
        squares = sum(clip.double().square().sum(0) for clip in clips)
        count = sum(len(clip) for clip in clips)
        mean = total / count
        deviation = (squares / count - mean.square()).clamp(min=0).sqrt()
        deviation = torch.where(deviation < MIN_DEVIATION, 1.0, deviation)
        self.feature_mean, self.feature_deviation = mean.float().tolist(), deviation.float().tolist()

    def features(self, waveform: np.ndarray, trim: bool = True) -> torch.Tensor:
        """(samples,) → (frames, features) float32, the model's input for one clip before padding."""
        return self.normalize(self.spectrogram(waveform, trim))

    def collate(self, features: list[torch.Tensor]) -> BatchFeature:
        """Inputs of single clips → one batch, padded to the fixed duration or to the longest, with its mask."""
        lengths = torch.tensor([len(clip) for clip in features])
        frames = self.num_frames or int(lengths.max())
        batch = torch.full((len(features), frames, self.feature_size), self.padding_value)
        for row, clip in enumerate(features):
            batch[row, : len(clip)] = clip
        mask = (torch.arange(frames)[None, :] < lengths[:, None]).long()
        return BatchFeature({"input_features": batch, "attention_mask": mask})


@lru_cache
def _resampler(rate: int, new_rate: int) -> torchaudio.transforms.Resample:
    return torchaudio.transforms.Resample(rate, new_rate)


@lru_cache
def _mel_filters(n_fft: int, bins: int, rate: int) -> torch.Tensor:
    """(frequencies, bins) of Slaney's mel scale, up to MAX_FREQUENCY."""
    top = min(MAX_FREQUENCY, rate / 2)
    return torch.from_numpy(
        mel_filter_bank(1 + n_fft // 2, bins, 0.0, top, rate, norm="slaney", mel_scale="slaney")
    ).float()


@lru_cache
def _chroma_filters(n_fft: int, rate: int) -> torch.Tensor:
    """(frequencies, 12), the pitch classes from C on."""
    return torch.from_numpy(chroma_filter_bank(n_fft, NUM_CHROMA, rate).T.copy()).float()


def _decibel(power: torch.Tensor) -> torch.Tensor:
    return 10 * power.clamp(min=1e-10).log10()


def _spectral_contrast(magnitude: torch.Tensor, n_fft: int, rate: int) -> torch.Tensor:
    """(frames, frequencies) → (frames, 7) dB between a band's peaks and its valleys (Jiang et al., ICME 2002)."""
    frequencies = torch.arange(1 + n_fft // 2) * rate / n_fft
    edges = [0.0, *(CONTRAST_LOWEST * 2**octave for octave in range(CONTRAST_BANDS + 1))]
    bands = []
    for number, (low, high) in enumerate(pairwise(edges)):
        inside = ((frequencies >= low) & (frequencies <= high)).nonzero()[:, 0]
        first, last = int(inside[0]) - (number > 0), int(inside[-1])
        if number == CONTRAST_BANDS:
            last = n_fft // 2
        count = max(1, round(CONTRAST_QUANTILE * (last - first + 1)))
        ordered = magnitude[:, first : last + (number == CONTRAST_BANDS)].sort(dim=1).values
        bands.append(_decibel(ordered[:, -count:].mean(1)) - _decibel(ordered[:, :count].mean(1)))
    return torch.stack(bands, dim=1)


def chroma_to_tonnetz(chroma: torch.Tensor) -> torch.Tensor:
    """(frames, 12) → (frames, 6): where the sum of the pitches lies on circles of fifths and thirds (Harte, 2006)."""
    angles = torch.outer(torch.tensor([7 / 6, 7 / 6, 3 / 2, 3 / 2, 2 / 3, 2 / 3]), torch.arange(12.0))
    angles[::2] -= 0.5
    radii = torch.tensor([1.0, 1.0, 1.0, 1.0, 0.5, 0.5])
    return chroma / chroma.sum(1, keepdim=True).clamp(min=1e-10) @ (radii[:, None] * torch.cos(torch.pi * angles)).T


SpectrogramFeatureExtractor.register_for_auto_class()
