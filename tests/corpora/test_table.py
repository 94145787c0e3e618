"""CSV, TSV and JSON Lines files that name the clips."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import write_clip
from ser_hf.corpora import load_corpus
from ser_hf.corpora.columns import choose_columns, text
from ser_hf.errors import DatasetError

ROWS = [
    {"path": "a.wav", "emotion": "Freude", "speaker": "anna"},
    {"path": "b.wav", "emotion": "sad", "speaker": "ben"},
    {"path": "sub/c.wav", "emotion": "SAD", "speaker": "anna"},
]


def write_table(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    names = list(dict.fromkeys(name for row in rows for name in row))
    if path.suffix == ".jsonl":
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    else:
        separator = {".tsv": "\t", ".csv": ","}[path.suffix]
        lines = [separator.join(names), *(separator.join(str(row.get(name, "")) for name in names) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def sounds(tmp_path):
    for row in ROWS:
        write_clip(tmp_path / row["path"])
    return tmp_path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_every_format_gives_the_same_clips(sounds, suffix):
    corpus = load_corpus(write_table(sounds / f"clips{suffix}", ROWS))
    assert corpus.name == "clips"
    names = corpus.dataset.features["label"].names
    assert names == ["happy", "sad"]
    assert [names[label] for label in corpus.dataset["label"]] == ["happy", "sad", "sad"]
    assert list(corpus.dataset["speaker"]) == ["anna", "ben", "anna"]
    assert list(corpus.dataset["file"]) == [row["path"] for row in ROWS]
    assert corpus.summary.endswith("nothing left out")


def test_semicolons_a_byte_order_mark_and_quotes_of_a_spreadsheet_are_understood(sounds):
    table = sounds / "clips.csv"
    text = 'Path;Emotion;Speaker;remark\r\na.wav;"Wut";1;"two\nlines; here"\r\nb.wav;Ekel;2;\r\n'
    table.write_bytes(b"\xef\xbb\xbf" + text.encode())
    corpus = load_corpus(table)
    assert corpus.dataset.features["label"].names == ["angry", "disgust"]
    assert list(corpus.dataset["speaker"]) == ["1", "2"]


def test_columns_can_be_named(sounds):
    rows = [{"wo": row["path"], "path": "?", "what": row["emotion"], "wer": row["speaker"]} for row in ROWS]
    table = write_table(sounds / "clips.csv", rows)
    corpus = load_corpus(table, audio_column="wo", label_column="what", speaker_column="wer")
    assert (len(corpus.dataset), set(corpus.dataset["speaker"])) == (3, {"anna", "ben"})
    with pytest.raises(
        DatasetError, match=r"no column 'where' \(--audio_column\); its columns are: wo, path, what, wer"
    ):
        load_corpus(table, audio_column="where")
    with pytest.raises(DatasetError, match=r"hold the label; its columns are: wo, path, what, wer.*--label_column"):
        load_corpus(table)


def test_relative_paths_are_looked_for_beside_the_table_and_in_the_data_folder(sounds, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write_clip(elsewhere / "a.wav")
    rows = [*ROWS, {"path": str(write_clip(sounds / "absolute.wav")), "emotion": "sad", "speaker": "eve"}]
    rows[2] = {**rows[2], "path": "sub\\c.wav"}  # written on Windows
    table = write_table(elsewhere / "clips.jsonl", rows)
    corpus = load_corpus(table, sounds)
    assert list(corpus.dataset["file"]) == ["a.wav", "b.wav", "sub/c.wav", "absolute.wav"]
    assert corpus.dataset["audio"][0]["path"] == str(elsewhere / "a.wav")
    alone = load_corpus(table)
    assert [file for file, _ in alone.left_out] == ["b.wav", "sub\\c.wav"]
    assert "b.wav, sub\\c.wav: does not exist" in alone.summary


def test_rows_that_cannot_be_used_are_left_out_with_the_reason(sounds):
    (sounds / "broken.wav").write_bytes(b"no sound")
    bad = [
        {"path": "a.wav", "emotion": "sad", "speaker": "anna"},
        {"path": "", "emotion": "sad", "speaker": "anna"},
        {"path": "broken.wav", "emotion": "sad", "speaker": "ben"},
        {"path": str(write_clip(sounds / "d.wav")), "emotion": "", "speaker": "ben"},
        {"path": str(write_clip(sounds / "e.wav")), "emotion": "sad", "speaker": ""},
    ]
    corpus = load_corpus(write_table(sounds / "clips.csv", ROWS + bad))
    assert len(corpus.dataset) == 3
    assert dict(corpus.left_out) == {
        "a.wav": "there twice, the first row counts", "row 5": "names no file", "d.wav": "has no label",
        "e.wav": "has no speaker, others have",
        "broken.wav": dict(corpus.left_out)["broken.wav"],
    }  # fmt: skip
    assert "5 left out" in corpus.summary


def test_without_a_speaker_column_the_speakers_are_unknown(sounds):
    rows = [{"path": row["path"], "emotion": row["emotion"]} for row in ROWS]
    corpus = load_corpus(write_table(sounds / "clips.csv", rows))
    assert "speaker" not in corpus.dataset.column_names and "speakers unknown" in corpus.summary


def test_other_known_columns_are_taken_over(sounds):
    rows = [{**row, "gender": "female", "age": 30} for row in ROWS]
    dataset = load_corpus(write_table(sounds / "clips.jsonl", rows)).dataset
    assert set(dataset["gender"]) == {"female"} and "age" not in dataset.column_names


def test_class_numbers_can_be_named_by_a_label_map(sounds):
    rows = [{**row, "emotion": number} for row, number in zip(ROWS, (0, 1, 1.0), strict=True)]
    corpus = load_corpus(write_table(sounds / "clips.jsonl", rows), label_map={"0": "neutral", "1": "angry"})
    assert corpus.dataset.features["label"].names == ["neutral", "angry"]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.csv", b"", "has no rows"),
        ("a.csv", b"path,emotion\n", "has no rows"),
        ("a.csv", "path,emotion\na.wav,ärger\n".encode("latin-1"), "not UTF-8"),
        ("a.jsonl", b'{"path": "a.wav"\n', "Line 1 of .* is not JSON"),
        ("a.jsonl", b'["a.wav"]\n', "Line 1 of .* is a list"),
        ("a.jsonl", b'{"path": "a.wav", "emotion": ["sad"]}\n', "A cell holds a list"),
        ("a.csv", b"path,emotion\nnowhere.wav,sad\n", "None of the 1 clips .* nowhere.wav does not exist.*--data_dir"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_sentence(sounds, name, content, reason):
    (sounds / name).write_bytes(content)
    with pytest.raises(DatasetError, match=reason):
        load_corpus(sounds / name)


def test_a_table_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"nowhere\.csv does not exist"):
        load_corpus(tmp_path / "nowhere.csv")


@given(st.lists(st.text(min_size=1), min_size=1, unique=True))
def test_columns_are_chosen_among_those_there_are_or_refused(columns):
    try:
        chosen = choose_columns(columns, "table", audio=None, label=None, speaker=None)
    except DatasetError as error:
        assert "--audio_column" in str(error) or "--label_column" in str(error)
    else:
        assert {column for column in chosen.values() if column is not None} <= set(columns)


@pytest.mark.parametrize(("value", "written"), [(None, ""), (float("nan"), ""), (3, "3"), (3.0, "3"), (" a ", "a")])
def test_cells_become_text(value, written):
    assert text(value) == written
