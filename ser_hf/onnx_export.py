"""A checkpoint as an ONNX graph, of any batch and length, held to the scores that torch gives."""

import json
import logging
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from .audio import SAMPLING_RATE
from .classifier import EmotionClassifier
from .errors import ModelError
from .reference import synthetic_clip

TOLERANCE = 1e-3  # of a score, between onnxruntime and torch
BATCHES = ((0.3,), (0.9,), (2.2,), (7.5,), (1.4, 0.6, 3.1))  # seconds of sound; the last is padded
OPSET = 18
SINGLE_FILE_BYTES = 1_900_000_000  # of weights; protobuf's limit for a file is 2 GB


@dataclass(frozen=True)
class Export:
    """What was written: the file, the graph's inputs, the longest in seconds, the largest difference of a score."""

    path: Path
    inputs: list[str]
    max_seconds: float
    difference: float


class _Logits(nn.Module):
    """(inputs, mask) → logits (batch, labels), calibrated; the inputs by position, as the exporter wants them."""

    def __init__(self, model: nn.Module, input_name: str):
        super().__init__()
        self.model = model
        self.input_name = input_name

    def forward(self, inputs: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return self.model(**{self.input_name: inputs}, attention_mask=attention_mask).logits


class _OnnxLstm(nn.Module):
    """An LSTM layer as ONNX's own operator: torch's exporter would unroll it to the length of its example."""

    def __init__(self, lstm: nn.LSTM):
        super().__init__()
        self.hidden_size = lstm.hidden_size
        self.register_buffer("weight", self._reordered(lstm.weight_ih_l0))
        self.register_buffer("recurrence", self._reordered(lstm.weight_hh_l0))
        biases = [self._reordered(lstm.bias_ih_l0), self._reordered(lstm.bias_hh_l0)]
        self.register_buffer("bias", torch.cat(biases, dim=-1))

    @staticmethod
    def _reordered(gates: torch.Tensor) -> torch.Tensor:
        """torch's order of the gates, input-forget-cell-output, → ONNX's, input-output-forget-cell; one direction."""
        i, f, c, o = gates.detach().chunk(4)
        return torch.cat([i, o, f, c])[None]

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, None]:
        """(batch, frames, features) → (batch, frames, hidden)."""
        inputs = inputs.transpose(0, 1)
        states = torch.onnx.ops.symbolic(
            "LSTM",
            (inputs, self.weight, self.recurrence, self.bias),
            {"hidden_size": self.hidden_size},
            dtype=inputs.dtype,
            shape=(inputs.shape[0], 1, inputs.shape[1], self.hidden_size),
            version=OPSET,
        )
        return states.squeeze(1).transpose(0, 1), None


