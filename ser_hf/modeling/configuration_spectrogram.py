"""Configuration of `SpectrogramForAudioClassification`. Self-contained: this file is what a Hub repository serves."""

from transformers import PretrainedConfig

FRONTENDS = ("log_mel", "mfcc", "stacked")
# Body → the front ends that fit it. A convolution over frequency looks for the same pattern at neighbouring bins:
# only a mel spectrogram has such neighbours, while cepstra and stacked families are a list of unlike features.
BODIES = {
    "cnn": ("log_mel",),
    "cnn_bilstm_attention": ("log_mel",),
    "lstm": FRONTENDS,
    "stacked_lstm": FRONTENDS,
}


class SpectrogramConfig(PretrainedConfig):
    """A front end's features, a body that makes one vector of a clip's frames, dense layers and a classifier.

    Args:
        frontend: "log_mel", "mfcc" or "stacked" (six families of features), as the feature extractor computes it.
        body: "cnn", "cnn_bilstm_attention", "lstm" or "stacked_lstm".
        feature_size: features of one frame.
        channels: of the convolution blocks, each of which halves time and frequency.
        lstm_sizes: width of each LSTM layer (of each direction, where there are two).
        body_dropout: dropout inside the body: after each convolution block, after each LSTM layer.
        dense_size: width of the layer between body and classifier; 0: none.
        head_dropout: dropout before the classifier, and before the dense layer of a "cnn".
        calibration_temperature: divides the logits outside training, so that scores are calibrated everywhere.
        uncertainty_threshold: an answer whose score, 0 to 1, lies below this counts as "not sure"; 0: none does. The
            model does not use it: programs that show its answers do.
    """

    model_type = "ser-spectrogram"

    def __init__(
        self,
        frontend: str = "log_mel",
        body: str = "cnn",
        feature_size: int = 64,
        channels: list[int] | None = None,
        lstm_sizes: list[int] | None = None,
        body_dropout: float = 0.1,
        dense_size: int = 128,
        head_dropout: float = 0.3,
        calibration_temperature: float = 1.0,
        uncertainty_threshold: float = 0.0,
        **kwargs,
    ):
        if body not in BODIES:
            raise ValueError(f"There is no body '{body}'; choose one of {', '.join(BODIES)}.")
        if frontend not in FRONTENDS:
            raise ValueError(f"There is no front end '{frontend}'; choose one of {', '.join(FRONTENDS)}.")
        if frontend not in BODIES[body]:
            raise ValueError(
                f"The front end '{frontend}' does not fit the body '{body}', whose convolutions need neighbouring "
                f"frequencies: choose the front end {' or '.join(BODIES[body])}, or the body lstm or stacked_lstm."
            )
        channels = [16, 32, 64, 128] if channels is None else list(channels)
        lstm_sizes = [256] if lstm_sizes is None else list(lstm_sizes)
        if "cnn" in body and (not channels or feature_size < 2 ** len(channels)):
            raise ValueError(
                f"{len(channels)} convolution blocks came for {feature_size} features, and each block halves them: "
                "choose at least one block, and fewer blocks or more mel bins."
            )
        if body == "stacked_lstm" and len(lstm_sizes) < 2:
            raise ValueError(f"'stacked_lstm' needs two layers or more, lstm_sizes is {lstm_sizes}; or choose 'lstm'.")
        if body in ("lstm", "cnn_bilstm_attention") and len(lstm_sizes) != 1:
            raise ValueError(f"'{body}' has one LSTM layer, lstm_sizes is {lstm_sizes}; choose one, such as [256].")
        if calibration_temperature <= 0:
            raise ValueError(f"calibration_temperature is {calibration_temperature}; it has to be positive.")
        if not 0 <= uncertainty_threshold <= 1:
            raise ValueError(f"uncertainty_threshold is {uncertainty_threshold}; choose 0 to 1.")
        self.frontend = frontend
        self.body = body
        self.feature_size = feature_size
        self.channels = channels
        self.lstm_sizes = lstm_sizes
        self.body_dropout = body_dropout
        self.dense_size = dense_size
        self.head_dropout = head_dropout
        self.calibration_temperature = calibration_temperature
        self.uncertainty_threshold = uncertainty_threshold
        super().__init__(**kwargs)
