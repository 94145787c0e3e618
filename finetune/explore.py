"""A data set as one HTML page to look at: who speaks, how long, how loud, and which files are odd.

    python finetune/explore.py --dataset ravdess --data_dir D [--output report.html]
    python finetune/explore.py --dataset my_folder | clips.csv | owner/name

The page holds its pictures, runs no script and asks nothing of any server.
"""

import argparse
import logging
import sys
from pathlib import Path

import _repository  # noqa: F401

from ser_hf.corpora.arguments import dataset_parser
from ser_hf.errors import exit_code


def main() -> int:
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    parser = dataset_parser("Write an HTML report on a labelled data set.")
    parser.add_argument("--output", type=Path, default=Path("report.html"), help="the page (default: report.html)")
    parser.add_argument("--max_clips", type=int, default=5_000, help="of a larger corpus, hear this many (5,000)")
    options = parser.parse_args()
    return exit_code(lambda: explore_corpus(options))


def explore_corpus(options: argparse.Namespace) -> None:
    from ser_hf.corpora.arguments import load_dataset_arguments
    from ser_hf.exploration import explore

    corpus = load_dataset_arguments(options)
    print(corpus.summary)
    page = explore(corpus, options.max_clips)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(page, encoding="utf-8")
    print(f"{options.output}: {len(page) / 2**20:.1f} MiB, open it in a browser")


if __name__ == "__main__":
    sys.exit(main())
