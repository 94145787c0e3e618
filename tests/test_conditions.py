"""Noise, telephone, codec, room and short clips: that they are what they are called, and are heard by the model."""

import datasets
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_hf import EmotionClassifier
from ser_hf.audio import SAMPLING_RATE
from ser_hf.conditions import (
    FIRST_SECONDS,
    GAIN_DB,
    RT60,
    SNRS_DB,
    conditions,
    evaluate_conditions,
    first_seconds,
    format_conditions,
    reverberation,
)
from ser_hf.modeling import SerFeatureExtractor

NAMES = list(conditions([np.ones(10)]))
KEEP_LENGTH = [name for name in NAMES if not name.startswith("first")]


def tone(frequency: float, seconds: float, level: float = 0.3) -> np.ndarray:
    time = np.arange(round(seconds * SAMPLING_RATE)) / SAMPLING_RATE
    return (level * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


VOICES = [tone(150 + 40 * number, 0.7 + 0.1 * number) for number in range(8)]


def change(name: str, waveform: np.ndarray, seed: int = 0) -> np.ndarray:
    return conditions(VOICES)[name](waveform, np.random.default_rng(seed))


def test_there_are_all_that_are_reported_besides_the_clean_one():
    noises = [f"{noise}, {snr} dB" for noise in ("white noise", "babble") for snr in (20, 10, 0)]
    others = ["telephone", "MP3, 32 kbit/s", "gain −20 dB", "reverberation", "first 1 s", "first 2 s"]
    assert noises + others == NAMES
    assert not any("babble" in name for name in conditions([]))


@pytest.mark.parametrize("noise", ["white noise", "babble"])
@pytest.mark.parametrize("snr", SNRS_DB)
def test_noise_has_the_stated_distance_to_where_someone_speaks_and_lies_over_the_pauses_too(speech, noise, snr):
    start, end = SerFeatureExtractor().trim_bounds(speech)
    assert start > 0.2 * SAMPLING_RATE  # the clip opens with silence
    added = change(f"{noise}, {snr} dB", speech).astype(float) - speech
    measured = 10 * np.log10(np.mean(np.square(speech[start:end], dtype=float)) / np.mean(np.square(added)))
    assert measured == pytest.approx(snr, abs=0.1)
    assert np.mean(np.square(added[:start])) > 0.1 * np.mean(np.square(added))


def test_babble_is_made_of_several_of_the_voices(speech):
    added = change("babble, 0 dB", speech) - speech
    power = np.square(np.abs(np.fft.rfft(added)))
    frequencies = np.fft.rfftfreq(len(added), 1 / SAMPLING_RATE)
    heard = [power[np.abs(frequencies - 150 - 40 * n) < 10].sum() / power.sum() > 0.05 for n in range(len(VOICES))]
    assert sum(heard) == 6


def test_a_telephone_passes_the_middle_of_its_band_alone():
    levels = {f: change("telephone", tone(f, 2.0)).std() / tone(f, 2.0).std() for f in (60, 1000, 6000)}
    assert levels[1000] == pytest.approx(1, rel=0.1)
    assert levels[60] < 0.02 and levels[6000] < 0.02
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 2 * SAMPLING_RATE).astype(np.float32)
    power = np.square(np.abs(np.fft.rfft(change("telephone", noise))))
    above = np.fft.rfftfreq(len(noise), 1 / SAMPLING_RATE) > 4_000
    assert power[above].sum() < 1e-3 * power.sum()


def test_mp3_is_heard_at_the_same_moments(speech):
    decoded = change("MP3, 32 kbit/s", speech)
    assert len(decoded) == len(speech)
    assert not np.array_equal(decoded, speech)
    assert np.corrcoef(decoded, speech)[0, 1] > 0.9  # a delay of a few milliseconds would undo that


def test_the_gain_is_the_stated_one(speech):
    quieter = change("gain −20 dB", speech)
    assert 20 * np.log10(np.abs(quieter).max() / np.abs(speech).max()) == pytest.approx(GAIN_DB, abs=0.01)


def test_a_room_decays_by_60_db_in_the_stated_time():
    click = np.zeros(SAMPLING_RATE, dtype=np.float32)
    click[0] = 1
    response = reverberation(click, np.random.default_rng(0)).astype(float)
    assert np.sum(response[1:] ** 2) == pytest.approx(1, rel=0.1)  # as strong as the direct sound
    left = 10 * np.log10(np.cumsum(response[::-1] ** 2)[::-1])  # Schroeder's backward integration
    early, late = round(0.05 * SAMPLING_RATE), round(0.35 * SAMPLING_RATE)
    assert 60 * (0.35 - 0.05) / (left[early] - left[late]) == pytest.approx(RT60, rel=0.1)


