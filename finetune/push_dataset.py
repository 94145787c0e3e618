"""A corpus → a data set on the Hub: Parquet shards with the sound in them, and a card with licence and folds.

    python finetune/push_dataset.py ravdess someone/ravdess --data_dir RAVDESS [--private] [--revision v2]
    python finetune/push_dataset.py my_clips/ someone/my-clips --license "CC BY 4.0" --dry-run folder

A licence that does not let a copy be passed on stops it, unless you say that you may.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import _repository  # noqa: F401

from ser_hf.errors import DatasetError, exit_code


def main() -> int:
    parser = argparse.ArgumentParser(description="Push a corpus to the Hugging Face Hub as a data set.")
    parser.add_argument("dataset", metavar="CORPUS", help="ravdess, emodb, …; a folder of folders; a table")
    parser.add_argument("repo_id", metavar="REPO_ID", help="owner/name; without an owner, your own account")
    parser.add_argument("--data_dir", help="its folder (default: SER_DATA_DIR, else it is downloaded)")
    parser.add_argument("--channel", default="speech", choices=["speech", "song", "both"], help="of RAVDESS")
    parser.add_argument("--label_map", help="YAML file of 'label: emotion' lines")
    parser.add_argument("--protocol", default="emobox", help="whose folds are numbered; none: no such column (emobox)")
    parser.add_argument("--license", help="of a data set of your own, such as 'CC BY 4.0'")
    parser.add_argument(
        "--i_may_redistribute", action="store_true", help="the owner of this copy allows publishing it"
    )
    parser.add_argument("--private", action="store_true", help="make a new repository private")
    parser.add_argument(
        "--dry-run", type=Path, metavar="FOLDER", help="write what would be pushed there; push nothing"
    )
    parser.add_argument("--revision", help="the branch to push to, made if there is none (default: main)")
    options = parser.parse_args()
    return exit_code(lambda: push(options))


def push(options: argparse.Namespace) -> None:
    from ser_hf.corpora.arguments import DatasetArguments, load_dataset_arguments
    from ser_hf.hub_dataset import push_dataset

    corpus = load_dataset_arguments(
        DatasetArguments([options.dataset], options.data_dir, options.channel, options.label_map)
    )
    if options.license:
        if corpus.license not in ("", options.license):
            raise DatasetError(f"The licence of {corpus.name} is {corpus.license}; --license cannot change it.")
        corpus = replace(corpus, license=options.license)
    push_dataset(
        corpus,
        options.repo_id,
        protocol=None if options.protocol == "none" else options.protocol,
        may_redistribute=options.i_may_redistribute,
        private=options.private,
        revision=options.revision,
        dry_run=options.dry_run,
        say=print,
    )


if __name__ == "__main__":
    sys.exit(main())
