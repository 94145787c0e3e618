"""finetune/predict.py: a row for every clip, also after a stop, from any source and with any number of processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas
import pyarrow.parquet
import pytest
from datasets import Audio, Dataset, Features, Value

from conftest import write_clip
from ser_hf import EmotionClassifier, labelling
from ser_hf.errors import DatasetError
from ser_hf.labelling import find_clips, label_clips

SCRIPT = Path(__file__).parents[2] / "finetune" / "predict.py"
CLIPS_PER_SHARD = 4


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Path:
    """Ten clips of different lengths in three levels of folders; one of them is no sound, and a text beside them."""
    root = tmp_path_factory.mktemp("recordings")
    for number in range(9):
        folder = [root, root / "anna", root / "anna" / "deeper"][number % 3]
        write_clip(folder / f"clip{number}.wav", sound=number, seconds=0.8 - 0.07 * number)
    (root / "anna" / "broken.wav").write_bytes(b"this is no sound")
    (root / "notes.txt").write_text("not a clip")
    return root


@pytest.fixture(scope="module")
def labels(recordings, published_files, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("labels") / "whole"
    label(published_files, recordings, output)
    return output


def label(model: Path, source: Path, output: Path, **options) -> dict:
    options = {"clips_per_shard": CLIPS_PER_SHARD, "batch_size": 2, **options}
    return label_clips(model, lambda: find_clips(str(source)), output, **options)


def test_every_clip_of_a_folder_has_a_row_and_a_bad_file_its_error(labels, recordings, published_files):
    table = pandas.read_parquet(labels)  # the folder as it is
    assert sorted(path.name for path in labels.glob("*.parquet")) == [
        f"part-0000{n}-of-00003.parquet" for n in range(3)
    ]
    assert list(table["row"]) == list(range(10))
    files = sorted(path.relative_to(recordings).as_posix() for path in recordings.rglob("*.wav"))
    assert sorted(table["file"]) == files
    classifier = EmotionClassifier.from_pretrained(published_files)
    bad = table[table["file"] == "anna/broken.wav"].iloc[0]
    assert "cannot be read as audio" in bad["error"] and pandas.isna(bad["label"]) and pandas.isna(bad["score"])
    for row in table[table["error"].isna()].to_dict("records"):
        alone = classifier.predict(recordings / row["file"])
        assert row["label"] == alone.label and row["uncertain"] == alone.uncertain
        assert row["duration"] == pytest.approx(alone.duration, abs=1e-3)
        assert {name: row[name] for name in alone.scores} == pytest.approx(alone.scores, abs=1e-4)
    summary = json.loads((labels / "_summary.json").read_text())
    assert (summary["clips"], summary["failed"], summary["processes"]) == (10, 1, 1)
    assert summary["emotions"] == {n: int((table["label"] == n).sum()) for n in classifier.labels}


def test_a_run_that_was_stopped_goes_on_without_a_gap_or_a_double_row(
    labels, recordings, published_files, tmp_path, monkeypatch
):
    write_table, written = pyarrow.parquet.write_table, []

    def stop_in_the_second(table, path):
        write_table(table, path)
        written.append(path)
        if len(written) == 2:
            path.write_bytes(path.read_bytes()[:100])
            raise KeyboardInterrupt

    monkeypatch.setattr(labelling.pq, "write_table", stop_in_the_second)
    with pytest.raises(KeyboardInterrupt):
        label(published_files, recordings, tmp_path / "labels")
    finished = tmp_path / "labels" / "part-00000-of-00003.parquet"
    before = finished.stat()
    assert len(pandas.read_parquet(tmp_path / "labels")) == CLIPS_PER_SHARD  # what is half written is not read
    summary = label(published_files, recordings, tmp_path / "labels")
    assert [path.name for path in written[2:]] == [".part-00001-of-00003.parquet.unfinished",
                                                   ".part-00002-of-00003.parquet.unfinished"]  # fmt: skip
    assert (finished.stat().st_ino, finished.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    pandas.testing.assert_frame_equal(pandas.read_parquet(tmp_path / "labels"), pandas.read_parquet(labels))
    assert summary["clips"] == 10


def test_two_processes_write_what_one_does(labels, recordings, published_files, tmp_path):
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(SCRIPT),
        str(recordings), "--model", str(published_files), "--output", str(tmp_path / "labels"), "--batch_size", "2",
        "--clips_per_shard", str(CLIPS_PER_SHARD),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode == 1  # a clip could not be used
    assert done.stdout.count("10 clips") == 1 and "1 could not be used" in done.stdout
    assert "2 processes" in done.stderr
    assert json.loads((tmp_path / "labels" / "_summary.json").read_text())["processes"] == 2
    pandas.testing.assert_frame_equal(pandas.read_parquet(tmp_path / "labels"), pandas.read_parquet(labels))


def test_labels_of_another_model_or_of_other_clips_are_not_mixed(recordings, published_files, labels, tmp_path):
    with pytest.raises(DatasetError, match=r"holds labels of the model .*give another --output"):
        label(None, recordings, labels)
    for number in range(2):
        write_clip(tmp_path / f"{number}.wav")
    with pytest.raises(DatasetError, match=r"labels of the 10 clips of .*, not of these 2 of .*another --output"):
        label(published_files, tmp_path, labels)
    with pytest.raises(DatasetError, match="go on with --clips_per_shard 4"):
        label(published_files, recordings, labels, clips_per_shard=5)


def test_a_table_needs_no_labels_and_says_of_each_row_what_became_of_it(recordings, published_files, tmp_path):
    table = tmp_path / "calls.csv"
    table.write_text(f"id,path\n1,{recordings / 'clip0.wav'}\n2,gone.wav\n3,\n4,{recordings / 'clip0.wav'}\n")
    assert label(published_files, table, tmp_path / "labels")["failed"] == 2
    rows = pandas.read_parquet(tmp_path / "labels")
    assert list(rows["file"]) == [str(recordings / "clip0.wav"), "gone.wav", "", str(recordings / "clip0.wav")]
    assert "There is no file" in rows["error"][1] and "names no sound" in rows["error"][2]
    assert rows["label"][0] == rows["label"][3]


def test_a_data_set_with_its_sounds_inside_is_labelled(recordings, published_files, tmp_path):
    files = sorted(recordings.glob("*.wav"))
    sounds = [{"bytes": path.read_bytes(), "path": path.name} for path in files]
    features = Features({"audio": {"bytes": Value("binary"), "path": Value("string")}})
    dataset = Dataset.from_dict({"audio": sounds}, features=features).cast_column("audio", Audio(decode=False))
    (tmp_path / "data").mkdir()
    dataset.to_parquet(tmp_path / "data" / "train.parquet")
    assert label(published_files, tmp_path / "data", tmp_path / "labels")["failed"] == 0
    rows = pandas.read_parquet(tmp_path / "labels")
    alone = EmotionClassifier.from_pretrained(published_files).predict(files)
    assert list(rows["file"]) == [path.name for path in files]
    assert list(rows["label"]) == [prediction.label for prediction in alone]


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda folder: folder, "holds no sounds"),
        (lambda folder: write_clip(folder / "one.wav"), "single file"),
        (lambda folder: folder / "missing.csv", "cannot be read"),
    ],
)
def test_a_source_that_is_none_is_one_sentence(make, expected, tmp_path):
    with pytest.raises(DatasetError, match=expected):
        find_clips(str(make(tmp_path)))


def test_the_script_says_what_it_found(recordings, published_files, tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(SCRIPT.parent)
    import predict

    arguments = ["predict.py", str(recordings / "anna" / "deeper"), "--model", str(published_files)]
    monkeypatch.setattr(sys, "argv", [*arguments, "--output", str(tmp_path / "labels")])
    assert predict.main() == 0
    assert "3 clips, 0.00 h" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", [*arguments, "--output", str(tmp_path / "labels"), "--clips_per_shard", "7"])
    assert predict.main() == 1
    assert "--clips_per_shard 1000" in capsys.readouterr().err
