"""`transformers.Trainer` for emotion: weighted loss, a learning rate for each part, batches of similar lengths."""

import numpy as np
import torch
from accelerate.data_loader import SeedableRandomSampler
from torch import nn
from torch.utils.data import SequentialSampler
from transformers import Trainer

from ..errors import ModelError
from .data import EvenSampler, LengthGroupedSampler
from .metrics import emotion_metrics


class WeightedCrossEntropy:
    """Cross-entropy with class weights and label smoothing, exact under gradient accumulation and several processes.

    Args:
        weights: (classes,) or None; normalised so that the mean weight over the training clips is 1.
        smoothing: share of the target that is spread over all classes.
    """

    def __init__(self, weights: torch.Tensor | None, smoothing: float):
        self.weights, self.smoothing = weights, smoothing

    def __call__(self, outputs, labels, num_items_in_batch=None) -> torch.Tensor:
        logits, heads = outputs.logits, 1
        if getattr(outputs, "head_logits", None) is not None:  # each head learns by itself: they are to differ
            logits, heads = outputs.head_logits.flatten(0, 1), outputs.head_logits.shape[1]
        losses = nn.functional.cross_entropy(
            logits,
            labels.repeat_interleave(heads),
            weight=None if self.weights is None else self.weights.to(logits.device),
            label_smoothing=self.smoothing,
            reduction="sum",
        )
        return losses / heads / (len(labels) if num_items_in_batch is None else num_items_in_batch)


def inverse_frequency_weights(labels: np.ndarray, num_labels: int) -> torch.Tensor:
    """(classes,) float32 weights: rare classes weigh more; the mean over the clips is 1. Absent classes get 0."""
    counts = np.bincount(labels, minlength=num_labels)
    weights = np.divide(len(labels) / np.count_nonzero(counts), counts, where=counts > 0, out=np.zeros(num_labels))
    return torch.tensor(weights, dtype=torch.float32)


def class_weights(labels: np.ndarray, names: list[str], by_frequency: bool, factors: list[str]) -> torch.Tensor | None:
    """(classes,) weights of the loss: by inverse frequency or 1, times the "name=number" factors. None: all are 1.

    Raises:
        ModelError: a factor that is none, or of a class that there is not.
    """
    if not by_frequency and not factors:
        return None
    weights = inverse_frequency_weights(labels, len(names)) if by_frequency else torch.ones(len(names))
    for factor in factors:
        name, _, number = factor.partition("=")
        try:
            value = float(number)
        except ValueError:
            value = -1.0
        if name not in names or not 0 < value < float("inf"):
            raise ModelError(
                f"class_weight_factors has '{factor}'; write CLASS=NUMBER, such as surprised=1.5, with one of the "
                f"classes {', '.join(names)} and a number above 0."
            )
        weights[names.index(name)] *= value
    return weights


def logits_of(predictions) -> np.ndarray:
    """(clips, classes): the Trainer gives a model's outputs without their names, the logits first."""
    return predictions[0] if isinstance(predictions, tuple) else predictions


def compute_metrics(prediction) -> dict[str, float]:
    """EvalPrediction → UA, WA, macro and weighted F1."""
    predicted = logits_of(prediction.predictions).argmax(-1)
    return emotion_metrics().compute(predictions=predicted, references=prediction.label_ids)


class SerTrainer(Trainer):
    """Trainer with parameter groups for the head and for each layer of the encoder, and length-grouped batches."""

    def prediction_step(self, model, inputs, prediction_loss_only, ignore_keys=None):
        # Of the outputs only the logits are kept: the others have a length of their own in every batch.
        ignore_keys = [*(ignore_keys or []), "pooling_weights", "statistics", "head_logits"]
        return super().prediction_step(model, inputs, prediction_loss_only, ignore_keys=ignore_keys)

    def _get_train_sampler(self, train_dataset=None):
        dataset = train_dataset if train_dataset is not None else self.train_dataset
        args = self.args
        together = args.train_batch_size * args.world_size  # clips of one forward pass of all processes
        if args.train_sampling_strategy == "group_by_length":
            batch_size = together * args.gradient_accumulation_steps
            sampler = LengthGroupedSampler(dataset.lengths, batch_size, args.data_seed or args.seed)
        elif args.world_size == 1:
            return super()._get_train_sampler(dataset)
        else:  # what accelerate makes of the Trainer's sampler, which it does not see inside another
            sampler = SeedableRandomSampler(dataset, data_seed=args.data_seed)
        return sampler if args.world_size == 1 else EvenSampler(sampler, together)

    def _get_eval_sampler(self, eval_dataset):
        return SequentialSampler(eval_dataset)

    def create_optimizer(self, model=None):
        model = model if model is not None else self.model
        if self.optimizer is None:
            kept_from_decay = set(self.get_decay_parameter_names(model))
            groups: dict[tuple, dict] = {}
            for name, parameter in model.named_parameters():
                if not parameter.requires_grad:
                    continue
                rate = self.learning_rate_of(name)
                decay = self.args.weight_decay if name in kept_from_decay else 0.0
                group = groups.setdefault((rate, decay), {"params": [], "lr": rate, "weight_decay": decay})
                group["params"].append(parameter)
            optimizer_class, options = self.get_optimizer_cls_and_kwargs(self.args, model)
            self.optimizer = optimizer_class(list(groups.values()), **options)
        return self.optimizer

    def learning_rate_of(self, name: str) -> float:
        """Head, pooling and encoder's top layer, and each layer below it at `layer_decay` times the one above."""
        args = self.args
        if name.startswith("pooling."):
            return args.learning_rate
        if not name.startswith("encoder."):
            return args.head_learning_rate or args.learning_rate
        layers = self.model.config.num_encoder_layers
        parts = name.split(".")
        layer = int(parts[parts.index("layers") + 1]) if "layers" in parts else -1
        return args.learning_rate * args.layer_decay ** (layers - 1 - layer)
