import logging
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from conftest import write_clip
from ser_hf.audio import load_audio
from ser_hf.corpora import load_corpus, ravdess
from ser_hf.errors import DatasetError
from ser_hf.labels import EMOTIONS
from ser_hf.splits import assert_no_leak, make_folds

SPEECH = "Audio_Speech_Actors_01-24"
SONG = "Audio_Song_Actors_01-24"
RATE = 16_000  # Hz


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    monkeypatch.delenv("SER_DATA_DIR", raising=False)


@pytest.fixture
def tree(tmp_path):
    """Two actors with three speech clips each, one of them with two songs."""
    for actor in (1, 2):
        for name in ("03-01-01-01-01-01", "03-01-05-02-02-01", "03-01-08-01-01-02"):
            write_clip(tmp_path / SPEECH / f"Actor_{actor:02d}" / f"{name}-{actor:02d}.wav")
    for name in ("03-02-06-02-01-01-02", "03-02-01-01-02-02-02"):
        write_clip(tmp_path / SONG / "Actor_02" / f"{name}.wav")
    return tmp_path


def test_a_file_name_says_everything_about_the_clip():
    clip = ravdess.parse_file_name("Actor_12/03-01-06-01-02-01-12.wav")
    assert clip == ravdess.Clip("audio-only", "speech", "fearful", "normal", "Dogs are sitting by the door", 1, 12)
    assert (clip.speaker, clip.gender) == ("12", "female")
    assert ravdess.parse_file_name("02-02-05-02-01-02-07") == ravdess.Clip(
        "video-only", "song", "angry", "strong", "Kids are talking by the door", 2, 7
    )
    assert ravdess.parse_file_name("03-01-01-01-01-01-07").gender == "male"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("hello.wav", "seven two-digit codes"),
        ("03-01-06-01-02-01.wav", "seven two-digit codes"),
        ("03-01-06-01-02-01-12 (1).wav", "seven two-digit codes"),
        ("03-01-6-01-02-01-12.wav", "seven two-digit codes"),
        ("04-01-06-01-02-01-12.wav", "modality: 04, expected 01 to 03"),
        ("03-03-06-01-02-01-12.wav", "vocal channel: 03, expected 01 to 02"),
        ("03-01-09-01-02-01-12.wav", "emotion: 09, expected 01 to 08"),
        ("03-01-06-03-02-01-12.wav", "intensity: 03"),
        ("03-01-06-01-00-01-12.wav", "statement: 00"),
        ("03-01-06-01-02-03-12.wav", "repetition: 03"),
        ("03-01-06-01-02-01-25.wav", "actor: 25, expected 01 to 24"),
        ("03-01-01-02-02-01-12.wav", "strong neutral"),
        ("03-02-07-01-02-01-12.wav", "disgust in song"),
    ],
)
def test_a_name_outside_the_convention_is_refused_with_the_reason(name, reason):
    with pytest.raises(DatasetError, match=reason.replace("(", r"\(")):
        ravdess.parse_file_name(name)


