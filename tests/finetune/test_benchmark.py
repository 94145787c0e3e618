"""The speed that the README promises: six times the HuBERT pipeline, in one run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_embedded_checkpoint_is_six_times_as_fast_as_a_hubert_pipeline(tmp_path):
    command = [
        sys.executable, str(REPOSITORY / "finetune" / "benchmark.py"), "--repeats", "10",
        "--json", str(tmp_path / "out.json"),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = {row["model"]: row for row in json.loads((tmp_path / "out.json").read_text())}
    ours = rows["embedded checkpoint"]
    assert ours["times_hubert"] >= 6
    assert ours["seconds"] < rows["Whisper base, pipeline"]["seconds"]
    assert all(row["cold_seconds"] > row["seconds"] > 0 for row in rows.values())
    assert "× HuBERT" in done.stdout
