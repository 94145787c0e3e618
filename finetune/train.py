"""Fine-tune one model on one fold of a data set.

    python finetune/train.py configs/whisper_base.yaml --data_dir RAVDESS [--fold 1] [--learning_rate 3e-5 …]
    torchrun --nproc_per_node 4 finetune/train.py configs/whisper_base.yaml --data_dir RAVDESS       on four GPUs

Any field of the configuration can be set on the command line, and any of transformers' TrainingArguments.
"""

import logging
import os
import sys

import _repository  # noqa: F401

from ser_hf.errors import exit_code
from ser_hf.training.arguments import parse_arguments


def main() -> int:
    is_main_process = os.environ.get("RANK", "0") == "0"
    logging.basicConfig(level=logging.INFO if is_main_process else logging.ERROR, format="%(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    return exit_code(train)


def train() -> None:
    arguments = parse_arguments()
    # Only now, since torch takes seconds, which a wrong argument need not wait for.
    from accelerate import PartialState

    from ser_hf.training.fine_tuning import fine_tune

    fine_tune(*arguments)
    PartialState().destroy_process_group()


if __name__ == "__main__":
    sys.exit(main())
