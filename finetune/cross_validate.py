"""Train and test every fold of a protocol: the honest figure, and the leaky one under its own name.

    python finetune/cross_validate.py configs/whisper_base.yaml --data_dir RAVDESS [--protocol emobox|speaker|random]
        [--folds 1 2 3 4 5 6] [--learning_rate 3e-5 …]

Stopped, it goes on where it was when the same command is given again. Each fold leaves
results/<system>/<protocol>/fold_<k>.json and .csv; the end leaves summary.json and confusion_matrix.png beside them.
"""

import logging
import sys

import _repository  # noqa: F401

from ser_hf.errors import exit_code


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    from ser_hf.cross_validation import cross_validate, parse_cross_validation

    return exit_code(lambda: cross_validate(*parse_cross_validation()))


if __name__ == "__main__":
    sys.exit(main())
