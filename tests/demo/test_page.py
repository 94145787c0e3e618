"""What the page answers, without a browser: the emotion, or a sentence that helps."""

import re
from pathlib import Path

import av
import gradio as gr
import numpy as np
import pytest
import soundfile
from gradio.data_classes import FileData

from ser_hf import EmotionClassifier
from ser_hf.__main__ import as_record
from ser_hf.demo import analyse as analyse_module
from ser_hf.demo import markup
from ser_hf.demo.analyse import ATTENTION_CAPTION, EXAMPLES, HINT, PLAIN_CAPTION, analyse, predict_record
from ser_hf.demo.page import KEEP_SECONDS, about, build_demo
from ser_hf.labels import EMOTIONS

MAX_KEPT_SECONDS = 600
MAX_EXAMPLE_BYTES = 60_000


@pytest.fixture
def classifier(tiny_model) -> EmotionClassifier:
    return EmotionClassifier(*tiny_model("whisper"), name="tiny/random", device="cpu")


def encoded(waveform: np.ndarray, path: Path, codec: str, rate: int, frame_size: int) -> Path:
    """A file as a telephone or a browser writes it, made with PyAV; waveform (samples,) float32 at 16 kHz."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray((waveform[None] * 32767).astype(np.int16), format="s16", layout="mono")
        frame.sample_rate = 16_000
        resampler = av.AudioResampler(format=stream.format, layout="mono", rate=rate, frame_size=frame_size)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(params=["m4a", "webm"])
def file_that_gradio_cannot_decode(request, speech, tmp_path) -> Path:
    """M4A and WebM, on a machine without the ffmpeg program."""
    codec, rate, frame_size = {"m4a": ("aac", 44_100, 1_024), "webm": ("libopus", 48_000, 960)}[request.param]
    return encoded(speech, tmp_path / f"clip.{request.param}", codec, rate, frame_size)


def test_a_clip_is_answered_with_the_emotion_its_confidence_and_a_figure(classifier, speech_file):
    prediction = classifier.predict(speech_file)
    answer, probabilities, figure = analyse(classifier, str(speech_file))
    assert f"<strong>{prediction.label}</strong>" in answer
    assert f"{100 * prediction.score:.0f} %" in answer
    assert probabilities
    assert "<svg" in figure
    assert "What the model listened to" in figure


def test_all_probabilities_stand_in_the_order_of_the_model_whatever_their_size():
    scores = dict(zip(EMOTIONS, (0.004, 0.1, 0.05, 0.02, 0.7, 0.1, 0.02, 0.006), strict=True))
    table = markup.probabilities(scores)
    assert re.findall(r'<th scope="row">(\w+)</th>', table) == list(EMOTIONS)
    assert re.findall(r'class="score">([^<]*) %', table) == ["&lt;1", "10", "5", "2", "70", "10", "2", "&lt;1"]
    assert len(set(re.findall(r"background:(#\w+)", table))) == len(EMOTIONS)


def test_a_model_without_attention_is_not_said_to_have_listened_anywhere(classifier, speech_file, monkeypatch):
    plain = classifier.predict(speech_file)
    monkeypatch.setattr(classifier, "predict", lambda _: type(plain)(**{**vars(plain), "attention": None}))
    figure = analyse(classifier, str(speech_file))[2]
    assert PLAIN_CAPTION in figure
    assert ATTENTION_CAPTION not in figure


def test_without_a_clip_a_hint_says_what_to_do(classifier):
    answer, probabilities, figure = analyse(classifier, None)
    assert HINT in answer
    assert (probabilities, figure) == ("", "")


@pytest.mark.parametrize("content", [b"", b"this is text", bytes(2_000)])
def test_a_bad_file_is_answered_with_the_message_that_names_it_and_nothing_else(classifier, tmp_path, content):
    path = tmp_path / "notes.wav"
    path.write_bytes(content)
    answer, probabilities, figure = analyse(classifier, str(path))
    assert 'role="alert"' in answer
    assert "notes.wav" in answer
    assert str(tmp_path) not in answer
    assert (probabilities, figure) == ("", "")


def test_silence_and_too_long_a_clip_are_answered_with_their_message(classifier, tmp_path):
    soundfile.write(tmp_path / "quiet.wav", np.zeros(16_000), 16_000)
    soundfile.write(tmp_path / "long.flac", np.zeros(16_000 * 61), 16_000)
    assert "silent" in analyse(classifier, str(tmp_path / "quiet.wav"))[0]
    assert "too long" in analyse(classifier, str(tmp_path / "long.flac"))[0]


def test_a_fault_of_ours_is_one_sentence_and_no_traceback(classifier, speech_file, monkeypatch, caplog):
    def fail(*_):
        raise RuntimeError("secret detail")

    monkeypatch.setattr(analyse_module, "sound_figure", fail)
    answer, probabilities, figure = analyse(classifier, str(speech_file))
    assert "Something went wrong" in answer
    assert "secret detail" not in answer
    assert (probabilities, figure) == ("", "")
    assert "secret detail" in caplog.text  # for the one who runs the server


def test_the_name_of_a_file_cannot_put_markup_on_the_page(classifier, tmp_path):
    path = tmp_path / "<img onerror=alert(1)>.wav"
    path.write_bytes(b"no sound")
    assert "<img" not in analyse(classifier, str(path))[0]


def test_m4a_and_webm_reach_the_model_without_an_ffmpeg_program(
    classifier, file_that_gradio_cannot_decode, monkeypatch
):
    monkeypatch.setenv("PATH", "")
    component = gr.Audio(type="filepath")
    path = component.preprocess(FileData(path=str(file_that_gradio_cannot_decode)))
    assert component.postprocess(path).path == path
    assert "<strong>" in analyse(classifier, path)[0]


def test_the_endpoint_gives_the_object_that_the_command_line_prints(classifier, speech_file):
    assert predict_record(classifier, str(speech_file)) == as_record("clip.wav", classifier.predict(speech_file))


def test_the_endpoint_hands_the_message_of_a_bad_file_to_the_caller(classifier, tmp_path):
    path = tmp_path / "notes.wav"
    path.write_bytes(b"this is text")
    with pytest.raises(gr.Error, match=r"notes\.wav"):
        predict_record(classifier, str(path))
    with pytest.raises(gr.Error, match="No file"):
        predict_record(classifier, None)


def test_the_page_has_one_public_endpoint_and_keeps_no_upload_beyond_ten_minutes(classifier):
    demo = build_demo(classifier)
    assert list(demo.get_api_info()["named_endpoints"]) == ["/predict"]
    frequency, age = demo.delete_cache
    assert age == KEEP_SECONDS
    assert frequency + age <= MAX_KEPT_SECONDS
    assert not demo.analytics_enabled


def test_the_model_is_called_by_the_name_of_its_folder_or_by_its_hub_name(tmp_path):
    folder = tmp_path / "my_model"
    folder.mkdir()
    assert "`my_model`" in about(str(folder))
    assert str(tmp_path) not in about(str(folder))
    assert "`someone/model`" in about("someone/model")
    for text in (about(str(folder)), about("someone/model")):
        assert "Do not use it for decisions about people" in text
        assert "RAVDESS" not in text  # not known of other models


@pytest.mark.parametrize("path", EXAMPLES.values(), ids=list(EXAMPLES))
def test_examples_are_small_and_can_be_analysed(classifier, path):
    info = soundfile.info(path)
    assert (info.samplerate, info.channels) == (16_000, 1)
    assert path.stat().st_size < MAX_EXAMPLE_BYTES
    assert "<strong>" in analyse(classifier, str(path))[0]
