"""The models. Nothing here imports the rest of `ser_hf`: these files are copied to the Hub as they are."""

from transformers import AutoConfig, AutoFeatureExtractor, AutoModelForAudioClassification

from .configuration_ser import SerConfig
from .configuration_spectrogram import SpectrogramConfig
from .feature_extraction_ser import SerFeatureExtractor
from .feature_extraction_spectrogram import SpectrogramFeatureExtractor
from .modeling_ser import SerForAudioClassification, SerOutput
from .modeling_spectrogram import SpectrogramForAudioClassification, SpectrogramOutput

for config, extractor, model in (
    (SerConfig, SerFeatureExtractor, SerForAudioClassification),
    (SpectrogramConfig, SpectrogramFeatureExtractor, SpectrogramForAudioClassification),
):
    AutoConfig.register(config.model_type, config)
    AutoFeatureExtractor.register(config, extractor)
    AutoModelForAudioClassification.register(config, model)

__all__ = [
    "SerConfig",
    "SerFeatureExtractor",
    "SerForAudioClassification",
    "SerOutput",
    "SpectrogramConfig",
    "SpectrogramFeatureExtractor",
    "SpectrogramForAudioClassification",
    "SpectrogramOutput",
]
