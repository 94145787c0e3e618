"""Data sets that `datasets.load_dataset` reads: here local Parquet, through the real client."""

import datasets
import pytest

from conftest import write_clip
from ser_hf.audio import load_audio
from ser_hf.corpora import hub, load_corpus
from ser_hf.errors import DatasetError

EMOTIONS = ["anger", "boredom", "joy"]  # as the data set calls them


@pytest.fixture
def rows(tmp_path):
    """Six clips of two speakers: an MP3 among them, one that is no sound."""
    sounds = tmp_path / "sounds"
    paths = [write_clip(sounds / f"{n}.wav", rate=rate) for n, rate in enumerate((16_000, 8_000, 44_100, 22_050))]
    paths.append(write_clip(sounds / "4.wav", rate=44_100, seconds=0.5, kind="MP3"))
    (sounds / "5.wav").write_bytes(b"no sound")
    audio = [{"bytes": path.read_bytes(), "path": path.name} for path in [*paths, sounds / "5.wav"]]
    return {"audio": audio, "label": [0, 1, 2, 0, 1, 2], "speaker_id": [1, 1, 1, 2, 2, 2], "age": [30] * 6}


def publish(rows, folder, splits=("train",), audio="audio"):
    """A folder of Parquet shards, one per split, as `push_to_hub` leaves them."""
    folder.mkdir()
    dataset = datasets.Dataset.from_dict(rows).cast_column(audio, datasets.Audio(decode=False))
    if "label" in rows:
        dataset = dataset.cast_column("label", datasets.ClassLabel(names=EMOTIONS))
    for number, split in enumerate(splits):
        dataset.shard(len(splits), number).to_parquet(folder / f"{split}-00000-of-00001.parquet")
    return folder


@pytest.mark.parametrize("streaming", [False, True])
def test_a_data_set_with_sounds_in_it_gives_the_common_columns(rows, tmp_path, streaming):
    corpus = load_corpus(publish(rows, tmp_path / "speech"), streaming=streaming)
    dataset = corpus.dataset
    assert corpus.name == "speech"
    assert dataset.column_names == ["audio", "label", "speaker", "corpus", "file", "duration"]
    assert dataset.features["label"].names == ["happy", "angry", "bored"]
    assert [dataset.features["label"].names[label] for label in dataset["label"]] == [
        "angry", "bored", "happy", "angry", "bored",
    ]  # fmt: skip
    assert list(dataset["speaker"]) == ["1", "1", "1", "2", "2"]
    assert list(dataset["file"]) == [f"{n}.wav" for n in range(5)]
    assert [round(seconds, 2) for seconds in dataset["duration"][:4]] == [0.25] * 4
    assert load_audio(dataset[1]["audio"]).shape == (4_000,)
    assert [file for file, _ in corpus.left_out] == ["5.wav"]
    assert "5 clips" in corpus.summary and "2 speakers" in corpus.summary and "1 left out" in corpus.summary


@pytest.mark.parametrize("streaming", [False, True])
def test_all_splits_are_joined_or_one_is_chosen(rows, tmp_path, streaming):
    folder = publish(rows, tmp_path / "speech", splits=("train", "test"))
    assert len(load_corpus(folder, streaming=streaming).dataset) == 5
    some = load_corpus(folder, streaming=streaming, dataset_split="train")
    assert list(some.dataset["file"]) == ["0.wav", "1.wav", "2.wav"]
    with pytest.raises(DatasetError, match="dev"):
        load_corpus(folder, streaming=streaming, dataset_split="dev")


def test_a_stream_is_read_again_when_its_files_have_changed(rows, tmp_path):
    folder = publish(rows, tmp_path / "speech")
    before = load_corpus(folder, streaming=True).dataset
    assert load_corpus(folder, streaming=True).dataset._fingerprint == before._fingerprint
    shard = next(folder.glob("*.parquet"))
    shorter = {column: values[:3] for column, values in rows.items()}
    publish(shorter, tmp_path / "new")
    shard.write_bytes(next((tmp_path / "new").glob("*.parquet")).read_bytes())
    assert len(load_corpus(folder, streaming=True).dataset) == 3


def test_words_other_columns_and_a_label_map_are_taken(rows, tmp_path):
    rows["what"] = ["Wut", "Langeweile", "Freude", "Wut", "Langeweile", "Freude"]
    rows["sound"] = rows.pop("audio")
    del rows["label"], rows["speaker_id"]
    publish(rows, tmp_path / "speech", audio="sound")
    corpus = load_corpus(tmp_path / "speech", label_column="what", label_map={"Langeweile": None})
    assert corpus.dataset.features["label"].names == ["happy", "angry"]
    assert "audio" in corpus.dataset.column_names and "speakers unknown" in corpus.summary
    with pytest.raises(DatasetError, match=r"hold the label; its columns are: age, what, sound.*--label_column"):
        load_corpus(tmp_path / "speech")
    with pytest.raises(DatasetError, match="no column 'who'"):
        load_corpus(tmp_path / "speech", label_column="what", speaker_column="who")


def test_speakers_are_told_by_the_names_of_a_known_corpus(rows, tmp_path):
    for number, audio in enumerate(rows["audio"]):
        audio["path"] = f"{('03', '08')[number % 2]}a0{1 + number % 2}Fa.wav"
    del rows["speaker_id"]
    corpus = load_corpus(publish(rows, tmp_path / "speech"))
    assert set(corpus.dataset["speaker"]) == {"03", "08"}
    assert corpus.dataset["file"][0].startswith("0/")  # names that are there twice get the number of their row


def test_rows_without_sound_or_label_are_left_out(rows, tmp_path):
    rows["audio"][0] = None
    rows["label"][1] = -1
    corpus = load_corpus(publish(rows, tmp_path / "speech"))
    assert sorted(reason for _, reason in corpus.left_out)[:2] == ["5.wav is no sound", "has no label"] or {
        "has no label", "has no sound",
    } <= {reason for _, reason in corpus.left_out}  # fmt: skip


def test_the_sounds_are_trained_from_as_those_of_files_are(rows, tmp_path):
    from ser_hf.modeling import SerFeatureExtractor
    from ser_hf.training.data import cache_waveforms

    cached = cache_waveforms(load_corpus(publish(rows, tmp_path / "speech")).dataset, SerFeatureExtractor())
    assert len(cached[0]["waveform"]) == cached[0]["length"] > 0


def test_what_is_nowhere_is_one_sentence():
    with pytest.raises(DatasetError, match=r"someone/nothing is no folder, no table and no data set"):
        load_corpus("someone/nothing")


def test_a_folder_that_is_missing_in_an_existing_one_is_not_looked_for_on_the_hub(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DatasetError, match="no corpus 'data/mine'"):
        load_corpus("data/mine")


def test_a_name_of_the_hub_is_handed_to_the_client(rows, tmp_path, monkeypatch):
    folder = publish(rows, tmp_path / "speech")
    real, asked = datasets.load_dataset, []

    def from_the_hub(name, *arguments, **options):
        asked.append(name)
        return real(str(folder), *arguments, **options)

    monkeypatch.setattr(hub.datasets, "load_dataset", from_the_hub)
    assert load_corpus("someone/speech").name == "speech"
    assert asked == ["someone/speech"]
