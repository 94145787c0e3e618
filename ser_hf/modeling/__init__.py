"""The models. Nothing here imports the rest of `ser_hf`: these files are copied to the Hub as they are."""

from transformers import AutoConfig, AutoFeatureExtractor, AutoModelForAudioClassification

from .configuration_ser import SerConfig
from .feature_extraction_ser import SerFeatureExtractor
from .modeling_ser import SerForAudioClassification, SerOutput

AutoConfig.register(SerConfig.model_type, SerConfig)
AutoFeatureExtractor.register(SerConfig, SerFeatureExtractor)
AutoModelForAudioClassification.register(SerConfig, SerForAudioClassification)

__all__ = ["SerConfig", "SerFeatureExtractor", "SerForAudioClassification", "SerOutput"]
