"""Speech emotion recognition on spectrograms and cepstra: the classic networks.

Self-contained: this file is what a Hub repository serves. Padding never changes a result: after every layer that
mixes frames, what lies behind a clip's end is set to zero again, and pooling looks at the clip alone.
"""

from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import ModelOutput

from .configuration_spectrogram import SpectrogramConfig


@dataclass
class SpectrogramOutput(ModelOutput):
    """loss where labels came; logits (batch, labels); pooling_weights (batch, frames) of a body with attention."""

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    pooling_weights: torch.Tensor | None = None


def inside(lengths: torch.Tensor, frames: int) -> torch.Tensor:
    """(batch,) → (batch, frames) bool: True where a frame belongs to its clip."""
    return torch.arange(frames, device=lengths.device)[None, :] < lengths[:, None]


class ConvolutionBlock(nn.Module):
    """Convolution 3 × 3 → ReLU → max-pool 2 × 2 → batch norm → dropout."""

    def __init__(self, channels_in: int, channels: int, dropout: float):
        super().__init__()
        self.convolution = nn.Conv2d(channels_in, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, hidden: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """(batch, channels, frames, features) → the same with half the frames and half the features."""
        hidden = nn.functional.max_pool2d(nn.functional.relu(self.convolution(hidden)), 2)
        hidden = self.dropout(self.norm(hidden))
        return hidden * inside(lengths // 2, hidden.shape[2])[:, None, :, None]


class Convolutions(nn.Module):
    """Blocks of convolutions over a spectrogram, whose features are then those of all channels and bands."""

    def __init__(self, config: SpectrogramConfig):
        super().__init__()
        self.blocks = nn.ModuleList(
            ConvolutionBlock(channels_in, channels, config.body_dropout)
            for channels_in, channels in zip([1, *config.channels], config.channels, strict=False)
        )
        self.output_size = config.channels[-1] * (config.feature_size >> len(config.channels))

    def forward(self, features: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, frames, features), (batch,) → (batch, fewer frames, output_size), their (batch,) lengths."""
        hidden = features[:, None]
        for block in self.blocks:
            hidden = block(hidden, lengths)
            lengths = lengths // 2
        return hidden.permute(0, 2, 1, 3).flatten(2), lengths


class StatisticsNorm(nn.BatchNorm1d):
    """Batch norm, but a batch of one clip, which has no deviation of its own, takes the running statistics."""

    def forward(self, statistics: torch.Tensor) -> torch.Tensor:
        if not self.training or len(statistics) > 1:
            return super().forward(statistics)
        mean, deviation = self.running_mean, (self.running_var + self.eps).sqrt()
        return (statistics - mean) / deviation * self.weight + self.bias


class Cnn(nn.Module):
    """Convolution blocks, then mean and deviation over time of every channel and band."""

    def __init__(self, config: SpectrogramConfig):
        super().__init__()
        self.convolutions = Convolutions(config)
        self.output_size = 2 * self.convolutions.output_size
        self.norm = StatisticsNorm(self.output_size)
        self.dropout = nn.Dropout(config.head_dropout)

    def forward(self, features: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, None]:
        hidden, lengths = self.convolutions(features, lengths)
        hidden = hidden.float()
        mask, count = inside(lengths, hidden.shape[1])[..., None], lengths[:, None]
        mean = (hidden * mask).sum(1) / count
        variance = ((hidden - mean[:, None]).square() * mask).sum(1) / count
        statistics = torch.cat([mean, variance.clamp(min=1e-6).sqrt()], dim=1)
        return self.dropout(self.norm(statistics)), None


class CnnBilstmAttention(nn.Module):
    """Convolution blocks → LSTM in both directions → a weighted mean over time, the weights learned."""

    def __init__(self, config: SpectrogramConfig):
        super().__init__()
        self.convolutions = Convolutions(config)
        (size,) = config.lstm_sizes
        self.forwards = nn.LSTM(self.convolutions.output_size, size, batch_first=True)
        self.backwards = nn.LSTM(self.convolutions.output_size, size, batch_first=True)
        self.project = nn.Linear(2 * size, size)
        self.score = nn.Linear(size, 1)
        self.output_size = 2 * size

    def forward(self, features: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden, lengths = self.convolutions(features, lengths)
        mask = inside(lengths, hidden.shape[1])
        # Each clip is turned around within its own length, so that padding comes last in both directions.
        steps = torch.arange(hidden.shape[1], device=hidden.device)[None, :]
        order = torch.where(mask, lengths[:, None] - 1 - steps, steps)[..., None]
        ahead, _ = self.forwards(hidden)
        back, _ = self.backwards(hidden.gather(1, order.expand_as(hidden)))
        states = torch.cat([ahead, back.gather(1, order.expand_as(back))], dim=-1)
        scores = self.score(torch.tanh(self.project(states))).squeeze(-1).float()
        weights = scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(-1)
        return torch.einsum("bt,bth->bh", weights, states.float()), weights


class Lstm(nn.Module):
    """LSTM layers with dropout; a clip is what the last one knows at the clip's last frame."""

    def __init__(self, config: SpectrogramConfig):
        super().__init__()
        sizes = config.lstm_sizes
        self.layers = nn.ModuleList(
            nn.LSTM(size_in, size, batch_first=True)
            for size_in, size in zip([config.feature_size, *sizes], sizes, strict=False)
        )
        self.dropout = nn.Dropout(config.body_dropout)
        self.output_size = sizes[-1]

    def forward(self, features: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, None]:
        hidden = features
        for layer in self.layers:
            hidden = self.dropout(layer(hidden)[0])
        return hidden[torch.arange(hidden.shape[0], device=hidden.device), lengths - 1], None


BODY_CLASSES = {"cnn": Cnn, "cnn_bilstm_attention": CnnBilstmAttention, "lstm": Lstm, "stacked_lstm": Lstm}


class SpectrogramForAudioClassification(PreTrainedModel):
    """Frames of a front end → body → dense layer → classifier."""

    config_class = SpectrogramConfig
    base_model_prefix = "body"
    main_input_name = "input_features"

    def __init__(self, config: SpectrogramConfig):
        super().__init__(config)
        self.body = BODY_CLASSES[config.body](config)
        self.dense = nn.Linear(self.body.output_size, config.dense_size) if config.dense_size else None
        self.dropout = nn.Dropout(config.head_dropout)
        self.classifier = nn.Linear(config.dense_size or self.body.output_size, config.num_labels)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Torch's own initialisation stands; transformers would draw everything from one normal distribution."""

    def forward(
        self,
        input_features: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs,
    ) -> SpectrogramOutput:
        """
        Args:
            input_features: (batch, frames, features), normalised.
            attention_mask: (batch, frames), 1 for the frames of the clip, which come first; None: all of them.
            labels: (batch,) class numbers; with them the output has the cross-entropy `loss`.
        """
        features = input_features.to(self.dtype)
        if attention_mask is None:
            attention_mask = torch.ones(features.shape[:2], dtype=torch.long, device=features.device)
        lengths = attention_mask.sum(-1).long()
        features = features * attention_mask[..., None].to(features.dtype)
        pooled, pooling_weights = self.body(features, lengths)
        pooled = pooled.to(self.classifier.weight.dtype)
        if self.dense is not None:
            pooled = nn.functional.relu(self.dense(pooled))
        logits = self.classifier(self.dropout(pooled)).float()
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        if not self.training:
            logits = logits / self.config.calibration_temperature
        return SpectrogramOutput(loss=loss, logits=logits, pooling_weights=pooling_weights)

    @torch.no_grad()
    def set_class_frequencies(self, frequencies: torch.Tensor) -> None:
        """Starts the output bias at the logarithm of (classes,) frequencies: an untrained model guesses by them."""
        self.classifier.bias.copy_(frequencies.clamp(min=1e-6).log())


SpectrogramConfig.register_for_auto_class()
SpectrogramForAudioClassification.register_for_auto_class("AutoModelForAudioClassification")
