import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser_hf.errors import DatasetError
from ser_hf.labels import EMOTIONS, canonical_emotion, emotion_of, in_order, read_label_map


def test_the_vocabulary_is_in_the_order_of_the_ravdess_file_codes():
    assert EMOTIONS == ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_every_name_of_the_vocabulary_stands_for_itself(emotion):
    assert canonical_emotion(emotion) == emotion
    assert canonical_emotion(f"  {emotion.upper()} ") == emotion


@pytest.mark.parametrize(
    ("alias", "emotion"),
    [
        ("fear", "fearful"),
        ("FEA", "fearful"),
        ("surprise", "surprised"),
        ("ps", "surprised"),
        ("pleasant_surprise", "surprised"),
        ("Pleasant Surprise", "surprised"),
        ("pleasant-surprised", "surprised"),
        ("PleasantSurprise", "surprised"),
        ("anger", "angry"),
        ("W", "angry"),
        ("happiness", "happy"),
        ("joy", "happy"),
        ("sadness", "sad"),
        ("disgusted", "disgust"),
        ("NEU", "neutral"),
        ("suprised", "surprised"),
        ("Freude", "happy"),
        ("Ärger", "angry"),
        ("A\u0308rger", "angry"),  # the same word, as macOS writes it in file names
        ("aerger", "angry"),
        ("Wut", "angry"),
        ("Trauer", "sad"),
        ("Angst", "fearful"),
        ("Ekel", "disgust"),
        ("Überraschung", "surprised"),
        ("Langeweile", "bored"),
        ("boredom", "bored"),
    ],
)
def test_aliases_of_other_corpora_and_languages_are_understood(alias, emotion):
    assert canonical_emotion(alias) == emotion


@pytest.mark.parametrize(
    ("label", "kept"),
    [
        ("Mild Irritation", "mild_irritation"),
        ("mildIrritation", "mild_irritation"),
        ("高兴", "高兴"),
        ("Spaß", "spass"),
    ],
)
def test_an_unknown_label_is_kept_as_a_class_in_snake_case(label, kept):
    assert canonical_emotion(label) == kept


@pytest.mark.parametrize("letter", ["A", "F", "E", "L", "T", "S"])
def test_letters_that_mean_different_things_in_different_corpora_are_not_guessed(letter):
    assert canonical_emotion(letter) == letter.lower()


@pytest.mark.parametrize("label", ["", "  ", "--"])
def test_an_empty_label_is_refused(label):
    with pytest.raises(DatasetError, match="empty"):
        canonical_emotion(label)


@given(st.text(min_size=1))
def test_a_name_that_was_mapped_once_is_not_changed_again(label):
    try:
        once = canonical_emotion(label)
    except DatasetError:
        return
    assert canonical_emotion(once) == once


def test_emotions_are_ordered_by_the_vocabulary_and_then_by_the_alphabet():
    assert in_order(["smug", "bored", "angry", "grumpy", "neutral", "angry"]) == (
        "neutral", "angry", "bored", "grumpy", "smug",
    )  # fmt: skip


def test_a_label_map_is_asked_for_the_label_as_written_then_by_its_name_then_the_vocabulary():
    label_map = {"W": "joy", "anger": "cross", "Ekel": None}
    assert emotion_of("W", label_map) == "joy"
    assert emotion_of("Wut", {"anger": "cross"}) == "cross"
    assert emotion_of("disgust", label_map) is None
    assert emotion_of("Trauer", label_map) == emotion_of("sad") == "sad"


def test_a_label_map_is_read_from_yaml(tmp_path):
    path = tmp_path / "map.yaml"
    path.write_text("bored: neutral\n0: angry\nLangeweile:\n", encoding="utf-8")
    assert read_label_map(path) == {"bored": "neutral", "0": "angry", "Langeweile": None}


@pytest.mark.parametrize("content", ["- bored\n", "bored: [a, b]\n", "a: b: c\n", ""])
def test_what_is_no_label_map_is_refused(tmp_path, content):
    (tmp_path / "map.yaml").write_text(content)
    with pytest.raises(DatasetError, match=r"label map .*map\.yaml"):
        read_label_map(tmp_path / "map.yaml")
    with pytest.raises(DatasetError, match="cannot be read"):
        read_label_map(tmp_path / "nowhere.yaml")
