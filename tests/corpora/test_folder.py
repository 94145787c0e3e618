"""A folder of folders named by emotion."""

import pytest

from conftest import write_clip
from ser_hf.corpora import load_corpus
from ser_hf.errors import DatasetError


def names_of(corpus) -> list[tuple[str, str, str | None]]:
    """(file, emotion, speaker) of every clip."""
    dataset = corpus.dataset
    speakers = dataset["speaker"] if "speaker" in dataset.column_names else [None] * len(dataset)
    names = dataset.features["label"].names
    rows = zip(dataset["file"], dataset["label"], speakers, strict=True)
    return [(file, names[label], who) for file, label, who in rows]


def test_folders_are_classes_in_any_language_and_speakers_are_unknown(tmp_path):
    for file in ("Freude/1.wav", "anger/1.flac", "anger/2.wav", "pleasant surprise/a.wav", "smug/a.wav"):
        write_clip(tmp_path / "mine" / file)
    corpus = load_corpus(tmp_path / "mine")
    assert corpus.name == "mine"
    assert corpus.dataset.features["label"].names == ["happy", "angry", "surprised", "smug"]
    assert ("Freude/1.wav", "happy", None) in names_of(corpus)
    assert "speaker" not in corpus.dataset.column_names
    assert "speakers unknown: clips of one voice may be on both sides" in corpus.summary
    assert "not in the vocabulary, kept as classes: smug" in corpus.summary


@pytest.mark.parametrize(
    "layout", ["{speaker}/{emotion}/1.wav", "{emotion}/{speaker}/1.wav", "train/{speaker}/{emotion}/1.wav"]
)
def test_the_other_level_of_folders_is_taken_for_the_speaker_and_named(tmp_path, layout):
    for speaker in ("anna", "ben"):
        for emotion in ("happy", "sad"):
            write_clip(tmp_path / layout.format(speaker=speaker, emotion=emotion))
    corpus = load_corpus(tmp_path)
    assert {(emotion, who) for _, emotion, who in names_of(corpus)} == {
        ("happy", "anna"), ("happy", "ben"), ("sad", "anna"), ("sad", "ben"),
    }  # fmt: skip
    assert "the folders anna, ben are taken for speakers" in corpus.summary


def test_training_and_test_folders_are_no_speakers(tmp_path):
    for part in ("train", "test"):
        for emotion in ("happy", "sad"):
            write_clip(tmp_path / part / emotion / "1.wav")
    corpus = load_corpus(tmp_path)
    assert len(corpus.dataset) == 4 and "speaker" not in corpus.dataset.column_names


def test_of_two_other_levels_the_one_that_says_speaker_counts(tmp_path):
    for session in ("s1", "s2"):
        for speaker in ("speaker_1", "speaker_2"):
            for emotion in ("happy", "sad"):
                write_clip(tmp_path / session / speaker / emotion / "1.wav")
    assert {who for *_, who in names_of(load_corpus(tmp_path))} == {"speaker_1", "speaker_2"}


def test_speakers_are_told_by_file_names_of_a_known_corpus(tmp_path):
    for emotion, code in (("angry", "05"), ("sad", "04")):
        for actor in ("01", "02"):
            write_clip(tmp_path / emotion / f"03-01-{code}-01-01-01-{actor}.wav")
    corpus = load_corpus(tmp_path)
    assert {who for *_, who in names_of(corpus)} == {"01", "02"}
    assert set(corpus.dataset["gender"]) == {"male", "female"}
    assert "speakers by the file names, which are those of ravdess" in corpus.summary


def test_a_known_corpus_is_recognised_by_its_file_names(tmp_path):
    for name in ("03a01Fa", "08a02Wb"):
        write_clip(tmp_path / "berlin" / f"{name}.wav")
    assert load_corpus(tmp_path / "berlin").name == "emodb"


def test_strays_are_named_and_bad_sounds_left_out(tmp_path):
    for file in ("happy/1.wav", "sad/1.wav", "jingle.wav"):
        write_clip(tmp_path / file)
    write_clip(tmp_path / "sad" / "2.wav", rate=44_100, kind="MP3")
    (tmp_path / "sad" / "notes.txt").write_text("stray")
    (tmp_path / "sad" / "3.wav").write_bytes(b"no sound")
    (tmp_path / "sad" / "._1.wav").write_bytes(b"of macOS")
    corpus = load_corpus(tmp_path)
    assert [file for file, *_ in names_of(corpus)] == ["happy/1.wav", "sad/1.wav", "sad/2.wav"]
    assert [file for file, _ in corpus.left_out] == ["jingle.wav", "sad/3.wav"]
    assert "jingle.wav: is in no folder named by an emotion" in corpus.summary


def test_a_label_map_renames_and_leaves_out(tmp_path):
    for file in ("happy/1.wav", "Freude/2.wav", "sad/1.wav", "noise/1.wav"):
        write_clip(tmp_path / file)
    corpus = load_corpus(tmp_path, label_map={"Freude": "joy", "sad": "gloomy", "noise": None})
    assert {(file, emotion) for file, emotion, _ in names_of(corpus)} == {
        ("happy/1.wav", "joy"), ("Freude/2.wav", "joy"), ("sad/1.wav", "gloomy"),
    }  # fmt: skip
    assert "noise: left out by the label map" in corpus.summary


def test_emotions_that_nobody_knows_are_classes_where_there_is_one_level(tmp_path):
    for file in ("smug/1.wav", "grumpy/1.wav"):
        write_clip(tmp_path / file)
    assert load_corpus(tmp_path).dataset.features["label"].names == ["grumpy", "smug"]


@pytest.mark.parametrize("files", [[], ["one.wav", "two.wav"], ["a/b/1.wav", "c/d/1.wav"]])
def test_a_folder_that_names_no_emotions_says_what_was_expected(tmp_path, files):
    for file in files:
        write_clip(tmp_path / file)
    with pytest.raises(DatasetError, match=r"No folder of clips named by its emotion in .*expected happy/one\.wav"):
        load_corpus(tmp_path)


def test_a_loop_of_links_ends(tmp_path):
    for emotion in ("happy", "sad"):
        write_clip(tmp_path / emotion / "1.wav")
    (tmp_path / "sad" / "again").symlink_to(tmp_path, target_is_directory=True)
    assert len(load_corpus(tmp_path).dataset) == 2
