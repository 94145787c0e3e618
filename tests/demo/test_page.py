"""What the pages answer, without a browser and without a server."""

import logging
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
import soundfile
from gradio.data_classes import FileData
from sounds import write_sound

from ser_hf import EmotionClassifier
from ser_hf.audio import SAMPLING_RATE
from ser_hf.classifier import EMBEDDED, Segment
from ser_hf.demo import about, analyse, live, markup
from ser_hf.demo.analyse import ATTENTION_CAPTION, EVEN_CAPTION, EXAMPLES, HINT, PLAIN_CAPTION
from ser_hf.demo.chart import MAX_BARS, NO_SPEECH, bars, colors
from ser_hf.demo.checkpoints import Checkpoints
from ser_hf.demo.page import build_demo
from ser_hf.demo.uploads import KEEP_SECONDS, explain
from ser_hf.errors import ModelError, SerError
from ser_hf.labels import EMOTIONS

MAX_KEPT_SECONDS = 600
MAX_EXAMPLE_BYTES = 60_000


@pytest.fixture
def classifier(tiny_model) -> EmotionClassifier:
    return EmotionClassifier(*tiny_model("whisper"), name="tiny/random", device="cpu")


@pytest.fixture
def checkpoints(classifier) -> Checkpoints:
    return Checkpoints(classifier)


def as_file(waveform: np.ndarray, path: Path) -> str:
    soundfile.write(path, waveform, SAMPLING_RATE)
    return str(path)


def test_a_clip_is_answered_with_the_emotion_its_confidence_and_a_figure(checkpoints, speech_file):
    prediction = checkpoints.main.predict(speech_file)
    answer = analyse.analyse(checkpoints, str(speech_file))
    assert f"<strong>{prediction.label}</strong>" in answer
    assert f"{100 * prediction.score:.0f} %" in answer
    assert re.findall(r'<th scope="row">(\w+)</th>', answer) == list(EMOTIONS)
    assert "<svg" in answer
    assert "What the model listened to" in answer


def test_an_answer_below_the_threshold_says_not_sure_and_what_it_may_be(checkpoints, speech_file):
    prediction = checkpoints.main.predict(speech_file)
    checkpoints.main.model.config.uncertainty_threshold = prediction.score + 0.01
    answer = analyse.analyse(checkpoints, str(speech_file))
    assert "<strong>Not sure</strong>" in answer
    assert f"perhaps {prediction.label}" in answer
    checkpoints.main.model.config.uncertainty_threshold = prediction.score - 0.01
    assert "Not sure" not in analyse.analyse(checkpoints, str(speech_file))


def test_two_models_answer_side_by_side_each_under_its_name(checkpoints, speech_file):
    assert "log_mel_cnn_ravdess" in checkpoints.names
    answer = analyse.analyse(checkpoints, str(speech_file), "log_mel_cnn_ravdess")
    assert re.findall(r"<h3>(.*?)</h3>", answer) == ["tiny/random", "log_mel_cnn_ravdess"]
    assert answer.count("<svg") == 2
    assert (
        answer.count("What the model listened to") == answer.count(PLAIN_CAPTION) == 1
    )  # the baseline has no weights


@pytest.mark.parametrize(
    ("weights", "caption"),
    [(None, PLAIN_CAPTION), (np.ones(50), EVEN_CAPTION), (np.r_[np.ones(50), 5 * np.ones(5)], ATTENTION_CAPTION)],
    ids=["no weights", "even", "uneven"],
)
def test_moments_are_said_to_have_decided_only_where_some_weighed_more(
    checkpoints, speech_file, monkeypatch, weights, caption
):
    weights = weights if weights is None else weights / weights.sum()
    prediction = replace(checkpoints.main.predict(speech_file), attention=weights)
    monkeypatch.setattr(checkpoints.main, "predict", lambda _: prediction)
    answer = analyse.analyse(checkpoints, str(speech_file))
    assert [text in answer for text in (PLAIN_CAPTION, EVEN_CAPTION, ATTENTION_CAPTION)].count(True) == 1
    assert caption in answer


def test_a_visitor_can_name_a_folder_only_where_that_is_allowed(classifier, speech_file, tmp_path):
    strange = Checkpoints(classifier)
    with pytest.raises(ModelError, match="not offered here"):
        strange.get(str(EMBEDDED))
    assert str(EMBEDDED) not in " ".join(strange.names)  # names tell nothing about this machine's folders
    own = Checkpoints(classifier, any_name=True)
    answer = analyse.analyse(own, str(speech_file), str(tmp_path))
    assert "has no config.json" in answer
    assert 'role="alert"' in answer


