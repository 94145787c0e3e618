"""Writing a checkpoint that anyone can load: safetensors at half size, code beside it, float32 when loaded."""

from pathlib import Path

import torch


def save_checkpoint(model, extractor, folder: str | Path, half: bool = True) -> None:
    """Model, feature extractor and their code → `folder`.

    With `half` the weights take 16 bits on disk, while the configuration says float32: transformers computes in the
    dtype that the configuration names, and half precision would be slow and inexact on a CPU.
    """
    weights = model.state_dict()
    if half:
        weights = {name: w.half() if w.is_floating_point() else w for name, w in weights.items()}
    model.config.dtype = torch.float32
    model.save_pretrained(folder, state_dict=weights)
    extractor.save_pretrained(folder)
