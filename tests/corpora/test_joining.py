"""Several corpora as one, and label maps."""

import pytest

from conftest import write_clip
from ser_hf.corpora import load_corpus
from ser_hf.corpora.arguments import DatasetArguments, load_dataset_arguments
from ser_hf.errors import DatasetError
from ser_hf.splits import choose_protocol


@pytest.fixture
def data(tmp_path):
    """RAVDESS with calm, EmoDB with bored, a folder of one's own without speakers; happy and sad in all of them."""
    for actor in ("01", "02", "03"):
        for emotion in ("02", "03", "04", "05"):  # calm, happy, sad, angry
            write_clip(tmp_path / "ravdess" / f"Actor_{actor}" / f"03-01-{emotion}-01-01-01-{actor}.wav")
    for speaker in ("03", "08"):
        for emotion in "FTWL":  # happy, sad, angry, bored
            write_clip(tmp_path / "emodb" / f"{speaker}a01{emotion}a.wav")
    for emotion in ("happy", "sad", "smug"):
        write_clip(tmp_path / "mine" / emotion / "1.wav")
    return tmp_path


def load(data, *names, label_map=None):
    arguments = DatasetArguments(dataset=list(names), data_dir=str(data))
    if label_map is not None:
        (data / "map.yaml").write_text(label_map)
        arguments.label_map = str(data / "map.yaml")
    return load_dataset_arguments(arguments)


def counts(corpus) -> dict[str, int]:
    names = corpus.dataset.features["label"].names
    labels = list(corpus.dataset["label"])
    return {name: labels.count(number) for number, name in enumerate(names)}


def test_corpora_are_joined_over_their_common_emotions(data, caplog):
    caplog.set_level("INFO", logger="ser_hf")
    joined = load(data, "ravdess", "emodb")
    assert caplog.messages[-1] == joined.summary  # what they come to together, after each by itself
    assert joined.name == "ravdess+emodb"
    assert counts(joined) == {"happy": 5, "sad": 5, "angry": 5}
    assert set(joined.dataset["speaker"]) == {"ravdess/01", "ravdess/02", "ravdess/03", "emodb/03", "emodb/08"}
    assert set(joined.dataset["corpus"]) == {"ravdess", "emodb"}
    assert joined.dataset["file"][0].startswith("ravdess/Actor_01/")
    assert len(joined.left_out) == 5
    assert "calm: not in every data set" in joined.summary and "bored: not in every data set" in joined.summary
    assert set(joined.dataset["language"]) == {"en", "de"}
    assert "CC BY-NC-SA 4.0" in joined.license and "free for research" in joined.license
    assert choose_protocol(joined.dataset, "emobox")[0] == "speaker"


def test_a_label_is_the_same_class_in_every_part(data):
    joined = load(data, "emodb", "ravdess")
    names = joined.dataset.features["label"].names
    for row in joined.dataset:
        code = {"happy": ("F", "03"), "sad": ("T", "04"), "angry": ("W", "05")}[names[row["label"]]]
        stem = row["file"].rpartition("/")[2]
        assert stem[5] == code[0] if row["corpus"] == "emodb" else stem[6:8] == code[1]


def test_with_a_map_every_class_has_to_be_accounted_for(data):
    with pytest.raises(
        DatasetError, match=r"not have the same classes \(ravdess: neutral, happy, .*bored\).*Name bored in"
    ):
        load(data, "ravdess", "emodb", label_map="calm: neutral\n")
    merged = load(data, "ravdess", "emodb", label_map="calm: neutral\nbored: neutral\n")
    assert counts(merged) == {"neutral": 5, "happy": 5, "sad": 5, "angry": 5}
    assert merged.left_out == []
    kept = load(data, "ravdess", "emodb", label_map="calm: calm\nLangeweile:\n")
    assert counts(kept) == {"calm": 3, "happy": 5, "sad": 5, "angry": 5}
    assert "bored: left out by the label map" in kept.summary


def test_a_map_holds_for_a_single_corpus_too(data):
    corpus = load(data, "emodb", label_map="bored: neutral\nangry:\n")
    assert counts(corpus) == {"neutral": 2, "happy": 2, "sad": 2}
    assert "angry: left out by the label map" in corpus.summary
    with pytest.raises(DatasetError, match="No clip of emodb is left"):
        load_corpus("emodb", data, label_map=dict.fromkeys(("bored", "angry", "happy", "sad"), None))


def test_too_few_common_emotions_are_refused_with_both_lists(data):
    for emotion in ("happy", "smug"):
        write_clip(data / "other" / emotion / "1.wav")
    with pytest.raises(DatasetError, match=r"have 1 emotion in common \(ravdess: calm, .*other: happy, smug\)"):
        load(data, "ravdess", str(data / "other"))


def test_a_data_set_that_is_named_twice_is_refused(data):
    with pytest.raises(DatasetError, match="named twice: emodb, emodb"):
        load(data, "emodb", "emodb")


def test_a_part_without_speakers_makes_all_of_it_a_division_of_clips(data):
    joined = load(data, "ravdess", str(data / "mine"))
    assert "speaker" not in joined.dataset.column_names
    assert choose_protocol(joined.dataset, "speaker")[0] == "clip"
    assert "speakers unknown" in joined.summary
