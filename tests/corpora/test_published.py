"""EmoDB, TESS, SAVEE and CREMA-D by their published file names."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import write_clip
from ser_hf.corpora import CORPORA, crema_d, emodb, load_corpus, savee, tess
from ser_hf.corpora.recordings import Clip
from ser_hf.errors import DatasetError
from ser_hf.labels import canonical_emotion

SPEECH = {"channel": "speech", "language": "en"}


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    monkeypatch.delenv("SER_DATA_DIR", raising=False)


@pytest.mark.parametrize(
    ("module", "name", "clip"),
    [
        (
            emodb,
            "03a01Fa.wav",
            Clip("happy", "03", "male", None, "Der Lappen liegt auf dem Eisschrank.", 1, "speech", "de"),
        ),
        (
            emodb,
            "16B10LB.WAV",
            Clip("bored", "16", "female", None, emodb.TEXTS["b10"], 2, "speech", "de"),
        ),
        (
            tess,
            "OAF_pleasant_surprise/OAF_back_ps.wav",
            Clip("surprised", "OAF", "female", statement="Say the word back", **SPEECH),
        ),
        (
            tess,
            "OAF_neutral/OA_bite_neutral.wav",
            Clip("neutral", "OAF", "female", statement="Say the word bite", **SPEECH),
        ),
        (tess, "YAF_gin_fear.wav", Clip("fearful", "YAF", "female", statement="Say the word gin", **SPEECH)),
        (savee, "ALL/DC_sa01.wav", Clip("sad", "DC", "male", repetition=1, **SPEECH)),
        (savee, "AudioData/KL/su15.wav", Clip("surprised", "KL", "male", repetition=15, **SPEECH)),
        (savee, "JK_a03.wav", Clip("angry", "JK", "male", repetition=3, **SPEECH)),
        (
            crema_d,
            "AudioWAV/1001_DFA_ANG_XX.wav",
            Clip("angry", "1001", "male", None, "Don't forget a jacket", None, **SPEECH),
        ),
        (
            crema_d,
            "1091_IEO_HAP_HI.wav",
            Clip("happy", "1091", "female", "high", "It's eleven o'clock", None, **SPEECH),
        ),
        (
            crema_d,
            "1040_ITH_SAD_X.wav",
            Clip("sad", "1040", "male", None, "I think I have a doctor's appointment", None, **SPEECH),
        ),
    ],
)
def test_a_file_name_says_who_speaks_and_how(module, name, clip):
    assert module.parse_file_name(Path(name)) == clip


@pytest.mark.parametrize(
    ("module", "name", "reason"),
    [
        (emodb, "hello.wav", "speaker, text, emotion and take"),
        (emodb, "04a01Fa.wav", "speaker: 04, expected one of 03, 08"),
        (emodb, "03a03Fa.wav", "text: a03"),
        (emodb, "03a01Xa.wav", "emotion: X"),
        (tess, "OAF_back.wav", "speaker, word and emotion"),
        (tess, "OAF_back_bored.wav", "emotion: bored, expected one of neutral, happy"),
        (tess, "MAF_back_sad.wav", "speaker: MAF"),
        (savee, "XX/sa01.wav", "speaker: XX, expected one of DC, JE, JK, KL"),
        (savee, "DC_x01.wav", "speaker, emotion and number"),
        (crema_d, "1001_DFA_ANG.wav", "actor, sentence, emotion and intensity"),
        (crema_d, "1092_DFA_ANG_XX.wav", "actor: 1092, expected 1001 to 1091"),
        (crema_d, "1001_DFA_SUR_XX.wav", "emotion: SUR"),
    ],
)
def test_a_name_outside_the_convention_is_refused_with_the_reason(module, name, reason):
    with pytest.raises(DatasetError, match=reason):
        module.parse_file_name(Path(name))


@given(st.text(max_size=20))
def test_any_name_is_parsed_or_refused_in_words(stem):
    for module in (emodb, tess, savee, crema_d):
        try:
            clip = module.parse_file_name(Path(f"{stem or 'x'}.wav"))
        except DatasetError:
            continue
        assert clip.emotion in module.EMOTIONS and clip.speaker


def test_the_classes_of_every_corpus_are_names_of_the_vocabulary():
    for module in (emodb, tess, savee, crema_d):
        assert set(module.CODES.values()) == set(module.EMOTIONS)
        assert [canonical_emotion(name) for name in module.EMOTIONS] == list(module.EMOTIONS)


def test_crema_d_has_43_women_among_91_actors():
    assert Counter(crema_d.GENDERS.values()) == {"male": 48, "female": 43}


LAYOUTS = {
    "emodb": ["wav/03a01Fa.wav", "wav/03a02Wb.wav", "wav/08b01Na.wav"],
    "tess": ["OAF_angry/OAF_back_angry.wav", "YAF_pleasant_surprised/YAF_back_ps.wav"],
    "savee": ["AudioData/DC/a01.wav", "AudioData/DC/n30.wav", "AudioData/JE/a01.wav"],
    "crema_d": ["AudioWAV/1001_DFA_ANG_XX.wav", "AudioWAV/1001_IEO_ANG_LO.wav", "AudioWAV/1001_IEO_ANG_HI.wav"],
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_each_corpus_is_found_in_its_published_layout(name, tmp_path, monkeypatch):
    for file in LAYOUTS[name]:
        write_clip(tmp_path / name / file)
    corpus = load_corpus(name, tmp_path)
    assert sorted(corpus.dataset["file"]) == sorted(LAYOUTS[name])
    assert set(corpus.dataset["corpus"]) == {corpus.name} == {name}
    assert (corpus.left_out, corpus.duplicates) == ([], [])
    assert corpus.license and corpus.citation
    labels = corpus.dataset.features["label"].names
    assert corpus.summary.startswith(f"{name}: {len(LAYOUTS[name])} clips, 0.00 h, ")
    assert f"{len(labels)} emotions ({', '.join(labels)}); nothing left out" in corpus.summary
    assert list(load_corpus(name, tmp_path / name).dataset["file"]) == list(corpus.dataset["file"])
    monkeypatch.setenv("SER_DATA_DIR", str(tmp_path))
    assert len(load_corpus(name).dataset) == len(LAYOUTS[name])


def test_a_folder_may_be_called_as_the_publisher_calls_it(tmp_path):
    write_clip(tmp_path / "CREMA-D" / "1001_DFA_ANG_XX.wav")
    write_clip(tmp_path / "EmoDB" / "03a01Fa.wav")
    assert len(load_corpus("crema_d", tmp_path).dataset) == len(load_corpus("emodb", tmp_path).dataset) == 1


def test_mixed_rates_wrong_suffixes_strays_and_second_copies_are_sorted_out(tmp_path):
    wav = tmp_path / "wav"
    write_clip(wav / "03a01Fa.wav", seconds=0.5, rate=44_100)
    write_clip(wav / "03a01Nc.wav", seconds=0.5, rate=8_000)
    write_clip(wav / "03a01Wa.wav", seconds=0.5, kind="MP3")  # not what its suffix says
    write_clip(tmp_path / "copy" / "wav" / "03a01Fa.flac")
    first, second = write_clip(wav / "08a01Fa.wav", sound=1), write_clip(wav / "08a02Fa.wav", sound=1)
    write_clip(wav / "interview.wav")
    (wav / "03a02Fc.wav").write_bytes(b"this is no sound")
    (wav / "readme.txt").write_text("stray")
    corpus = emodb.load(tmp_path)
    assert [Path(file).name for file in corpus.dataset["file"]] == [
        "03a01Fa.wav", "03a01Nc.wav", "03a01Wa.wav", first.name, second.name,
    ]  # fmt: skip
    assert corpus.dataset["duration"][:2] == [0.5, 0.5] and 0.4 < corpus.dataset["duration"][2] < 0.7
    assert [Path(file).name for file, _ in corpus.left_out] == ["03a01Fa.flac", "03a02Fc.wav", "interview.wav"]
    assert corpus.duplicates == [("wav/08a02Fa.wav", "wav/08a01Fa.wav")]
    for part in ("3 left out", "interview.wav", "the same clip as wav/03a01Fa.wav", "same recording twice"):
        assert part in corpus.summary


def test_a_folder_without_clips_says_what_was_expected(tmp_path):
    write_clip(tmp_path / "music.wav")
    with pytest.raises(DatasetError, match=r"No clip of TESS in .*expected OAF_pleasant_surprise/OAF_back_ps\.wav"):
        tess.load(tmp_path)


def test_without_a_folder_the_message_says_where_to_get_one():
    with pytest.raises(DatasetError, match=r"SAVEE is not downloaded.*--data_dir"):
        load_corpus("savee")


def test_every_known_corpus_can_be_imported():
    for name in CORPORA:
        with pytest.raises(DatasetError, match="nowhere does not exist"):
            load_corpus(name, "nowhere")


@pytest.mark.real_data
def test_the_real_emodb_is_complete(data_dir):
    corpus = emodb.load(data_dir / "emodb")
    names = corpus.dataset.features["label"].names
    assert Counter(names[label] for label in corpus.dataset["label"]) == {
        "angry": 127, "bored": 81, "neutral": 79, "happy": 71, "fearful": 69, "sad": 62, "disgust": 46,
    }  # fmt: skip
    assert len(set(corpus.dataset["speaker"])) == 10
    assert (corpus.left_out, corpus.duplicates, corpus.warnings) == ([], [], [])
    assert 0.40 < sum(corpus.dataset["duration"]) / 3600 < 0.42
