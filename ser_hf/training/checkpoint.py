"""Writing a checkpoint that anyone can load: safetensors at half size, code beside it, float32 when loaded.

And finding those that the Trainer leaves on its way, from which a run that was stopped goes on.
"""

from pathlib import Path

import torch

STATE_FILE = "trainer_state.json"  # what the Trainer writes last into a checkpoint: without it one is half written


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


def trainer_checkpoints(run: str | Path, whole: bool = True) -> list[Path]:
    """The Trainer's checkpoints in a run's folder by their step; with `whole` without those that are half written."""
    found = sorted(Path(run).glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    return [path for path in found if (path / STATE_FILE).is_file()] if whole else found
