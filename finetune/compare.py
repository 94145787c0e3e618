"""Every system in one table and one figure, from what finetune/cross_validate.py left.

    python finetune/compare.py [results …] [--output RESULTS.md] [--figure docs/comparison.png] [--speed speed.json]

The table goes between <!-- comparison:start --> and <!-- comparison:end --> of RESULTS.md. Nothing is typed: every
figure is computed anew from the predictions, clip by clip.
"""

import argparse
import sys
from pathlib import Path

import _repository  # noqa: F401

from ser_hf.errors import exit_code


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare systems: one Markdown table and one figure.")
    parser.add_argument("paths", nargs="*", type=Path, default=[Path("results")], help="results, or folders in it")
    parser.add_argument("--output", type=Path, default=Path("RESULTS.md"), help="Markdown file (RESULTS.md)")
    parser.add_argument("--figure", type=Path, help="image (default: docs/comparison.png beside the Markdown file)")
    parser.add_argument("--speed", type=Path, help="JSON of finetune/benchmark.py (default: speed.json in results)")
    options = parser.parse_args()
    from ser_hf.comparison import compare

    stored = options.paths[0] / "speed.json"
    speed = options.speed or (stored if stored.is_file() else None)
    figure = options.figure or options.output.parent / "docs" / "comparison.png"
    return exit_code(lambda: print(compare(options.paths, options.output, figure, speed)))


if __name__ == "__main__":
    sys.exit(main())
