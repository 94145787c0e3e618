"""A checkpoint → a Hub repository, after it has proved that it loads elsewhere.

    python finetune/push_to_hub.py runs/whisper_base someone/ser-whisper-base [--private] [--revision v2]
    python finetune/push_to_hub.py runs/whisper_base someone/ser-whisper-base --dry-run folder

It is first loaded in a fresh process without this repository and without network, and has to give the scores of its
training. A push is one commit: cut off half-way, it leaves the repository as it was and can be repeated.
"""

import argparse
import sys
from pathlib import Path

import _repository  # noqa: F401

from ser_hf.errors import exit_code


def main() -> int:
    parser = argparse.ArgumentParser(description="Push a verified checkpoint to the Hugging Face Hub.")
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="the folder that finetune/train.py wrote")
    parser.add_argument("repo_id", metavar="REPO_ID", help="owner/name; without an owner, your own account")
    parser.add_argument("--private", action="store_true", help="make a new repository private")
    parser.add_argument(
        "--dry-run", type=Path, metavar="FOLDER", help="write what would be pushed there; push nothing"
    )
    parser.add_argument("--revision", help="the branch to push to, made if there is none (default: main)")
    options = parser.parse_args()
    return exit_code(lambda: push(options))


def push(options: argparse.Namespace) -> None:
    from ser_hf.hub import push_checkpoint

    push_checkpoint(
        options.checkpoint,
        options.repo_id,
        private=options.private,
        revision=options.revision,
        dry_run=options.dry_run,
        say=print,
    )


if __name__ == "__main__":
    sys.exit(main())