def test_speech_has_the_common_columns(tree):
    dataset = ravdess.load(tree).dataset
    assert dataset.column_names == [
        *("audio", "label", "speaker", "gender", "intensity", "statement", "repetition", "channel", "language"),
        *("corpus", "file", "duration"),
    ]
    assert dataset.features["label"].names == list(EMOTIONS)
    row = dataset[4]
    assert row | {"audio": None} == {
        "audio": None,
        "label": EMOTIONS.index("angry"),
        "speaker": "02",
        "gender": "female",
        "intensity": "strong",
        "statement": "Dogs are sitting by the door",
        "repetition": 1,
        "channel": "speech",
        "language": "en",
        "corpus": "ravdess",
        "file": f"{SPEECH}/Actor_02/03-01-05-02-02-01-02.wav",
        "duration": 0.25,
    }
    assert load_audio(row["audio"]).shape == (RATE // 4,)


def test_song_has_six_labels_and_both_has_eight(tree):
    song = ravdess.load(tree, channel="song").dataset
    assert song.features["label"].names == ["neutral", "calm", "happy", "sad", "angry", "fearful"]
    assert [song.features["label"].int2str(label) for label in song["label"]] == ["neutral", "fearful"]
    both = ravdess.load(tree, channel="both").dataset
    assert both.features["label"].names == list(EMOTIONS)
    assert list(both["channel"]) == ["speech"] * 6 + ["song"] * 2


def test_an_unknown_channel_is_refused(tree):
    with pytest.raises(DatasetError, match="speech, song, both"):
        ravdess.load(tree, channel="whisper")


@pytest.mark.parametrize("subfolder", ["", SPEECH])
def test_the_folder_may_be_the_archive_or_lie_above_it(tree, subfolder):
    assert len(ravdess.load(tree / subfolder).dataset) == 6


def test_actor_folders_may_lie_in_the_folder_itself_with_speech_and_song_mixed(tmp_path):
    write_clip(tmp_path / "Actor_01" / "03-01-01-01-01-01-01.flac")
    write_clip(tmp_path / "Actor_01" / "03-02-01-01-01-01-01.flac")
    speech = ravdess.load(tmp_path)
    assert list(speech.dataset["file"]) == ["Actor_01/03-01-01-01-01-01-01.flac"]
    assert speech.left_out == []


def test_the_order_of_rows_does_not_depend_on_the_layout(tree, tmp_path_factory):
    flat = tmp_path_factory.mktemp("flat")
    for path in (tree / SPEECH).rglob("*.wav"):
        (flat / path.parent.name).mkdir(exist_ok=True)
        (flat / path.parent.name / path.name).write_bytes(path.read_bytes())
    names = [[Path(file).name for file in ravdess.load(root).dataset["file"]] for root in (tree, flat)]
    assert names[0] == names[1] == sorted(names[0], key=lambda name: (name[-6:-4], name))


def test_what_is_left_out_is_named_with_its_reason_and_logged_once(tree, caplog):
    actor = tree / SPEECH / "Actor_01"
    write_clip(actor / "take one.wav")
    write_clip(actor / "03-01-02-01-01-01-02.wav")
    write_clip(actor / "01-01-02-01-01-01-01.wav")
    write_clip(actor / "03-02-02-01-01-01-01.wav")
    write_clip(tree / SPEECH / "03-01-02-01-01-01-01.wav")
    (actor / "03-01-03-01-01-01-01.wav").write_bytes(b"this is no sound")
    (actor / "03-01-03-02-01-01-01.wav").write_bytes(b"")
    soundfile.write(actor / "03-01-04-01-01-01-01.wav", np.zeros(RATE), RATE)
    (actor / "02-01-03-01-01-01-01.mp4").write_bytes(b"a film")
    with caplog.at_level(logging.WARNING, "ser_hf.corpora.ravdess"):
        corpus = ravdess.load(tree, channel="both")
    reasons = {Path(file).name: reason for file, reason in corpus.left_out}
    expected = {
        "take one.wav": "seven two-digit codes",
        "03-01-02-01-01-01-02.wav": "actor 02 by its name, but in a folder of actor 01",
        "01-01-02-01-01-01-01.wav": "audio-video",
        "03-02-02-01-01-01-01.wav": "song by its name, but in a folder of speech",
        "03-01-02-01-01-01-01.wav": "not in a folder Actor_NN",
        "03-01-03-01-01-01-01.wav": "cannot be read",
        "03-01-03-02-01-01-01.wav": "empty",
        "03-01-04-01-01-01-01.wav": "silent",
        "02-01-03-01-01-01-01.mp4": "video-only",
    }
    assert reasons.keys() == expected.keys()
    assert {name: expected[name] in reason for name, reason in reasons.items()} == dict.fromkeys(expected, True)
    assert str(tree) not in " ".join(reasons.values())
    assert len(corpus.dataset) == 8
    assert len(caplog.records) == 1
    assert "take one.wav" in caplog.text


def test_a_file_that_breaks_off_is_left_out(tree):
    whole = write_clip(tree / SPEECH / "Actor_01" / "03-01-02-01-01-01-01.flac", seconds=2.0)
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    wave = write_clip(tree / SPEECH / "Actor_01" / "03-01-02-02-01-01-01.wav", seconds=2.0)
    wave.write_bytes(wave.read_bytes()[: wave.stat().st_size // 2])
    left_out = dict(ravdess.load(tree).left_out)
    assert "can be decoded" in left_out[f"{SPEECH}/Actor_01/{whole.name}"]
    assert "cut off" in left_out[f"{SPEECH}/Actor_01/{wave.name}"]


def test_stray_files_are_ignored_quietly(tree):
    actor = tree / SPEECH / "Actor_01"
    for name in (".DS_Store", "notes.txt", "._03-01-01-01-01-01-01.wav"):
        (actor / name).write_bytes(b"not a clip")
    write_clip(tree / "__MACOSX" / "Actor_01" / "03-01-02-01-01-01-01.wav")
    write_clip(tree / "emodb" / "wav" / "03a01Fa.wav")
    corpus = ravdess.load(tree)
    assert (len(corpus.dataset), corpus.left_out) == (6, [])


def test_a_clip_that_is_there_as_wav_and_flac_is_taken_once(tree):
    write_clip(tree / SPEECH / "Actor_01" / "03-01-01-01-01-01-01.flac")
    corpus = ravdess.load(tree)
    assert len(corpus.dataset) == 6
    assert corpus.left_out == [
        (f"{SPEECH}/Actor_01/03-01-01-01-01-01-01.flac", "the same clip as Actor_01/03-01-01-01-01-01-01.wav")
    ]


def test_a_second_copy_of_the_archive_is_not_loaded_twice(tree):
    for path in list((tree / SPEECH).rglob("*.wav")):  # the layout of the copy on Kaggle
        copy = tree / path.parent.name / path.name
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(path.read_bytes())
    corpus = ravdess.load(tree)
    assert len(corpus.dataset) == len(corpus.left_out) == 6
    assert corpus.duplicates == []


def test_one_recording_under_two_names_is_kept_and_reported(tree):
    first = write_clip(tree / SPEECH / "Actor_01" / "03-01-03-01-02-01-01.wav", sound=7)
    second = write_clip(tree / SPEECH / "Actor_01" / "03-01-03-01-02-02-01.flac", sound=7)
    corpus = ravdess.load(tree)
    assert len(corpus.dataset) == 8
    assert corpus.duplicates == [(f"{SPEECH}/Actor_01/{second.name}", f"{SPEECH}/Actor_01/{first.name}")]
    assert second.name in corpus.summary


def test_missing_actors_and_clips_are_named(tree):
    speech = ravdess.load(tree).warnings
    assert "actors 03, 04, 05" in speech[0]
    assert speech[1] == "speech: fewer than 60 clips of actors 01 (3), 02 (3)"
    song = ravdess.load(tree, channel="song").warnings
    assert " 17, 19," in song[0]  # actor 18 has no songs in the published archive, so none is missing


def test_without_verification_headers_alone_are_read(tree):
    broken = write_clip(tree / SPEECH / "Actor_01" / "03-01-02-01-01-01-01.wav", sound=7)
    write_clip(tree / SPEECH / "Actor_01" / "03-01-02-02-01-01-01.wav", sound=7)
    corpus = ravdess.load(tree, verify=False)
    assert (len(corpus.dataset), corpus.duplicates) == (8, [])
    broken.write_bytes(b"this is no sound")
    assert [Path(file).name for file, _ in ravdess.load(tree, verify=False).left_out] == [broken.name]


def test_the_summary_is_one_line_of_what_is_there_and_what_is_not(tree):
    (tree / SPEECH / "Actor_01" / "take one.wav").write_bytes(b"")
    summary = ravdess.load(tree).summary
    assert "\n" not in summary
    for part in ("6 clips", "0.00 h", "2 speakers", "8 emotions", "neutral, calm", "1 left out", "take one.wav"):
        assert part in summary


def test_a_folder_without_clips_says_what_was_expected_and_what_is_there(tmp_path):
    (tmp_path / "cats").mkdir()
    (tmp_path / "readme.md").touch()
    with pytest.raises(DatasetError, match=r"(?s)Audio_Speech_Actors_01-24/Actor_NN.*cats/, readme.md.*--data_dir"):
        ravdess.load(tmp_path)


def test_a_folder_without_the_asked_channel_says_so(tree):
    with pytest.raises(DatasetError, match="No song clip of RAVDESS"):
        ravdess.load(tree / SPEECH, channel="song")


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(DatasetError, match="nowhere does not exist"):
        load_corpus("ravdess", str(tmp_path / "nowhere"))


def test_an_unknown_corpus_is_refused_with_those_that_are_known():
    with pytest.raises(DatasetError, match=r"no corpus 'radvess'; known are: .*ravdess"):
        load_corpus("radvess")


@pytest.mark.parametrize("above", [True, False])
def test_the_environment_names_the_folder_or_the_one_above(tree, monkeypatch, above):
    root = tree
    if above:
        root = tree / "corpora"
        root.mkdir()
        (tree / SPEECH).rename(tree / "moving")
        (root / "ravdess").mkdir()
        (tree / "moving").rename(root / "ravdess" / SPEECH)
    monkeypatch.setenv("SER_DATA_DIR", str(root))
    assert len(load_corpus("ravdess").dataset) == 6
    assert len(load_corpus("ravdess", str(root)).dataset) == 6


def test_audio_paths_hold_from_any_working_directory(tree, monkeypatch):
    monkeypatch.chdir(tree)
    dataset = ravdess.load(".").dataset
    assert all(Path(audio["path"]).is_absolute() for audio in dataset["audio"])


@pytest.mark.real_data
def test_the_real_speech_is_complete(data_dir):
    corpus = ravdess.load(data_dir / "ravdess")
    dataset = corpus.dataset
    names = dataset.features["label"].names
    assert len(dataset) == 1440
    assert Counter(dataset["speaker"]) == {f"{actor:02d}": 60 for actor in range(1, 25)}
    counts = Counter(names[label] for label in dataset["label"])
    assert counts == {emotion: 96 if emotion == "neutral" else 192 for emotion in EMOTIONS}
    assert (corpus.left_out, corpus.warnings) == ([], [])
    pairs = [tuple(Path(file).stem for file in pair) for pair in corpus.duplicates]
    assert pairs == [("03-01-03-01-02-02-07", "03-01-03-01-02-01-07")]
    assert 1.47 < sum(dataset["duration"]) / 3600 < 1.49


@pytest.mark.real_data
def test_the_real_song_is_complete(data_dir):
    corpus = ravdess.load(data_dir / "ravdess", channel="song")
    assert len(corpus.dataset) == 1012
    assert Counter(corpus.dataset["speaker"]) == {f"{actor:02d}": 44 for actor in range(1, 25) if actor != 18}
    assert (corpus.left_out, corpus.warnings) == ([], [])


@pytest.mark.real_data
def test_the_emobox_folds_of_the_real_speech_have_240_test_clips_each(data_dir):
    dataset = ravdess.load(data_dir / "ravdess", verify=False).dataset
    folds = make_folds(dataset, "emobox")
    assert [len(fold.test) for fold in folds] == [240] * 6
    assert [len(fold.validation) for fold in folds] == [240] * 6
    for fold in folds:
        assert_no_leak(dataset, fold)
        assert Counter(dataset.select(fold.validation)["gender"]) == {"male": 120, "female": 120}
