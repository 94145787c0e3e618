"""Waveform → model input: trimming, level, log-mel. Self-contained: this file is what a Hub repository serves.

What training saw is what a bare pipeline sees: every preparation of the sound happens here, in NumPy and torch.
"""

import numpy as np
import torch
from transformers import BatchFeature, SequenceFeatureExtractor
from transformers.audio_utils import mel_filter_bank

MIN_SECONDS = 0.1  # shorter input is padded with zeros to this, so that a spectrum can be taken
TRIM_WINDOW_SECONDS = 0.025
TRIM_FLOOR_PERCENTILE = 10  # of the frames' energies: the level of the background
TRIM_OVER_FLOOR_DB = 6.0  # what is speech is louder than the background by this
TRIM_RANGE_DB = 10.0  # with less between the background and the loudest frame, nothing tells them apart
TRIM_HOP_SECONDS = 0.010


class SerFeatureExtractor(SequenceFeatureExtractor):
    """Trims silence, sets the level, computes log-mel frames or a normalised waveform, and caps the length.

    Args:
        feature_type: "log_mel" (Whisper encoders) or "waveform" (wav2vec2, HuBERT, WavLM).
        sampling_rate: of the input, Hz.
        num_mel_bins, hop_length, n_fft: of the log-mel spectrogram, in bins, samples and samples.
        trim_top_db: the ends that stay this far below the loudest moment are cut; None keeps them.
        trim_margin_seconds: how much of the silence is left at each end.
        level_db: the root mean square of the trimmed clip is brought to this, dB below full scale; None leaves it.
        max_seconds: longer clips are cut to this after trimming.
        do_normalize: a waveform is brought to zero mean and unit variance (wav2vec2 family).
    """

    def __init__(
        self,
        feature_type: str = "log_mel",
        sampling_rate: int = 16_000,
        num_mel_bins: int = 80,
        hop_length: int = 160,  # 10 ms
        n_fft: int = 400,  # 25 ms
        trim_top_db: float | None = 30.0,
        trim_margin_seconds: float = 0.1,
        level_db: float | None = None,
        max_seconds: float = 60.0,
        do_normalize: bool = True,
        padding_value: float = 0.0,
        **kwargs,
    ):
        if feature_type not in ("log_mel", "waveform"):
            raise ValueError(f"feature_type is '{feature_type}'; choose 'log_mel' or 'waveform'.")
        feature_size = num_mel_bins if feature_type == "log_mel" else 1
        kwargs.pop("feature_size", None)
        super().__init__(feature_size=feature_size, sampling_rate=sampling_rate, padding_value=padding_value, **kwargs)
        self.feature_type = feature_type
        self.num_mel_bins = num_mel_bins
        self.hop_length = hop_length
        self.n_fft = n_fft
        self.trim_top_db = trim_top_db
        self.trim_margin_seconds = trim_margin_seconds
        self.level_db = level_db
        self.max_seconds = max_seconds
        self.do_normalize = do_normalize
        self.mel_filters = None  # (frequencies, mels), made on first use; never written to the JSON

    @property
    def model_input_names(self) -> list[str]:
        return ["input_features" if self.feature_type == "log_mel" else "input_values", "attention_mask"]

    @model_input_names.setter
    def model_input_names(self, _):
        pass  # it follows from feature_type; from_pretrained may try to set it

    def trim_bounds(self, waveform: np.ndarray) -> tuple[int, int]:
        """First and one-past-last sample of `waveform` (samples,) that are kept: trimmed, then capped."""
        start, end = 0, len(waveform)
        window = round(TRIM_WINDOW_SECONDS * self.sampling_rate)
        hop = round(TRIM_HOP_SECONDS * self.sampling_rate)
        if self.trim_top_db is not None and len(waveform) > window:
            energy = np.concatenate([[0.0], np.cumsum(np.square(waveform, dtype=np.float64))])
            starts = np.arange(0, len(waveform) - window + 1, hop)
            frame_energy = energy[starts + window] - energy[starts]
            loudest, floor = frame_energy.max(), np.percentile(frame_energy, TRIM_FLOOR_PERCENTILE)
            threshold = loudest * 10 ** (-self.trim_top_db / 10)
            if floor < loudest * 10 ** (-TRIM_RANGE_DB / 10):  # in noise, the pauses are what is close to its level
                threshold = max(threshold, floor * 10 ** (TRIM_OVER_FLOOR_DB / 10))
            loud = np.flatnonzero(frame_energy > threshold)
            if len(loud):
                margin = round(self.trim_margin_seconds * self.sampling_rate)
                start = max(0, int(starts[loud[0]]) - margin)
                end = min(len(waveform), int(starts[loud[-1]]) + window + margin)
        return start, min(end, start + round(self.max_seconds * self.sampling_rate))

    def prepare(self, waveform: np.ndarray, trim: bool = True) -> torch.Tensor:
        """(samples,) → (samples',) float32: trimmed, capped, at its level, at least MIN_SECONDS long."""
        waveform = np.asarray(waveform, dtype=np.float32)
        if waveform.ndim != 1:
            raise ValueError(f"A waveform of shape {waveform.shape} came; one channel, (samples,), is expected.")
        if trim:
            start, end = self.trim_bounds(waveform)
            waveform = waveform[start:end]
        if self.level_db is not None:
            rms = float(np.sqrt(np.mean(np.square(waveform, dtype=np.float64)))) if len(waveform) else 0.0
            waveform = waveform * np.float32(10 ** (self.level_db / 20) / max(rms, 1e-6))
        missing = round(MIN_SECONDS * self.sampling_rate) - len(waveform)
        if missing > 0:
            waveform = np.pad(waveform, (0, missing))
        return torch.from_numpy(np.ascontiguousarray(waveform))

    def log_mel(self, waveform: torch.Tensor) -> torch.Tensor:
        """(samples,) → (frames, mels), scaled as Whisper's input (Radford et al., 2022; openai/whisper, audio.py)."""
        if self.mel_filters is None:
            filters = mel_filter_bank(
                num_frequency_bins=1 + self.n_fft // 2,
                num_mel_filters=self.num_mel_bins,
                min_frequency=0.0,
                max_frequency=self.sampling_rate / 2,
                sampling_rate=self.sampling_rate,
                norm="slaney",
                mel_scale="slaney",
            )
            self.mel_filters = torch.from_numpy(filters).float()
        spectrum = torch.stft(
            waveform, self.n_fft, self.hop_length, window=torch.hann_window(self.n_fft), return_complex=True
        )
        power = spectrum[:, :-1].abs().square()  # (frequencies, frames)
        log_mel = (power.T @ self.mel_filters).clamp(min=1e-10).log10()
        return (log_mel.maximum(log_mel.max() - 8.0) + 4.0) / 4.0

    def features(self, waveform: np.ndarray, trim: bool = True) -> torch.Tensor:
        """(samples,) → the model's input for one clip: (frames, mels), or (samples',) for waveform encoders."""
        prepared = self.prepare(waveform, trim)
        if self.feature_type == "log_mel":
            return self.log_mel(prepared)
        if self.do_normalize:
            prepared = (prepared - prepared.mean()) / (prepared.var(unbiased=False) + 1e-7).sqrt()
        return prepared

    def collate(self, features: list[torch.Tensor]) -> BatchFeature:
        """Inputs of single clips → one padded batch with its attention mask (1 where there is sound)."""
        lengths = torch.tensor([len(f) for f in features])
        padded = torch.nn.utils.rnn.pad_sequence(features, batch_first=True, padding_value=self.padding_value)
        mask = (torch.arange(padded.shape[1])[None, :] < lengths[:, None]).long()
        return BatchFeature({self.model_input_names[0]: padded, "attention_mask": mask})

    def __call__(self, raw_speech, sampling_rate: int | None = None, trim: bool = True, **kwargs) -> BatchFeature:
        """One waveform (samples,) or a list of them → a padded batch of torch tensors.

        Args:
            raw_speech: float samples in [-1, 1].
            sampling_rate: of `raw_speech`, Hz; an error if it is not the extractor's.
            trim: False where the clips were trimmed before (cached training audio).
        """
        if sampling_rate is not None and sampling_rate != self.sampling_rate:
            raise ValueError(
                f"The sound has {sampling_rate} Hz, the model expects {self.sampling_rate} Hz: resample it first."
            )
        many = isinstance(raw_speech, list | tuple) and not np.isscalar(raw_speech[0])
        clips = raw_speech if many or getattr(raw_speech, "ndim", 1) == 2 else [raw_speech]
        return self.collate([self.features(np.asarray(clip), trim) for clip in clips])


SerFeatureExtractor.register_for_auto_class()
