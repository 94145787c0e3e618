"""What someone gets who publishes a corpus: the same clips for everyone who loads it, or a licence that says no."""

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from datasets import Audio
from huggingface_hub import DatasetCard

from ser_hf import DatasetError, HubError
from ser_hf.audio import load_audio
from ser_hf.corpora import load_corpus
from ser_hf.hub_dataset import push_dataset
from ser_hf.licenses import card_fields, may_be_passed_on

REPOSITORY = Path(__file__).parents[2]

CLIENT = """
import hashlib, json, sys
from datasets import Audio, load_dataset
from ser_hf.audio import load_audio

def described(row):
    samples = hashlib.sha256(load_audio(row.pop("audio")).tobytes()).hexdigest()
    return row | {"samples": samples}

whole = load_dataset("someone/acted", split="train", cache_dir=sys.argv[1])
stream = load_dataset("someone/acted", split="train", streaming=True, revision="main")
print(json.dumps({
    "features": {name: str(feature) for name, feature in whole.features.items()},
    "stream_features": {name: str(feature) for name, feature in stream.features.items()},
    "labels": whole.features["label"].names,
    "whole": [described(row) for row in whole.cast_column("audio", Audio(decode=False))],
    "stream": [described(row) for row in stream.cast_column("audio", Audio(decode=False))],
}))
"""


@pytest.fixture
def corpus(corpus_dir):
    return load_corpus("ravdess", str(corpus_dir))


def test_a_corpus_on_the_hub_is_the_same_corpus_loaded_whole_or_streamed(hub, corpus, tmp_path):
    push_dataset(corpus, "someone/acted", protocol="speaker", shard_bytes=600_000)
    files = hub.files("someone/acted", kind="datasets")
    assert sorted(files)[0] == "README.md" and len(files) > 3  # several shards
    assert any(request.startswith("PUT /lfs/") for request in hub.requests)

    script = tmp_path / "client.py"
    script.write_text(CLIENT)
    command = [sys.executable, str(script), str(tmp_path / "cache")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=False)
    assert done.returncode == 0, done.stderr
    loaded = json.loads(done.stdout.splitlines()[-1])
    assert list(loaded["features"]) == [*corpus.dataset.column_names, "fold"]
    assert loaded["features"] == loaded["stream_features"]
    assert loaded["features"]["audio"] == str(Audio())
    assert loaded["labels"] == corpus.dataset.features["label"].names
    expected = []
    for row in corpus.dataset:
        samples = load_audio(row.pop("audio"))
        expected.append(row | {"samples": hashlib.sha256(samples.tobytes()).hexdigest()})
    for way in ("whole", "stream"):
        folds = {}
        for ours, theirs in zip(expected, loaded[way], strict=True):
            assert folds.setdefault(theirs["speaker"], theirs["fold"]) == theirs.pop("fold")
            assert ours == theirs
        assert set(folds.values()) == {1, 2, 3, 4, 5}


def test_fewer_shards_replace_more_and_no_clip_is_there_twice(hub, corpus):
    push_dataset(corpus, "someone/acted", shard_bytes=600_000)
    push_dataset(corpus, "someone/acted")
    assert set(hub.files("someone/acted", kind="datasets")) == {"README.md", "data/train-00000-of-00001.parquet"}


def test_the_card_says_what_the_hub_reads_and_who_is_in_which_fold(corpus, tmp_path):
    push_dataset(corpus, "someone/acted", protocol="speaker", dry_run=tmp_path / "dry")
    card = DatasetCard.load(tmp_path / "dry" / "README.md")
    assert card.data.license == "cc-by-nc-sa-4.0" and card.data.language == ["en"]
    assert card.data.task_categories == ["audio-classification"] and card.data.size_categories == "n<1K"
    assert card.data.configs[0]["data_files"] == [{"split": "train", "path": "data/train-*"}]
    assert {"name": "audio", "dtype": "audio"} in card.data.dataset_info["features"]
    assert card.data.dataset_info["splits"][0]["num_examples"] == len(corpus.dataset) == 96
    assert corpus.citation in card.text and "unseen speakers, 5 folds over speakers" in card.text
    assert card.text.count("| neutral | 12 |") == 1
    again = DatasetCard(str(card))
    assert again.data.to_dict() == card.data.to_dict()


def test_a_licence_that_forbids_it_stops_the_push_unless_the_owner_says_otherwise(hub, corpus, tmp_path):
    closed = replace(corpus, license="free for research")
    with pytest.raises(DatasetError, match=r"free for research.*--i_may_redistribute"):
        push_dataset(closed, "someone/acted")
    assert not hub.repos
    push_dataset(closed, "someone/acted", may_redistribute=True)
    card = DatasetCard(hub.files("someone/acted", kind="datasets")["README.md"].decode())
    assert card.data.license == "other" and card.data.license_name == "free for research"
    assert "published by its owner" in card.text


@pytest.mark.parametrize(("license", "shared", "header"), [
    ("CC BY-NC-SA 4.0", True, {"license": "cc-by-nc-sa-4.0"}),
    ("cc-by-4.0", True, {"license": "cc-by-4.0"}),
    ("ODbL 1.0", True, {"license": "odbl"}),
    ("CC BY-NC-ND 4.0", False, {"license": "cc-by-nc-nd-4.0"}),
    ("ask the authors", False, {"license": "other", "license_name": "ask the authors"}),
    ("", False, {}),
])  # fmt: skip
def test_licences(license, shared, header):
    assert may_be_passed_on(license) is shared
    assert card_fields(license) == header


def test_a_name_that_holds_something_else_is_not_overwritten(hub, corpus):
    hub.add("someone/cats", {"README.md": b"", "cats.csv": b"1,2"}, kind="datasets")
    with pytest.raises(HubError, match=r"someone/cats is taken by something .* cats\.csv"):
        push_dataset(corpus, "someone/cats")
    assert "cats.csv" in hub.files("someone/cats", kind="datasets")


def test_a_recording_that_is_gone_is_named(corpus, corpus_dir, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(corpus_dir, copy)
    lost = load_corpus("ravdess", str(copy))
    gone = Path(lost.dataset[3]["audio"]["path"])
    gone.unlink()
    with pytest.raises(DatasetError, match=gone.name):
        push_dataset(lost, "someone/acted", dry_run=tmp_path / "dry")
    assert not (tmp_path / "dry").exists()


def test_the_command_stops_in_one_sentence(corpus_dir, tmp_path):
    script = [sys.executable, str(REPOSITORY / "finetune" / "push_dataset.py"), "ravdess", "some one/acted"]
    done = subprocess.run(
        [*script, "--data_dir", str(corpus_dir), "--protocol", "speaker", "--dry-run", "dry"],
        capture_output=True, text=True, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 1 and not (tmp_path / "dry").exists()
    assert "is no name of a repository" in done.stderr and "Traceback" not in done.stderr