def export_onnx(model: str | Path | None, path: Path) -> Export:
    """A checkpoint → one ONNX file: the feature extractor's output and its mask → logits.

    Sound becomes input by the checkpoint's own feature extractor. The labels are in the file's metadata.

    Args:
        model: a folder, a Hub name, or None for the embedded checkpoint.

    Raises:
        ModelError: the packages for it are not installed, the model cannot be loaded or exported, or onnxruntime gives
            other scores than torch.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  (what torch exports with)
    except ImportError as error:
        raise ModelError(
            f"{error.name} is not installed: run `pip install -e '.[onnx]'` in the repository."
        ) from error
    classifier = EmotionClassifier.from_pretrained(model, device="cpu")
    reference = [_batch(classifier, seconds) for seconds in BATCHES]
    expected = [_torch_scores(classifier, inputs) for inputs in reference]
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}")  # what is not verified does not bear the name
    try:
        max_seconds = _export(classifier, partial)
        session = onnxruntime.InferenceSession(partial, providers=["CPUExecutionProvider"])
        names = [value.name for value in session.get_inputs()]
        difference = max(
            float(np.abs(_softmax(session.run(None, dict(zip(names, inputs, strict=True)))[0]) - scores).max())
            for inputs, scores in zip(reference, expected, strict=True)
        )
        if not difference <= TOLERANCE:  # NaN is none either
            raise ModelError(
                f"The ONNX graph of {classifier.name} differs from torch by {difference:.2g} in a score, more than "
                f"{TOLERANCE:g}: it was not written."
            )
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return Export(path, names, max_seconds, difference)


def _batch(classifier: EmotionClassifier, seconds: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    clips = [synthetic_clip(seed=10 + number, seconds=length) for number, length in enumerate(seconds)]
    inputs = classifier.feature_extractor(clips, sampling_rate=SAMPLING_RATE)
    return inputs[classifier.feature_extractor.model_input_names[0]].numpy(), inputs["attention_mask"].numpy()


@torch.inference_mode()
def _torch_scores(classifier: EmotionClassifier, inputs: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    name = classifier.feature_extractor.model_input_names[0]
    features, mask = map(torch.from_numpy, inputs)
    return classifier.model(**{name: features}, attention_mask=mask).logits.softmax(-1).numpy()


def _softmax(logits: np.ndarray) -> np.ndarray:
    return torch.from_numpy(logits).softmax(-1).numpy()


def _export(classifier: EmotionClassifier, path: Path) -> float:
    """Writes the graph; returns the longest clip that it takes, seconds."""
    extractor, model = classifier.feature_extractor, classifier.model
    name = extractor.model_input_names[0]
    shortest, longest = _lengths(classifier)
    batch = {0: torch.export.Dim("batch")}
    if shortest < longest:
        batch[1] = torch.export.Dim("length", min=shortest, max=longest)
    example = tuple(map(torch.from_numpy, _batch(classifier, (1.3, 2.0))))
    if sum(p.numel() * p.element_size() for p in model.parameters()) > SINGLE_FILE_BYTES:
        raise ModelError(f"{classifier.name} has more weights than one ONNX file can hold, 2 GB.")
    # The classifier was loaded for this alone, so its network may be changed.
    for parent in list(model.modules()):
        for child_name, child in list(parent.named_children()):
            if isinstance(child, nn.LSTM):
                setattr(parent, child_name, _OnnxLstm(child))
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            program = torch.onnx.export(
                _Logits(model, name).eval(),
                example,
                dynamo=True,
                opset_version=OPSET,
                input_names=[name, "attention_mask"],
                output_names=["logits"],
                dynamic_shapes={"inputs": batch, "attention_mask": batch},
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            reason = str(error.__cause__ or error).strip().splitlines()[0]
            raise ModelError(f"{classifier.name} cannot be exported to ONNX: {reason}") from error
    program.model.metadata_props["labels"] = json.dumps(classifier.labels)
    program.model.metadata_props["sampling_rate"] = str(extractor.sampling_rate)
    program.save(path, external_data=False)
    return min(classifier.max_seconds, longest / _lengths_per_second(classifier))


def _lengths(classifier: EmotionClassifier) -> tuple[int, int]:
    """The shortest and the longest input of the model, in frames or samples."""
    extractor = classifier.feature_extractor
    name = extractor.model_input_names[0]
    shortest = extractor([np.zeros(1, np.float32)])[name].shape[1]
    if getattr(extractor, "num_frames", None):  # every clip has the same
        return shortest, shortest
    longest = round(classifier.max_seconds * _lengths_per_second(classifier)) + 1
    encoder = getattr(classifier.model.config, "encoder_config", None)
    if encoder is not None and encoder.model_type == "whisper":
        longest = min(longest, 2 * encoder.max_source_positions)  # beyond, the model works in windows
    return shortest, longest


def _lengths_per_second(classifier: EmotionClassifier) -> float:
    extractor = classifier.feature_extractor
    if extractor.model_input_names[0] == "input_values":
        return extractor.sampling_rate
    return getattr(extractor, "feature_rate", extractor.sampling_rate) / extractor.hop_length
