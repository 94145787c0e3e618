"""Fine-tune one model on one fold of a data set.

    python finetune/train.py configs/whisper_base.yaml --data_dir RAVDESS [--fold 1] [--learning_rate 3e-5 …]

Any field of the configuration can be set on the command line, and any of transformers' TrainingArguments.
"""

import logging
import sys

import _repository  # noqa: F401

from ser_hf.errors import exit_code
from ser_hf.training.arguments import parse_arguments


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    return exit_code(train)


def train() -> None:
    arguments = parse_arguments()
    # Only now, since torch takes seconds, which a wrong argument need not wait for.
    from ser_hf.training.fine_tuning import fine_tune

    fine_tune(*arguments)


if __name__ == "__main__":
    sys.exit(main())
