"""The page that listens to the microphone: the emotion of the last seconds, and how it went on."""

from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import gradio as gr
import numpy as np
import pandas as pd
import soundfile

from ser_hf.audio import SAMPLING_RATE, read_blocks
from ser_hf.classifier import EmotionClassifier, Segment
from ser_hf.speech import contains_speech

from . import markup
from .chart import bars, colors, emotion_chart
from .uploads import explain

WINDOW_SECONDS = 3.0  # the model hears the last of the sound, this long
HOP_SECONDS = 0.5  # from one answer to the next
SHOWN_SECONDS = 30.0  # of the rolling chart
MAX_SECONDS = 600  # a visitor's stream ends after this time
MAX_VISITORS = 8  # streams at a time; every further one waits
HINT = "Press Record and speak: the emotion of the last 3 seconds appears here, twice a second."
SILENT = "No speech at the moment."


@dataclass
class Stream:
    """What one visitor's microphone has brought so far."""

    samples: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))  # the last WINDOW_SECONDS, mono
    rate: int = SAMPLING_RATE  # Hz
    received: int = 0  # samples in all
    asked: int = 0  # hops in all whose answer is there or on its way
    answer: Future | None = None  # of the model, on its way
    segments: list[Segment] = field(default_factory=list)  # the last SHOWN_SECONDS, one a hop

    def add(self, piece: np.ndarray, rate: int) -> None:
        """Takes (samples, channels) of sound. It keeps its rate: resampled piece by piece, it would click at seams."""
        self.samples = np.concatenate([self.samples, piece.mean(axis=1)])[-round(WINDOW_SECONDS * rate) :]
        self.received += len(piece)
        self.rate = rate


def live_page(classifier: EmotionClassifier) -> None:
    """Adds the components and events of this page to the Blocks around it."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=320):
            microphone = gr.Audio(
                label="Microphone",
                sources=["microphone"],
                type="filepath",
                streaming=True,
                buttons=[],
                elem_id="microphone",
            )
        with gr.Column(scale=3, min_width=320):
            answer = gr.HTML(markup.hint(HINT), apply_default_css=False, elem_id="live_answer")
    with gr.Column(visible=False) as result:
        chart = emotion_chart(
            classifier.labels,
            label="The last 30 seconds",
            x_title="seconds ago",
            x_bin=HOP_SECONDS,
            x_lim=[-SHOWN_SECONDS, 0],
            elem_id="live_chart",
        )
        gr.HTML(markup.legend(colors(classifier.labels)), apply_default_css=False)
    state = gr.State(None, time_to_live=MAX_SECONDS)

    # A piece of sound that comes while the one before is still worked on is lost, so the model answers elsewhere.
    workers = ThreadPoolExecutor(thread_name_prefix="live")

    def hear(path: str | None, stream: Stream | None) -> dict:
        stream = stream or Stream()
        try:
            if path is not None:
                stream.add(*soundfile.read(path, dtype="float32", always_2d=True))
            if not follow(classifier, stream, workers):
                return {state: stream}
        except Exception as error:
            return {state: stream, answer: markup.problem(explain(error))}
        return {
            state: stream,
            answer: _answer(stream.segments[-1]),
            chart: _rolling(stream, classifier.labels),
            result: gr.Column(visible=True),
        }

    private = {"api_visibility": "private", "show_progress": "hidden"}
    microphone.start_recording(
        lambda: (Stream(), markup.hint("Listening …")), None, [state, answer], queue=False, **private
    )
    microphone.stream(
        hear,
        [microphone, state],
        [state, answer, chart, result],
        stream_every=HOP_SECONDS,
        time_limit=MAX_SECONDS,
        concurrency_limit=MAX_VISITORS,
        **private,
    )
    microphone.stop_recording(lambda: None, None, state, queue=False, **private)


def follow(classifier: EmotionClassifier, stream: Stream, workers: Executor) -> bool:
    """Takes an answer that has come, and asks for the next; says whether there is a new one."""
    new = stream.answer is not None and stream.answer.done()
    if new:
        answer, stream.answer = stream.answer, None
        # On a slow machine an answer stands for several hops.
        stream.segments = (stream.segments + answer.result())[-int(SHOWN_SECONDS / HOP_SECONDS) :]
    hops = int(stream.received / stream.rate / HOP_SECONDS) - stream.asked
    if stream.answer is None and hops > 0:
        stream.asked += hops
        stream.answer = workers.submit(listen, classifier, stream.samples, stream.rate, stream.asked, hops)
    return new


def listen(classifier: EmotionClassifier, samples: np.ndarray, rate: int, asked: int, hops: int) -> list[Segment]:
    """The answer for the last of the sound, once for each of the last hops; samples (n,) at `rate` Hz."""
    waveform = np.concatenate(list(read_blocks((samples, rate))))
    heard = classifier.predict((waveform, SAMPLING_RATE)) if contains_speech(waveform) else None
    what = (heard.label, heard.score, heard.scores, heard.uncertain) if heard else (None, None, None, False)
    starts = (number * HOP_SECONDS for number in range(asked - hops, asked))
    return [Segment(start, start + HOP_SECONDS, *what) for start in starts]


def _answer(segment: Segment) -> str:
    if segment.label is None:
        return markup.hint(SILENT)
    return markup.answer(segment) + markup.probabilities(segment.scores)


def _rolling(stream: Stream, labels: list[str]) -> pd.DataFrame:
    """The rows of the chart, the newest at 0 and the others before it."""
    now = stream.segments[-1].end
    moved = [replace(segment, start=segment.start - now, end=segment.end - now) for segment in stream.segments]
    data, _ = bars(moved, labels, HOP_SECONDS, limits=(-SHOWN_SECONDS, 0.0))
    return data
