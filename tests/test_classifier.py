"""What someone gets who calls EmotionClassifier: one clip, many, long ones, bad ones."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_hf import AudioError, EmotionClassifier, ModelError, modeling
from ser_hf.audio import SAMPLING_RATE
from ser_hf.classifier import EMBEDDED, _windows
from ser_hf.training.checkpoint import save_checkpoint


@pytest.fixture(scope="module")
def embedded():
    return EmotionClassifier.from_pretrained()


@pytest.fixture
def tiny(tiny_model):
    return EmotionClassifier(*tiny_model("whisper"))


def test_the_embedded_checkpoint_answers_at_once(embedded, speech_file):
    prediction = embedded.predict(speech_file)
    assert prediction.label in embedded.labels
    assert prediction.score == max(prediction.scores.values())
    assert list(prediction.scores) == embedded.labels == [
        "neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised",
    ]  # fmt: skip
    assert sum(prediction.scores.values()) == pytest.approx(1, abs=1e-5)
    assert prediction.duration == pytest.approx(soundfile.info(speech_file).duration, abs=1e-3)
    start, end = prediction.bounds
    assert 0.2 < start < 0.6 and end < prediction.duration  # the silent ends are cut
    assert len(prediction.attention) == pytest.approx((end - start) * 50, abs=2)  # 20 ms a frame
    assert prediction.attention.sum() == pytest.approx(1, abs=1e-4)


def test_the_embedded_checkpoint_is_small_and_computes_in_float32(embedded):
    import torch

    assert sum(f.stat().st_size for f in EMBEDDED.iterdir()) < 45e6
    assert embedded.model.dtype == torch.float32
    assert not list(EMBEDDED.glob("*.bin")) and (EMBEDDED / "model.safetensors").is_file()


@pytest.mark.parametrize("folder", sorted(EMBEDDED.parent.iterdir()), ids=lambda folder: folder.name)
def test_the_code_in_an_embedded_checkpoint_is_the_code_of_this_package(folder):
    carried = list(folder.glob("*.py"))
    assert len(carried) >= 3
    for path in carried:
        source = Path(modeling.__file__).parent / path.name
        assert path.read_text() == source.read_text(), f"write {path.name} anew with save_checkpoint"


def test_the_embedded_baseline_answers_too(speech_file):
    baseline = EmotionClassifier.from_pretrained(EMBEDDED.parent / "log_mel_cnn_ravdess")
    assert baseline.predict(speech_file).label in baseline.labels
    assert (EMBEDDED.parent / "log_mel_cnn_ravdess" / "model.safetensors").stat().st_size < 5e6


def test_path_bytes_array_and_list_give_the_same(tiny, speech, speech_file):
    expected = tiny.predict(speech_file).scores
    for source in (str(speech_file), speech_file.read_bytes(), (speech, SAMPLING_RATE), [speech_file][0]):
        assert tiny.predict(source).scores == pytest.approx(expected, abs=1e-4)
    assert tiny.predict([speech_file, speech_file])[1].scores == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("threshold", "uncertain"), [(0.0, False), (1.0, True)])
def test_an_answer_is_uncertain_below_the_threshold_that_the_checkpoint_keeps(
    tiny_model, tmp_path, speech, threshold, uncertain
):
    save_checkpoint(*tiny_model("whisper", uncertainty_threshold=threshold), tmp_path)
    classifier = EmotionClassifier.from_pretrained(tmp_path)
    prediction = classifier.predict((speech, SAMPLING_RATE))
    assert prediction.uncertain is uncertain
    recording = (np.concatenate([speech, np.zeros(2 * SAMPLING_RATE, np.float32)]), SAMPLING_RATE)
    segments = classifier.timeline(recording, window=1.0)
    assert {segment.uncertain for segment in segments if segment.label} == {uncertain}
    assert {segment.uncertain for segment in segments if not segment.label} == {False}
    assert json.loads(json.dumps(prediction.to_dict())) == {
        "label": prediction.label, "score": prediction.score, "scores": prediction.scores, "uncertain": uncertain,
        "duration": prediction.duration,
    }  # fmt: skip
    assert list(segments[0].to_dict()) == ["start", "end", "label", "score", "scores", "uncertain"]


@pytest.mark.parametrize("threshold", [-0.1, 1.1])
def test_a_threshold_that_is_no_score_is_refused(tiny_model, threshold):
    with pytest.raises(ValueError, match="choose 0 to 1"):
        tiny_model("whisper", uncertainty_threshold=threshold)


def test_a_list_keeps_its_order_whatever_the_lengths(tiny, speech):
    clips = [(speech[: SAMPLING_RATE + 4_000 * n], SAMPLING_RATE) for n in (5, 1, 3, 2, 4)]
    together = tiny.predict(clips, batch_size=2)
    for clip, prediction in zip(clips, together, strict=True):
        assert prediction.scores == pytest.approx(tiny.predict(clip).scores, abs=1e-4)
        assert prediction.attention == pytest.approx(tiny.predict(clip).attention, abs=1e-4)


def test_an_empty_list_gives_an_empty_list(tiny):
    assert tiny.predict([]) == []


def test_a_bad_clip_in_a_list_raises_or_stands_in_its_place(tiny, speech_file, tmp_path):
    bad = tmp_path / "notes.wav"
    bad.write_text("this is no sound")
    with pytest.raises(AudioError, match=r"notes\.wav"):
        tiny.predict([speech_file, bad])
    good, failed = tiny.predict([speech_file, bad], on_error="return")
    assert good.label in tiny.labels
    assert isinstance(failed, AudioError)


def test_a_clip_that_is_too_long_for_one_answer_is_sent_to_the_timeline(tiny):
    with pytest.raises(AudioError, match="timeline"):
        tiny.predict((np.ones(61 * SAMPLING_RATE, np.float32) * np.sin(np.arange(61 * SAMPLING_RATE)), SAMPLING_RATE))


def test_a_stream_of_clips_is_read_in_blocks(tiny, speech_file):
    read = []

    def files():
        for number in range(5):
            read.append(number)
            yield speech_file

    stream = tiny.stream(files(), batch_size=1, block=2)
    next(stream)
    assert len(read) == 2
    assert len(list(stream)) == 4


@pytest.mark.parametrize("what", ["no folder", "empty folder", "lost weight", "other shape", "foreign model"])
def test_a_model_that_cannot_answer_is_refused_in_one_sentence(tiny_model, tmp_path, what):
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "model"
    if what == "no folder":
        folder = tmp_path / "nowhere"
    elif what == "empty folder":
        folder.mkdir()
    elif what in ("lost weight", "other shape"):
        save_checkpoint(*tiny_model("whisper"), folder)
        weights = load_file(folder / "model.safetensors")
        (name,) = [name for name in weights if name.endswith("classifier.weight")]
        weight = weights.pop(name)
        if what == "other shape":
            weights[name] = weight[:3].clone()
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    else:
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ModelError) as error:
        EmotionClassifier.from_pretrained(folder)
    assert "Traceback" not in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    if what in ("lost weight", "other shape"):
        assert "classifier.weight" in str(error.value)


def test_a_checkpoint_of_half_the_size_computes_in_float32_and_nearly_the_same(tiny_model, tmp_path, speech_file):
    import torch

    model, extractor = tiny_model("whisper")
    save_checkpoint(model, extractor, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "float32"
    loaded = EmotionClassifier.from_pretrained(tmp_path)
    assert loaded.model.dtype == torch.float32
    expected = EmotionClassifier(model, extractor).predict(speech_file).scores
    assert loaded.predict(speech_file).scores == pytest.approx(expected, abs=2e-3)


def test_a_timeline_covers_the_recording_and_names_no_emotion_in_silence(tiny, speech):
    recording = np.concatenate([speech, np.zeros(4 * SAMPLING_RATE, np.float32), speech])
    segments = tiny.timeline((recording, SAMPLING_RATE), window=1.0, hop=0.5)
    assert segments[0].start == 0
    assert segments[-1].end == pytest.approx(len(recording) / SAMPLING_RATE, abs=0.01)
    assert [segment.start for segment in segments] == sorted(segment.start for segment in segments)
    silent = [
        s for s in segments if s.start >= len(speech) / SAMPLING_RATE and s.end <= len(speech) / SAMPLING_RATE + 4
    ]
    assert silent and all(segment.label is None and segment.scores is None for segment in silent)
    assert {segment.label for segment in segments} - {None} <= set(tiny.labels)


@pytest.mark.parametrize(("window", "hop"), [(0.01, 1.0), (100.0, 1.0), (1.0, 0.0)])
def test_a_window_or_hop_that_makes_no_sense_is_refused(tiny, speech_file, window, hop):
    with pytest.raises(AudioError, match=r"window|hop"):
        tiny.timeline(speech_file, window=window, hop=hop)


@settings(max_examples=60, deadline=None)
@given(
    blocks=st.lists(st.integers(0, 40_000), min_size=1, max_size=6),
    window=st.floats(0.1, 2.0),
    hop=st.floats(0.05, 3.0),
)
def test_windows_are_the_samples_they_say_and_miss_none_that_a_hop_does_not_skip(blocks, window, hop):
    total = sum(blocks)
    samples = np.arange(total, dtype=np.float64)
    pieces = np.split(samples, np.cumsum(blocks)[:-1])
    size, step = round(window * SAMPLING_RATE), max(1, round(hop * SAMPLING_RATE))
    seen = np.zeros(total, bool)
    for number, (start, values) in enumerate(_windows(pieces, window, hop)):
        first = round(start * SAMPLING_RATE)
        assert first == number * step
        np.testing.assert_array_equal(values, samples[first : first + len(values)])
        assert len(values) <= size
        seen[first : first + len(values)] = True
    if step <= size and total >= size:
        assert total - seen.sum() < 0.1 * SAMPLING_RATE  # at most a rest too short to be judged


PIPELINE_SCRIPT = """
import json, sys
import numpy
sys.path = [entry for entry in sys.path if entry]
sys.modules["ser_hf"] = None  # the repository is not there: an import of it fails
from transformers import pipeline
clips = [{"array": numpy.load(path), "sampling_rate": 16000} for path in sys.argv[2:]]
pipe = pipeline("audio-classification", model=sys.argv[1], trust_remote_code=True, top_k=None)
alone = [pipe(clip.copy()) for clip in clips]
print(json.dumps([alone, pipe([clip.copy() for clip in clips], batch_size=len(clips))]))
"""


def test_a_bare_pipeline_elsewhere_gives_the_same_scores_for_a_clip_and_for_a_batch(embedded, speech, tmp_path):
    clips = [speech, speech[: int(1.5 * SAMPLING_RATE)], np.concatenate([speech, speech])]
    for number, clip in enumerate(clips):
        np.save(tmp_path / f"{number}.npy", clip)
    files = [str(tmp_path / f"{number}.npy") for number in range(len(clips))]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = [sys.executable, "-c", PIPELINE_SCRIPT, str(EMBEDDED.resolve()), *files]
    environment["HF_MODULES_CACHE"] = str(tmp_path / "modules")
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    alone, batch = json.loads(done.stdout.splitlines()[-1])
    for clip, *answers in zip(clips, alone, batch, strict=True):
        expected = embedded.predict((clip, SAMPLING_RATE)).scores
        for answer in answers:
            assert {row["label"]: row["score"] for row in answer} == pytest.approx(expected, abs=1e-4)
