"""From the arguments of a run to its clips: any data set, with the protocol that it can be divided by."""

import logging

import pytest

from conftest import write_clip
from ser_hf.errors import DatasetError
from ser_hf.settings import different_settings, settings_of
from ser_hf.training.arguments import DataArguments, parse_arguments
from ser_hf.training.folds import load_data, settle_protocol

UNKNOWN = "speakers unknown: clips of one voice may be on both sides"


@pytest.fixture
def emodb(tmp_path):
    """Ten speakers, three emotions."""
    for speaker in ("03", "08", "09", "10", "11", "12", "13", "14", "15", "16"):
        for emotion in "FTW":
            write_clip(tmp_path / "emodb" / "wav" / f"{speaker}a01{emotion}a.wav")
    return tmp_path


def test_the_default_protocol_falls_back_to_speaker_folds_and_says_so(emodb, caplog):
    arguments = DataArguments(dataset=["emodb"], data_dir=str(emodb))
    with caplog.at_level(logging.WARNING, "ser_hf.training.folds"):
        corpus, fold = load_data(arguments)
    assert fold.protocol == "unseen speakers, 5 folds over speakers"
    assert "'emobox' cannot be used here: it names actors of RAVDESS and this is emodb" in caplog.text
    sides = [set(corpus.dataset.select(rows)["speaker"]) for rows in (fold.train, fold.validation, fold.test)]
    assert [len(side) for side in sides] == [6, 2, 2]  # a fifth of the training speakers chooses the epoch
    settled = settle_protocol(arguments)
    assert (settled.protocol, settled.num_folds) == ("speaker", 5)
    assert settle_protocol(settled) == settled


def test_a_number_of_validation_speakers_that_was_asked_for_is_kept(emodb):
    corpus, fold = load_data(DataArguments(dataset=["emodb"], data_dir=str(emodb), validation_speakers=3))
    assert len(set(corpus.dataset.select(fold.validation)["speaker"])) == 3


def test_without_speakers_the_words_beside_every_figure_say_so(tmp_path):
    for emotion in ("happy", "sad"):
        for number in range(10):
            write_clip(tmp_path / "mine" / emotion / f"{number}.wav")
    arguments = DataArguments(dataset=[str(tmp_path / "mine")])
    _, fold = load_data(arguments)
    assert UNKNOWN in fold.protocol
    assert (len(fold.train), len(fold.validation), len(fold.test)) == (12, 4, 4)
    assert settle_protocol(arguments).protocol == "clip"


def test_two_speakers_are_two_folds_and_the_test_speaker_is_not_heard(tmp_path):
    for speaker in ("OAF", "YAF"):
        for word in ("back", "bar", "base", "bath", "bean"):
            for emotion in ("angry", "sad"):
                write_clip(tmp_path / "tess" / f"{speaker}_{emotion}" / f"{speaker}_{word}_{emotion}.wav")
    corpus, fold = load_data(DataArguments(dataset=["tess"], data_dir=str(tmp_path), fold=2))
    assert fold.protocol == "unseen speakers, 2 folds over speakers"
    heard = set(corpus.dataset.select(fold.train + fold.validation)["speaker"])
    assert heard.isdisjoint(corpus.dataset.select(fold.test)["speaker"]) and fold.validation
    with pytest.raises(DatasetError, match="no fold 3; the folds are 1, 2"):
        load_data(DataArguments(dataset=["tess"], data_dir=str(tmp_path), fold=3))


def test_ravdess_is_not_read_to_know_that_its_folds_fit():
    arguments = DataArguments(data_dir="nowhere")
    assert settle_protocol(arguments) == arguments


@pytest.mark.parametrize(
    ("written", "names"),
    [("dataset: ravdess", ["ravdess"]), ("dataset: [ravdess, emodb]", ["ravdess", "emodb"]), ("fold: 1", ["ravdess"])],
)
def test_data_sets_are_named_in_yaml_or_on_the_command_line(tmp_path, written, names):
    (tmp_path / "config.yaml").write_text(written)
    config = str(tmp_path / "config.yaml")
    assert parse_arguments([config])[1].dataset == names
    assert parse_arguments([config, "--dataset", "emodb", "tess"])[1].dataset == ["emodb", "tess"]


def test_a_run_recorded_with_a_single_name_is_the_same_run(tmp_path):
    (tmp_path / "config.yaml").write_text(f"dataset: [{tmp_path / 'mine'}]")
    settings = settings_of(parse_arguments([str(tmp_path / "config.yaml")]))
    assert settings["dataset"] == ["mine"]
    assert different_settings({**settings, "dataset": "mine"}, settings) == ""
    assert "dataset" in different_settings({**settings, "dataset": "emodb"}, settings)