def test_all_probabilities_stand_in_the_order_of_the_model_whatever_their_size():
    scores = dict(zip(EMOTIONS, (0.004, 0.1, 0.05, 0.02, 0.7, 0.1, 0.02, 0.006), strict=True))
    table = markup.probabilities(scores)
    assert re.findall(r'<th scope="row">(\w+)</th>', table) == list(EMOTIONS)
    assert re.findall(r'class="score">([^<]*) %', table) == ["&lt;1", "10", "5", "2", "70", "10", "2", "&lt;1"]
    assert len(set(re.findall(r"background:(#\w+)", table))) == len(EMOTIONS)


def test_without_a_clip_a_hint_says_what_to_do(checkpoints):
    assert HINT in analyse.analyse(checkpoints, None)


@pytest.mark.parametrize("content", [b"", b"this is text", bytes(2_000)])
def test_a_bad_file_is_answered_with_the_message_that_names_it_and_nothing_else(checkpoints, tmp_path, content):
    path = tmp_path / "notes.wav"
    path.write_bytes(content)
    answer = analyse.analyse(checkpoints, str(path))
    assert answer.startswith('<p class="problem" role="alert">')
    assert "notes.wav" in answer
    assert str(tmp_path) not in answer
    assert "<svg" not in answer


def test_an_upload_that_was_deleted_meanwhile_is_said_to_be(checkpoints, tmp_path):
    answer = analyse.analyse(checkpoints, str(tmp_path / "clip.wav"))
    assert "clip.wav is no longer here" in answer
    assert str(tmp_path) not in answer


def test_a_fault_of_ours_is_one_sentence_and_the_log_does_not_name_the_recording(
    checkpoints, speech_file, monkeypatch, caplog
):
    def fail(*_):
        raise RuntimeError(f"cannot draw {speech_file.name}")

    monkeypatch.setattr(analyse, "sound_figure", fail)
    with caplog.at_level(logging.DEBUG):
        answer = analyse.analyse(checkpoints, str(speech_file))
    assert "Something went wrong" in answer
    assert "RuntimeError" in caplog.text  # for the one who runs the server
    assert "sound_figure" in caplog.text
    assert speech_file.name not in caplog.text + answer


def test_the_name_of_a_file_cannot_put_markup_on_the_page(checkpoints, tmp_path):
    path = tmp_path / "<img onerror=alert(1)>.wav"
    path.write_bytes(b"no sound")
    assert "<img" not in analyse.analyse(checkpoints, str(path))


@pytest.mark.parametrize("suffix", ["m4a", "webm"])
def test_m4a_and_webm_reach_the_model_without_an_ffmpeg_program(checkpoints, speech, tmp_path, monkeypatch, suffix):
    file = write_sound(speech, tmp_path / f"clip.{suffix}")
    monkeypatch.setenv("PATH", "")
    component = gr.Audio(type="filepath")
    path = component.preprocess(FileData(path=str(file)))
    assert component.postprocess(path).path == path
    assert "<strong>" in analyse.analyse(checkpoints, path)


def test_the_public_endpoints_need_only_files_and_uploads_are_kept_ten_minutes_at_most(classifier):
    demo = build_demo(classifier)
    endpoints = demo.get_api_info()["named_endpoints"]
    assert list(endpoints) == ["/predict", "/timeline", "/batch"]
    for endpoint in endpoints.values():
        needed = [p["parameter_name"] for p in endpoint["parameters"] if not p["parameter_has_default"]]
        assert needed in (["file"], ["files"])
        assert endpoint["description"]
        assert endpoint["returns"][0]["type"]["type"] in ("object", "array")  # typed, not "any valid json"
    frequency, age = demo.delete_cache
    assert age == KEEP_SECONDS
    assert frequency + age <= MAX_KEPT_SECONDS
    assert not demo.analytics_enabled


@pytest.mark.parametrize("path", EXAMPLES.values(), ids=list(EXAMPLES))
def test_examples_are_small_and_can_be_analysed(checkpoints, path):
    info = soundfile.info(path)
    assert (info.samplerate, info.channels) == (16_000, 1)
    assert path.stat().st_size < MAX_EXAMPLE_BYTES
    assert "<strong>" in analyse.analyse(checkpoints, str(path))


def segments(count: int, window: float = 3.0, hop: float = 1.0, silent: tuple[int, ...] = ()) -> list[Segment]:
    """A timeline in which one emotion follows the other."""
    made = []
    for number in range(count):
        times = (number * hop, number * hop + window)
        label = EMOTIONS[number % len(EMOTIONS)]
        scores = {name: 0.65 if name == label else 0.05 for name in EMOTIONS}
        made.append(Segment(*times, None, None, None) if number in silent else Segment(*times, label, 0.65, scores))
    return made