@pytest.mark.parametrize("seconds", FIRST_SECONDS)
def test_short_clips_begin_where_speech_begins(speech, seconds):
    long = np.concatenate([speech, speech])
    start, _ = SerFeatureExtractor().trim_bounds(long)
    heard = first_seconds(long, np.random.default_rng(0), seconds)
    assert len(heard) == seconds * SAMPLING_RATE
    np.testing.assert_array_equal(heard, long[start : start + len(heard)])


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(NAMES), st.floats(0.1, 3.0), st.sampled_from([0.001, 0.1, 1.0]), st.integers(0, 9))
def test_any_length_and_level_gives_finite_sound_and_the_same_again(name, seconds, level, seed):
    waveform = tone(440, seconds, level)
    changed = change(name, waveform, seed)
    assert changed.dtype == np.float32 and np.isfinite(changed).all()
    assert len(changed) == len(waveform) if name in KEEP_LENGTH else 0 < len(changed) <= len(waveform)
    np.testing.assert_array_equal(changed, change(name, waveform, seed))


@pytest.mark.parametrize("name", NAMES)
def test_silence_is_handled(name):
    changed = change(name, np.zeros(SAMPLING_RATE, dtype=np.float32))
    assert np.isfinite(changed).all() and np.abs(changed).max() < 1e-3


@pytest.fixture
def corpus(tmp_path):
    """Two clips of each of three speakers, and a silent one."""
    files, speakers = [], []
    for speaker in "abc":
        for take in range(2):
            files.append(tmp_path / f"{speaker}{take}.wav")
            soundfile.write(files[-1], tone(200 + 100 * len(files), 0.5), SAMPLING_RATE)
            speakers.append(speaker)
    files.append(tmp_path / "silent.wav")
    soundfile.write(files[-1], np.zeros(8_000), SAMPLING_RATE)
    columns = {"audio": [str(file) for file in files], "label": [0, 1] * 3 + [0], "speaker": [*speakers, "a"]}
    dataset = datasets.Dataset.from_dict(columns).cast_column("label", datasets.ClassLabel(names=["calm", "sad"]))
    return dataset.cast_column("audio", datasets.Audio(decode=False))


def test_a_model_is_evaluated_under_every_condition_twice_alike(tiny_model, corpus):
    classifier = EmotionClassifier(*tiny_model())
    rows = [0, 3, 6]
    first = dict(evaluate_conditions(classifier, corpus, rows, batch_size=2))
    assert list(first) == NAMES
    for evaluation in first.values():
        assert len(evaluation.files) == 2
        assert [name for name, _ in evaluation.left_out] == [corpus[6]["audio"]["path"]]
    again = dict(evaluate_conditions(classifier, corpus, rows[1:2], batch_size=2))
    for name, evaluation in again.items():  # a clip's noise does not depend on what else is evaluated
        assert evaluation.scores[0] == pytest.approx(first[name].scores[1], abs=1e-5)


def test_babble_never_has_the_clips_own_voice(tiny_model, corpus, monkeypatch):
    import ser_hf.conditions as module

    heard = []

    def listen(waveform, rng, voices, snr_db):
        heard.append((waveform, voices))
        return waveform

    monkeypatch.setattr(module, "babble", listen)
    dict(evaluate_conditions(EmotionClassifier(*tiny_model()), corpus, [0, 5]))
    assert len(heard) == 2 * len(SNRS_DB)
    for waveform, voices in heard:
        own = np.fft.rfft(waveform)[:2_000]
        for voice in voices:
            assert np.abs(np.argmax(np.abs(np.fft.rfft(voice, len(waveform)))) - np.argmax(np.abs(own))) > 30


@pytest.mark.parametrize("speakers", [None, ["a"] * 7])
def test_without_other_speakers_there_is_no_babble(tiny_model, corpus, speakers):
    corpus = corpus.remove_columns("speaker")
    if speakers:
        corpus = corpus.add_column("speaker", speakers)
    names = dict(evaluate_conditions(EmotionClassifier(*tiny_model()), corpus, [0]))
    assert list(names) == [name for name in NAMES if "babble" not in name]


def test_the_table_says_what_a_condition_costs():
    clean = {"clips": 4, "unweighted_accuracy": 0.8, "accuracy": 0.75, "macro_f1": 0.7}
    table = format_conditions({"clean": clean, "telephone": {**clean, "unweighted_accuracy": 0.725}})
    assert "| telephone | 4 | 72.5 | 75.0 | 70.0 | 7.5 |" in table
