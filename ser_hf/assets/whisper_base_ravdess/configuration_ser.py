"""Configuration of `SerForAudioClassification`. Self-contained: this file is what a Hub repository serves."""

from typing import ClassVar

from transformers import CONFIG_MAPPING, PretrainedConfig

ENCODER_FAMILIES = ("wav2vec2", "hubert", "wavlm", "whisper")


class SerConfig(PretrainedConfig):
    """A speech encoder, a weighted sum of its hidden states, attention pooling and a classification head.

    Args:
        encoder_config: configuration of the encoder (dict or config object): wav2vec2, hubert, wavlm or whisper.
        num_encoder_layers: keep this many transformer layers of the encoder; None keeps all.
        first_pooled_layer: index of the first hidden state in the weighted sum; 0 is the input of the first layer.
        num_frozen_layers: the first k transformer layers, and all that lies below them, are not trained.
        freeze_feature_encoder: the convolutional front end is not trained.
        pooling_dim: width of the attention pooling's scoring layer.
        head_dim: width of the hidden layer of the classification head; 0 makes the head linear.
        head_dropout: dropout before and inside the head.
        num_heads: heads whose probabilities are averaged.
        calibration_temperature: divides the logits outside training, so that scores are calibrated everywhere.
        uncertainty_threshold: an answer whose score, 0 to 1, lies below this counts as "not sure"; 0: none does. The
            model does not use it: programs that show its answers do.
    """

    model_type = "ser"
    sub_configs: ClassVar = {"encoder_config": PretrainedConfig}

    def __init__(
        self,
        encoder_config=None,
        num_encoder_layers: int | None = None,
        first_pooled_layer: int = 1,
        num_frozen_layers: int = 0,
        freeze_feature_encoder: bool = True,
        pooling_dim: int = 128,
        head_dim: int = 256,
        head_dropout: float = 0.3,
        num_heads: int = 1,
        calibration_temperature: float = 1.0,
        uncertainty_threshold: float = 0.0,
        **kwargs,
    ):
        if encoder_config is None:
            encoder_config = {"model_type": "whisper"}
        if isinstance(encoder_config, dict):
            encoder_config = dict(encoder_config)
            encoder_config = CONFIG_MAPPING[encoder_config.pop("model_type", "whisper")](**encoder_config)
        if encoder_config.model_type not in ENCODER_FAMILIES:
            raise ValueError(
                f"Encoder of type '{encoder_config.model_type}' is not supported; choose one of {ENCODER_FAMILIES}."
            )
        available = encoder_config.num_hidden_layers
        kept = available if num_encoder_layers is None else num_encoder_layers
        if not 1 <= kept <= available:
            raise ValueError(
                f"num_encoder_layers is {kept}, but the encoder has {available} layers: choose 1 to that."
            )
        if not 0 <= num_frozen_layers <= kept:
            raise ValueError(f"num_frozen_layers is {num_frozen_layers}; choose 0 to {kept}, the layers kept.")
        if not 0 <= first_pooled_layer <= kept:
            raise ValueError(f"first_pooled_layer is {first_pooled_layer}; choose 0 to {kept}, the layers kept.")
        if num_heads < 1:
            raise ValueError(f"num_heads is {num_heads}; choose 1 or more.")
        if calibration_temperature <= 0:
            raise ValueError(f"calibration_temperature is {calibration_temperature}; it has to be positive.")
        if not 0 <= uncertainty_threshold <= 1:
            raise ValueError(f"uncertainty_threshold is {uncertainty_threshold}; choose 0 to 1.")
        if encoder_config.model_type == "whisper":
            encoder_config.encoder_layers = encoder_config.num_hidden_layers = kept
            encoder_config.decoder_layers = 0  # only the encoder is used
        else:
            encoder_config.num_hidden_layers = kept
            # A dropped layer has no hidden state, and the weighted sum needs all of them.
            encoder_config.layerdrop = 0.0
        encoder_config._name_or_path = ""  # where the encoder lay on the machine that trained it is nobody's business
        encoder_config.dtype = None  # the dtype of the checkpoint is the one named by this config alone

        self.encoder_config = encoder_config
        self.num_encoder_layers = kept
        self.first_pooled_layer = first_pooled_layer
        self.num_frozen_layers = num_frozen_layers
        self.freeze_feature_encoder = freeze_feature_encoder
        self.pooling_dim = pooling_dim
        self.head_dim = head_dim
        self.head_dropout = head_dropout
        self.num_heads = num_heads
        self.calibration_temperature = calibration_temperature
        self.uncertainty_threshold = uncertainty_threshold
        super().__init__(**kwargs)

    @property
    def hidden_size(self) -> int:
        return self.encoder_config.hidden_size
