"""A checkpoint → an ONNX file, for onnxruntime and whatever else runs ONNX; of any batch and length.

    python finetune/export_onnx.py runs/whisper_base model.onnx
    python finetune/export_onnx.py embedded model.onnx

Before it is left there, onnxruntime has to give torch's scores at several lengths. Needs `pip install -e '.[onnx]'`.
"""

import argparse
import sys
from pathlib import Path

import _repository  # noqa: F401

from ser_hf.errors import exit_code


def main() -> int:
    parser = argparse.ArgumentParser(description="Export a checkpoint to ONNX.")
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="a folder, a Hub name, or 'embedded'")
    parser.add_argument("output", type=Path, metavar="FILE", help="the file to write, such as model.onnx")
    options = parser.parse_args()
    return exit_code(lambda: export(options))


def export(options: argparse.Namespace) -> None:
    from ser_hf.onnx_export import export_onnx

    done = export_onnx(None if options.checkpoint == "embedded" else options.checkpoint, options.output)
    print(
        f"{done.path}: {done.path.stat().st_size / 1e6:.1f} MB, {' and '.join(done.inputs)} → logits, up to "
        f"{done.max_seconds:g} s of sound"
    )
    print(f"onnxruntime gives torch's scores to within {done.difference:.0e}, at five lengths alone and in a batch")


if __name__ == "__main__":
    sys.exit(main())
