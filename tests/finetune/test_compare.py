"""finetune/compare.py: the table and the figure come from the clips, and what is missing is called missing."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ser_hf import DatasetError
from ser_hf.comparison import MARKERS, PUBLISHED, compare
from ser_hf.evaluation import Evaluation
from ser_hf.markdown import markers, write_between_markers
from ser_hf.results import write_json
from ser_hf.splits import EMOBOX_TEST_ACTORS, describe

REPOSITORY = Path(__file__).parents[2]
START, END = markers(MARKERS)
LABELS = ["calm", "sad"]


def write_fold(results: Path, system: str, protocol: str, number: int, right: float, **record) -> None:
    """Of every four clips of a speaker, this share is right."""
    actors = EMOBOX_TEST_ACTORS[number] if protocol == "emobox" else range(1, 25)
    speakers = [f"{actor:02d}" for actor in actors for _ in range(4)]
    references = np.tile([0, 1, 0, 1], len(actors))
    wrong = np.arange(len(speakers)) % 4 >= round(4 * right)
    scores = np.eye(2)[np.where(wrong, 1 - references, references)]
    files = [f"{name}_{clip}.wav" for clip, name in enumerate(speakers)]
    made = Evaluation(LABELS, [f"{number}/{file}" for file in files], speakers, references, scores, [])
    folder = results / system / protocol
    folder.mkdir(parents=True, exist_ok=True)
    made.write_csv(folder / f"fold_{number}.csv")
    content = {
        "system": system, "protocol_name": protocol, "protocol": describe(protocol), "fold": number,
        "dataset": "ravdess", "channel": "speech", "parameters": 1_500_000, "total_minutes": 3.0,
        "hardware": "a CPU", "settings": {}, "test": made.figures(),
        "command": f"python finetune/cross_validate.py configs/{system}.yaml --protocol {protocol}",
    }  # fmt: skip
    write_json(folder / f"fold_{number}.json", {**content, **record})


@pytest.fixture
def results(tmp_path) -> Path:
    """`good` is complete, `worse` lacks two folds and random clips, `leaky` has random clips alone."""
    for number in EMOBOX_TEST_ACTORS:
        write_fold(tmp_path / "results", "good", "emobox", number, 1.0 if number % 2 else 0.5)
    for number in (1, 2, 4, 5):
        write_fold(tmp_path / "results", "worse", "emobox", number, 0.5)
    write_fold(tmp_path / "results", "good", "random", 1, 0.75)
    write_fold(tmp_path / "results", "leaky", "random", 1, 1.0)
    return tmp_path / "results"


def cells(text: str, system: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(f"| **{system}** |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_every_figure_of_the_table_comes_from_the_clips(results, tmp_path):
    text = compare([results], tmp_path / "RESULTS.md", tmp_path / "docs" / "comparison.png")
    uas = [1.0, 0.5, 1.0, 0.5, 1.0, 0.5]
    good = cells(text, "good")
    assert good[1:4] == ["ravdess, speech", "1.5 M", f"{100 * np.mean(uas):.1f} ± {100 * np.std(uas, ddof=1):.1f}"]
    low, high = map(float, good[4].split(" to "))
    assert 0 <= low < 75 < high <= 100
    assert good[7] == "25.0"  # ECE: every score is 1, three of four are right
    assert good[8] == "75.0" and good[10] == "3.0" and good[11] == "–"
    systems = [line.split("**")[1] for line in text.splitlines() if line.startswith("| **")]
    assert systems == ["good", "worse", "leaky"]
    assert "python finetune/cross_validate.py configs/good.yaml --protocol random" in text
    assert "random clips (leaky)" in text and "leaky: the same speakers" in text
    assert "![Unseen speakers and random clips, side by side](docs/comparison.png)" in text
    assert (tmp_path / "docs" / "comparison.png").read_bytes().startswith(b"\x89PNG")
    assert text in (tmp_path / "RESULTS.md").read_text()


def test_missing_folds_are_never_averaged_silently(results):
    text = compare([results])
    assert cells(text, "worse")[3] == "50.0 ± 0.0 (4 of 6 folds)"
    assert "**Not complete**" in text and "worse, emobox: 4 of 6 folds" in text
    row = next(line for line in text.splitlines() if line.startswith("| worse | unseen"))
    assert row.count("missing") == 2
    assert cells(text, "leaky")[3:8] == ["–"] * 5


def test_published_figures_stand_beside_with_protocol_and_source(results):
    text = compare([results])
    assert all(published.source and published.protocol for published in PUBLISHED)
    line = next(line for line in text.splitlines() if "Whisper large v3" in line)
    assert "75.32" in line and "EmoBox" in line and "unseen speakers" in line
    assert text.count("random clips (leaky)") >= sum("random" in published.protocol for published in PUBLISHED)


def test_speed_is_shown_where_it_was_measured(results, tmp_path):
    rows = [{"model": "runs/good/emobox/fold_1", "seconds": 0.02}, {"model": "HuBERT base, pipeline", "seconds": 0.5}]
    (tmp_path / "speed.json").write_text(json.dumps(rows))
    text = compare([results], speed=tmp_path / "speed.json")
    assert cells(text, "good")[11] == "50" and cells(text, "worse")[11] == "–"
    (tmp_path / "speed.json").write_text("{}")
    assert cells(compare([results], speed=tmp_path / "speed.json"), "good")[11] == "–"
    (tmp_path / "speed.json").write_text("[1]")
    with pytest.raises(DatasetError, match="no JSON of finetune/benchmark"):
        compare([results], speed=tmp_path / "speed.json")


def test_what_stands_outside_the_markers_stays(tmp_path):
    page = tmp_path / "RESULTS.md"
    page.write_text(f"# Results\n\nabove\n\n{START}\nold\n{END}\n\nbelow\n")
    write_between_markers(page, "new", MARKERS)
    write_between_markers(page, "newer", MARKERS)
    assert page.read_text() == f"# Results\n\nabove\n\n{START}\n\nnewer\n\n{END}\n\nbelow\n"
    page.write_text("# Results\n\nabove\n")
    write_between_markers(page, "new", MARKERS)
    assert page.read_text() == f"# Results\n\nabove\n\n{START}\n\nnew\n\n{END}\n"
    page.write_text(f"{START}\n")
    with pytest.raises(DatasetError, match="without the other"):
        write_between_markers(page, "new", MARKERS)


def test_a_changed_csv_is_found_out(results):
    path = results / "good" / "emobox" / "fold_1.csv"
    path.write_text(path.read_text().replace(",calm,calm,", ",calm,sad,", 1))
    with pytest.raises(DatasetError, match="they are not of one run"):
        compare([results])


def test_a_folder_without_folds_is_one_sentence(tmp_path):
    script = [sys.executable, str(REPOSITORY / "finetune" / "compare.py"), "nowhere"]
    done = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "no fold_<k>.json" in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
