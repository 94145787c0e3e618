"""Search the settings of a configuration, judged by held-out training speakers: no test clip is seen.

    python finetune/search.py configs/whisper_base.yaml --data_dir RAVDESS [--num_trials 20] [--folds 1 2 …]
        [--space configs/search_space.yaml] [--study_dir DIR] [--output RESULTS.md] [--num_train_epochs 10 …]

With --ideas, the settings that a file names are tried one by one; with --validation_folds K, a trial trains K times,
so that every training speaker of a fold is held out once.

Stopped, it goes on where it was when the same command is given again; with more --num_trials, it goes on further.
DIR then holds best.yaml, for finetune/train.py and finetune/cross_validate.py, and every trial in trials.csv and
trials.md; with --output the latter also stands between <!-- search-NAME:start --> and <!-- search-NAME:end -->.
NAME is that of the configuration, or --name.
"""

import logging
import sys

import _repository  # noqa: F401

from ser_hf.errors import exit_code


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    from ser_hf.search import parse_search, search

    return exit_code(lambda: search(*parse_search()))


if __name__ == "__main__":
    sys.exit(main())