def test_every_bar_of_a_chart_is_full_and_silence_is_no_emotion():
    data, width = bars(segments(20, silent=(4, 5, 6)), EMOTIONS, hop=1.0)
    assert width == 1.0
    assert data.groupby("time")["probability"].sum().to_numpy() == pytest.approx(1)
    quiet = data[(data["emotion"] == NO_SPEECH) & (data["probability"] > 0)]
    assert quiet["time"].tolist() == [5.5, 6.5, 7.5]  # the middles of the silent windows
    assert set(quiet["probability"]) == {1.0}
    assert list(data["emotion"].unique()) == list(colors(EMOTIONS))  # the order of the colours does not depend on data


def test_the_chart_of_hours_is_light_and_of_a_part_of_it_is_exact():
    hours = segments(7_200)
    data, width = bars(hours, EMOTIONS, hop=1.0)
    assert data["time"].nunique() <= MAX_BARS + 1
    assert width >= 7_200 / MAX_BARS
    part, width = bars(hours, EMOTIONS, hop=1.0, limits=(600.0, 660.0))
    assert width == 1.0
    assert part["time"].between(599, 661).all() and part["time"].nunique() >= 59


def test_all_colours_of_a_chart_differ():
    assert len(set(colors(EMOTIONS).values())) == len(EMOTIONS) + 1


def test_a_microphone_is_answered_for_every_half_second_that_it_brings(classifier, speech):
    rate = 48_000
    sound = np.repeat(np.concatenate([speech] * 4), rate // SAMPLING_RATE)
    stream = live.Stream()
    with ThreadPoolExecutor(1) as workers:
        for start in range(0, len(sound), rate // 10):
            stream.add(sound[start : start + rate // 10, None], rate)
            if stream.answer is not None:
                stream.answer.result()
            live.follow(classifier, stream, workers)
    seconds = len(sound) / rate
    assert len(stream.samples) == live.WINDOW_SECONDS * rate  # what is kept does not grow
    assert len(stream.segments) == pytest.approx(min(seconds, live.SHOWN_SECONDS) / live.HOP_SECONDS, abs=1)
    ends = [segment.end for segment in stream.segments]
    assert np.diff(ends) == pytest.approx(live.HOP_SECONDS)
    assert any(segment.label for segment in stream.segments)
    silence = live.listen(classifier, np.zeros(rate * 3, np.float32), rate, 1, 1)
    assert silence == [Segment(0.0, 0.5, None, None, None)]


def test_the_card_has_figures_protocol_confusion_matrix_limits_and_misuse():
    metrics = about.read_metrics(EMBEDDED)
    figures = about.figures(metrics)
    assert f"{100 * metrics['test']['unweighted_accuracy']:.1f} %" in figures
    assert "unseen speakers" in figures
    assert figures.count('scope="row"') >= len(EMOTIONS)
    matrix = figures.split("Confusion matrix")[1].split("</table>")[0]
    counts = [int(count) for count in re.findall(r">(\d+)</td>", matrix)]
    assert sum(counts) == metrics["test"]["clips"]
    words = about.words(EMBEDDED)
    for part in ("### Data", "### Limits", "Not for", "acted"):
        assert part in words


def test_the_card_shows_the_calibration_where_it_was_measured():
    metrics = about.read_metrics(EMBEDDED)
    row = {"low": 0.4, "high": 0.6, "clips": 7, "confidence": 0.5, "accuracy": 0.25}
    metrics["calibration"] = {
        "temperature": 1.2, "uncertainty_threshold": 0.45, "expected_calibration_error": 0.0312, "bins": [row],
        "uncertain_share": 0.2, "errors_caught": None,
    }  # fmt: skip
    figures = about.figures(metrics)
    assert "40 to 60 %" in figures and "25 %" in figures and "3.12 %" in figures


def test_a_model_without_a_card_is_not_praised(tmp_path):
    assert about.read_metrics(None) is None
    assert about.read_metrics(tmp_path) is None
    assert "Not for" in about.words(None)
    assert "RAVDESS" not in about.words(tmp_path)


def test_an_error_of_the_visitor_is_told_as_it_is():
    assert explain(SerError("The clip is too long.")) == "The clip is too long."


def test_a_segment_is_shown_like_a_prediction_also_when_it_is_uncertain():
    segment = replace(segments(1)[0], uncertain=True)
    assert "Not sure" in markup.answer(segment)
