"""Speech emotion recognition on a wav2vec2, HuBERT, WavLM or Whisper encoder.

Self-contained: this file is what a Hub repository serves. Padding never changes a result: a clip alone and the same
clip in a batch of longer ones have the same logits, for every family.
"""

from dataclasses import dataclass

import torch
import transformers
from torch import nn
from transformers import AutoConfig, PreTrainedModel
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_outputs import ModelOutput

from .configuration_ser import SerConfig


@dataclass
class SerOutput(ModelOutput):
    """loss where labels came; logits (batch, labels); pooling_weights (batch, frames), each row sums to 1;
    statistics (batch, features), the pooled mean and deviation of every layer before they are standardised;
    head_logits (batch, heads, labels), what each head says by itself."""

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    pooling_weights: torch.Tensor | None = None
    statistics: torch.Tensor | None = None
    head_logits: torch.Tensor | None = None


class ConvolutionalFrontEnd(nn.Module):
    """The wav2vec2 family's feature encoder, blind to padding.

    The *base* models normalise each channel over time (GroupNorm with one channel a group), so zeros appended to a
    clip would change all of its frames. Here mean and variance are taken over the frames that hold sound. `forward`
    hands through what `convolve` made, so that the rest of the encoder runs as its library wrote it.
    """

    def __init__(self, feature_encoder: nn.Module):
        super().__init__()
        self.conv_layers = feature_encoder.conv_layers

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features

    def convolve(self, waveforms: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(batch, samples), (batch, samples) → (batch, channels, frames)."""
        hidden = waveforms[:, None]
        for layer in self.conv_layers:
            norm = getattr(layer, "layer_norm", None)
            if not isinstance(norm, nn.GroupNorm):
                hidden = layer(hidden)
                continue
            hidden = layer.conv(hidden)
            (kernel,), (stride,) = layer.conv.kernel_size, layer.conv.stride
            frames = torch.div(mask.sum(-1) - kernel, stride, rounding_mode="floor") + 1
            inside = torch.arange(hidden.shape[-1], device=hidden.device)[None, :] < frames[:, None]
            inside = inside[:, None].to(hidden.dtype)
            count = inside.sum(-1, keepdim=True).clamp(min=1)
            mean = (hidden * inside).sum(-1, keepdim=True) / count
            variance = ((hidden - mean).square() * inside).sum(-1, keepdim=True) / count
            hidden = (hidden - mean) * torch.rsqrt(variance + norm.eps)
            hidden = layer.activation(hidden * norm.weight[:, None] + norm.bias[:, None])
        return hidden


class AttentiveStatisticsPooling(nn.Module):
    """Weighted mean and deviation over time, the weights learned (Okabe et al., Interspeech 2018).

    The weights come from a learned weighted sum of the layers; mean and deviation are taken of every layer by itself,
    since what tells emotions apart is spread over them and a sum would blur it.
    """

    def __init__(self, num_layers: int, hidden_size: int, pooling_dim: int):
        super().__init__()
        self.layer_weights = nn.Parameter(torch.zeros(num_layers))
        self.project = nn.Linear(hidden_size, pooling_dim)
        self.score = nn.Linear(pooling_dim, 1)
        nn.init.zeros_(self.score.weight)  # every frame counts alike until training finds a reason
        nn.init.zeros_(self.score.bias)

    def forward(self, states: list[torch.Tensor], mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Layers of (batch, frames, hidden), (batch, frames) bool → (batch, layers * 2 * hidden), (batch, frames)."""
        # Layers differ in scale by more than ten times; without the norm the loudest one would drown the others.
        states = [nn.functional.layer_norm(state.float(), state.shape[-1:]) for state in states]
        summed = sum(weight * state for weight, state in zip(self.layer_weights.softmax(-1), states, strict=True))
        scores = self.score(torch.tanh(self.project(summed.to(self.project.weight.dtype)))).squeeze(-1).float()
        weights = scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(-1)
        statistics = []
        for state in states:
            mean = torch.einsum("bt,bth->bh", weights, state)
            variance = torch.einsum("bt,bth->bh", weights, (state - mean[:, None]).square())
            statistics += [mean, variance.clamp(min=1e-6).sqrt()]
        return torch.cat(statistics, dim=-1), weights


class ClassificationHead(nn.Module):
    """Dropout, a hidden layer with dropout where `head_dim` is not 0, and the classes."""

    def __init__(self, config: SerConfig, pooled_size: int):
        super().__init__()
        self.dropout = nn.Dropout(config.head_dropout)
        self.hidden = nn.Linear(pooled_size, config.head_dim) if config.head_dim else None
        self.classifier = nn.Linear(config.head_dim or pooled_size, config.num_labels)

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        """(batch, features) → (batch, labels) logits."""
        pooled = self.dropout(pooled.to(self.classifier.weight.dtype))
        if self.hidden is not None:
            pooled = self.dropout(nn.functional.gelu(self.hidden(pooled)))
        return self.classifier(pooled).float()


class SerForAudioClassification(PreTrainedModel):
    """Encoder → attentive statistics pooling of its layers → classification heads, which are averaged.

    Several heads see the same clip, each with random weights and dropout of its own; the mean of their probabilities
    is right more often than one head's, and costs next to nothing beside the encoder.
    """

    config_class = SerConfig
    base_model_prefix = "ser"
    main_input_name = "input_features"
    supports_gradient_checkpointing = True
    _supports_sdpa = True

    def __init__(self, config: SerConfig):
        super().__init__(config)
        self.encoder = build_encoder(config.encoder_config)
        if hasattr(self.encoder, "feature_extractor"):
            self.encoder.feature_extractor = ConvolutionalFrontEnd(self.encoder.feature_extractor)
        num_layers = config.num_encoder_layers + 1 - config.first_pooled_layer
        pooled_size = num_layers * 2 * config.hidden_size
        self.pooling = AttentiveStatisticsPooling(num_layers, config.hidden_size, config.pooling_dim)
        # Of the training clips, set once before training: unlike a batch norm's, they depend on no batch.
        self.register_buffer("statistics_mean", torch.zeros(pooled_size))
        self.register_buffer("statistics_deviation", torch.ones(pooled_size))
        self.heads = nn.ModuleList(ClassificationHead(config, pooled_size) for _ in range(config.num_heads))
        self.post_init()
        self.freeze()

    def _init_weights(self, module: nn.Module) -> None:
        """Torch's own initialisation stands; transformers would draw everything from one normal distribution."""

    @classmethod
    def from_encoder(
        cls, name_or_path: str, config_options: dict | None = None, **kwargs
    ) -> "SerForAudioClassification":
        """A pretrained encoder, from a folder or the Hub, with a new head; float32.

        Raises:
            ValueError: the encoder's family is not supported, or weights of the encoder are missing in the checkpoint.
        """
        encoder_config = AutoConfig.from_pretrained(name_or_path, **kwargs)
        config = SerConfig(encoder_config=encoder_config, **(config_options or {}))
        encoder_class = type(build_encoder(config.encoder_config, meta=True))
        mapping = {r"^(model\.)?encoder\.": ""} if encoder_config.model_type == "whisper" else None
        encoder, loading = encoder_class.from_pretrained(
            name_or_path,
            config=config.encoder_config,
            dtype=torch.float32,
            key_mapping=mapping,
            output_loading_info=True,
            **kwargs,
        )
        # wav2vec2's vector for masked frames is absent in some checkpoints, and only training with masks uses it.
        missing = [key for key in loading["missing_keys"] if key != "masked_spec_embed"]
        if missing:
            raise ValueError(
                f"{name_or_path} lacks {len(missing)} weights of its encoder (the first is '{missing[0]}'): they "
                "would be random. Use a complete checkpoint."
            )
        model = cls(config)
        model.encoder.load_state_dict(encoder.state_dict())
        return model

    def freeze(self) -> None:
        """Takes the parts that the configuration names out of training."""
        # Each pooled state is normalised below, so Whisper's final norm has no part in the result.
        frozen = [self.encoder.layer_norm] if self._is_whisper else []
        layers = self.encoder.layers if self._is_whisper else self.encoder.encoder.layers
        stem = [self.encoder.conv1, self.encoder.conv2] if self._is_whisper else [self.encoder.feature_extractor]
        if self.config.freeze_feature_encoder or self.config.num_frozen_layers:
            frozen += stem
        if self.config.num_frozen_layers:
            frozen += layers[: self.config.num_frozen_layers]
            if not self._is_whisper:
                frozen += [self.encoder.feature_projection, self.encoder.encoder.pos_conv_embed]
        for module in frozen:
            module.requires_grad_(False)

    @property
    def _is_whisper(self) -> bool:
        return self.config.encoder_config.model_type == "whisper"

    def _whisper_hidden_states(
        self, features: torch.Tensor, mask: torch.Tensor
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """(batch, frames, mels) → hidden states, each (batch, ceil(frames / 2), hidden), and their mask.

        Whisper's own forward insists on 30 s and ignores padding. Sound of more than 30 s is encoded in windows.
        """
        window = 2 * self.config.encoder_config.max_source_positions
        if features.shape[1] > window:
            parts = [
                self._whisper_hidden_states(features[:, start : start + window], mask[:, start : start + window])
                for start in range(0, features.shape[1], window)
            ]
            states = [torch.cat(layer, dim=1) for layer in zip(*(part[0] for part in parts), strict=True)]
            return states, torch.cat([part[1] for part in parts], dim=1)

        encoder = self.encoder
        hidden = (features * mask[..., None]).transpose(1, 2)
        hidden = nn.functional.gelu(encoder.conv1(hidden)) * mask[:, None]
        mask = mask[:, ::2]  # the second convolution has a stride of 2
        hidden = nn.functional.gelu(encoder.conv2(hidden)) * mask[:, None]
        hidden = hidden.transpose(1, 2)
        hidden = hidden + encoder.embed_positions.weight[: hidden.shape[1]]
        hidden = nn.functional.dropout(hidden, p=encoder.dropout, training=self.training)
        return [hidden, *self._whisper_layers(hidden, mask)], mask

    def _whisper_layers(self, hidden: torch.Tensor, mask: torch.Tensor, first: int = 0) -> list[torch.Tensor]:
        """The states after layer `first` and each layer above it, from the state below it."""
        attention_mask = create_bidirectional_mask(self.encoder.config, hidden, mask)
        states = []
        for layer in self.encoder.layers[first:]:
            hidden = layer(hidden, attention_mask)
            states.append(hidden)
        return states

    def hidden_states(self, inputs: torch.Tensor, mask: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        """The encoder's states before and after each layer, each (batch, frames, hidden); and the mask of frames."""
        if self._is_whisper:
            return self._whisper_hidden_states(inputs, mask)
        features = self.encoder.feature_extractor.convolve(inputs * mask, mask)
        states = self.encoder(features, attention_mask=mask, output_hidden_states=True).hidden_states
        return list(states), self.encoder._get_feature_vector_attention_mask(features.shape[-1], mask)

    def forward(
        self,
        input_features: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        input_values: torch.Tensor | None = None,
        encoder_states: torch.Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs,
    ) -> SerOutput:
        """
        Args:
            input_features: (batch, frames, mels) log-mel, for Whisper encoders.
            input_values: (batch, samples) at 16 kHz, for the wav2vec2 family.
            attention_mask: (batch, frames) or (batch, samples), 1 where there is sound; None: everywhere.
            labels: (batch,) class numbers; with them the output has the cross-entropy `loss`, averaged over the heads.
            encoder_states: (batch, frames, states * hidden), in place of the inputs: what `frozen_states` gave for
                these clips, side by side; `attention_mask` is then (batch, frames).
        """
        if encoder_states is not None:
            states, frame_mask = self._resume(encoder_states.to(self.dtype), attention_mask)
        else:
            inputs = input_features if input_features is not None else input_values
            if inputs is None:
                raise ValueError(
                    "Neither input_features nor input_values came: give what SerFeatureExtractor returns."
                )
            inputs = inputs.to(self.dtype)
            mask = attention_mask if attention_mask is not None else torch.ones(inputs.shape[:2], device=inputs.device)
            states, frame_mask = self.hidden_states(inputs, mask.to(inputs.device).long())
            states = states[self.config.first_pooled_layer :]

        statistics, pooling_weights = self.pooling(states, frame_mask.bool())
        pooled = (statistics - self.statistics_mean) / self.statistics_deviation
        head_logits = torch.stack([head(pooled) for head in self.heads], dim=1)
        loss = None
        if labels is not None:
            loss = nn.functional.cross_entropy(head_logits.flatten(0, 1), labels.repeat_interleave(len(self.heads)))
        # The logarithm of the mean probability: a softmax of it gives that mean.
        logits = (
            head_logits[:, 0]
            if len(self.heads) == 1
            else head_logits.log_softmax(-1).exp().mean(1).clamp(min=1e-9).log()
        )
        if not self.training:
            logits = logits / self.config.calibration_temperature
        return SerOutput(loss, logits, pooling_weights, statistics, head_logits)

    @torch.no_grad()
    def frozen_states(self, inputs: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What does not change while the frozen layers stay frozen: the pooled states of these layers.

        Returns:
            (batch, frames, states * hidden), for `forward`'s `encoder_states`, and (batch, frames) the mask of frames.

        Raises:
            ValueError: no pooled layer is frozen, or layers above the frozen ones that cannot be run by themselves.
        """
        config = self.config
        last = config.num_frozen_layers
        if last < config.first_pooled_layer or not last:
            raise ValueError(f"num_frozen_layers is {last}: no frozen layer is pooled, so there is nothing to keep.")
        if last < config.num_encoder_layers and not self._is_whisper:
            family = config.encoder_config.model_type
            raise ValueError(
                f"num_frozen_layers is {last} of {config.num_encoder_layers}: the layers of a {family} encoder run "
                "together, so its states can be kept only if all are frozen."
            )
        states, frame_mask = self.hidden_states(inputs.to(self.dtype), mask.long())
        return torch.cat(states[config.first_pooled_layer : last + 1], dim=-1), frame_mask

    def _resume(self, kept: torch.Tensor, mask: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        """The pooled states from those that `frozen_states` gave: the layers above run as ever."""
        states = list(kept.split(self.config.hidden_size, dim=-1))
        if self.config.num_frozen_layers < self.config.num_encoder_layers:
            states += self._whisper_layers(states[-1], mask, first=self.config.num_frozen_layers)
        return states, mask

    @torch.no_grad()
    def standardize(self, statistics: torch.Tensor) -> None:
        """Sets what pooled statistics are standardised with, from those of the training clips (clips, features)."""
        self.statistics_mean.copy_(statistics.mean(0))
        self.statistics_deviation.copy_(statistics.std(0).clamp(min=1e-3))


def build_encoder(config, meta: bool = False) -> nn.Module:
    """The encoder of a configuration with random weights; on the meta device, without any, if asked."""
    if config.model_type == "whisper":
        from transformers.models.whisper.modeling_whisper import WhisperEncoder as encoder_class
    else:
        names = {"wav2vec2": "Wav2Vec2Model", "hubert": "HubertModel", "wavlm": "WavLMModel"}
        encoder_class = getattr(transformers, names[config.model_type])
    with torch.device("meta" if meta else torch.get_default_device()):
        return encoder_class(config)


SerConfig.register_for_auto_class()
SerForAudioClassification.register_for_auto_class("AutoModelForAudioClassification")
