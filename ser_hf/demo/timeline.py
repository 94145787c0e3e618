"""The page for a recording of minutes or hours: emotions over time, as a chart, a table and files."""

import io
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import gradio as gr

from ser_hf.audio import audio_seconds
from ser_hf.classifier import EmotionClassifier, Segment
from ser_hf.errors import AudioError
from ser_hf.records import timeline_record, write_segments

from . import markup
from .chart import NO_SPEECH, bars, colors, emotion_chart
from .uploads import explain, open_upload, save_download

HINT = "Upload a recording, of minutes or hours, and start: the chart, the table and the downloads appear here."
NOTE = (
    "Drag over the chart to zoom in, click twice to see all of it. A window is “no speech” if less than 0.2 s of it "
    "is voiced, that is louder than −65 dB and repeating itself at a voice's pitch, 70 to 400 Hz; music can pass for "
    "speech, and a whisper for none. A bar stands at the middle of its window."
)
UPDATE_SECONDS = 0.25  # between two steps of the progress bar
MINUTES_FROM = 1200.0  # seconds; the chart of a longer recording is in minutes
STATE_SECONDS = 3600  # the result of a visitor, which zooming needs, is forgotten after this time
MIN_HOP = 0.1  # seconds; shorter ones are a way to keep a server busy
COLUMNS = ["start (s)", "end (s)", "emotion", "confidence"]


@dataclass
class Timeline:
    """What has been computed so far of one recording."""

    name: str
    hop: float
    total: float | None  # seconds, None if the file does not say
    segments: list[Segment] = field(default_factory=list)

    @property
    def unit(self) -> float:
        """Seconds in the unit of the chart."""
        return 60.0 if (self.total or self.segments[-1].end) >= MINUTES_FROM else 1.0


def timeline_page(classifier: EmotionClassifier, max_seconds: float) -> None:
    """Adds the components and events of this page to the Blocks around it."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=320):
            recording = gr.File(label="A recording: WAV, MP3, OGG, FLAC, M4A, WebM …", height=110, elem_id="recording")
        with gr.Column(scale=3, min_width=320):
            with gr.Row():
                window = gr.Slider(0.5, 15, 3, step=0.5, label="Window (s)", info="the model listens to at a time")
                hop = gr.Slider(0.25, 15, 1, step=0.25, label="Hop (s)", info="from one window to the next")
            with gr.Row():
                start = gr.Button("Start", variant="primary", elem_id="timeline_start")
                cancel = gr.Button("Cancel", variant="stop", interactive=False, elem_id="timeline_cancel")
    status = gr.HTML(markup.hint(HINT), apply_default_css=False, elem_id="timeline_status")
    with gr.Column(visible=False, elem_id="timeline_result") as result:
        chart = emotion_chart(classifier.labels, label="Emotions over time", elem_id="timeline_chart")
        gr.HTML(markup.legend(colors(classifier.labels)) + markup.note(NOTE), apply_default_css=False)
        with gr.Row(elem_classes="buttons"):
            whole = gr.Button("Show all of it", size="sm", elem_id="timeline_whole")
            as_csv = gr.DownloadButton("Download CSV", size="sm", elem_id="timeline_csv")
            as_json = gr.DownloadButton("Download JSON", size="sm", elem_id="timeline_json")
        table = gr.Dataframe(
            headers=COLUMNS,
            datatype=["number", "number", "str", "number"],
            interactive=False,
            max_height=330,
            label="Segments",
            buttons=[],
            elem_id="timeline_table",
        )
    state = gr.State(None, time_to_live=STATE_SECONDS)

    def shown(timeline: Timeline, message: str) -> dict:
        """Everything that is known, on the page."""
        if not timeline.segments:
            return {status: message, result: gr.Column(visible=False), cancel: gr.Button(interactive=False)}
        table_file = io.StringIO()
        write_segments(timeline.segments, classifier.labels, table_file)
        record = json.dumps(timeline_record(timeline.name, timeline.segments), ensure_ascii=False)
        return {
            status: message,
            result: gr.Column(visible=True),
            chart: draw(timeline),
            table: [_row(segment) for segment in timeline.segments],
            as_csv: save_download(f"{Path(timeline.name).stem}.csv", table_file.getvalue()),
            as_json: save_download(f"{Path(timeline.name).stem}.json", record),
            cancel: gr.Button(interactive=False),
        }

    def draw(timeline: Timeline, limits: tuple[float, float] | None = None) -> gr.BarPlot:
        data, width = bars(timeline.segments, classifier.labels, timeline.hop, limits)
        data["time"] /= timeline.unit
        return gr.BarPlot(data, x_bin=width / timeline.unit, x_title="minutes" if timeline.unit > 1 else "seconds")

    def redraw(timeline: Timeline, limits: tuple[float, float] | None = None) -> Iterator[gr.BarPlot | None]:
        """By way of no chart at all: the one that is there would keep its axis, its rows or what was marked in it."""
        yield None
        yield draw(timeline, limits)

    def run(path: str | None, window: float, hop: float) -> Iterator[dict]:
        if path is None:
            yield {status: markup.problem("There is no recording yet: upload one above, then start.")}
            return
        timeline = Timeline(Path(path).name, hop, None)
        yield {
            status: markup.progress(0, None, "Reading …"),
            state: timeline,
            result: gr.Column(visible=False),
            chart: None,
            cancel: gr.Button(interactive=True),
        }
        began = told = time.monotonic()
        try:
            with open_upload(path) as source:
                timeline.total = audio_seconds(source)
                for segment in segments_of(classifier, source, window, hop, max_seconds):
                    timeline.segments.append(segment)
                    if time.monotonic() - told >= UPDATE_SECONDS:
                        told = time.monotonic()
                        yield {status: _progress(timeline, told - began)}
        except Exception as error:
            yield shown(timeline, markup.problem(explain(error)))
            return
        yield shown(timeline, markup.summary(_said(timeline)))

    def stop(timeline: Timeline | None) -> dict:
        if timeline is None:
            return {status: markup.hint(HINT), cancel: gr.Button(interactive=False)}
        timeline = replace(timeline, segments=list(timeline.segments))  # the last step may still be at work
        return shown(timeline, markup.summary(f"Cancelled. {_said(timeline)}"))

    def zoom(timeline: Timeline | None, event: gr.SelectData) -> Iterator[gr.BarPlot | None]:
        if timeline is not None and timeline.segments:
            first, last = (edge * timeline.unit for edge in event.index)
            if last - first >= timeline.hop:
                yield from redraw(timeline, (max(0.0, first), min(last, timeline.segments[-1].end)))

    def show_all(timeline: Timeline | None) -> Iterator[gr.BarPlot | None]:
        if timeline is not None and timeline.segments:
            yield from redraw(timeline)

    outputs = [status, result, chart, table, as_csv, as_json, cancel]
    private = {"api_visibility": "private", "show_progress": "hidden"}
    running = start.click(run, [recording, window, hop], [*outputs, state], **private)
    cancel.click(stop, state, outputs, cancels=[running], **private)
    chart.select(zoom, state, chart, **private)
    chart.double_click(show_all, state, chart, **private)
    whole.click(show_all, state, chart, **private)


def segments_of(
    classifier: EmotionClassifier, source: io.BufferedReader, window: float, hop: float, max_seconds: float
) -> Iterator[Segment]:
    """The timeline of an upload.

    Raises:
        AudioError: also if it is longer than `max_seconds`, or the hop shorter than MIN_HOP.
    """
    if hop < MIN_HOP:
        raise AudioError(f"The hop is {hop:g} s; choose at least {MIN_HOP:g} s.")
    seconds = audio_seconds(source)
    if seconds is not None and seconds > max_seconds:
        raise _too_long(source.name, seconds, max_seconds)
    for segment in classifier.iter_timeline(source, window=window, hop=hop):
        if segment.end > max_seconds + window:  # the header did not say, or said too little
            raise _too_long(source.name, segment.end, max_seconds)
        yield segment


def _too_long(name: str, seconds: float, limit: float) -> AudioError:
    return AudioError(
        f"{name} is too long: {seconds / 60:.1f} minutes, expected at most {limit / 60:g}. "
        "Cut it into parts, or ask whoever runs this demo to allow more (--max-duration)."
    )


def _row(segment: Segment) -> list:
    emotion = segment.label or NO_SPEECH
    return [
        round(segment.start, 2),
        round(segment.end, 2),
        f"not sure ({emotion})" if segment.uncertain else emotion,
        None if segment.score is None else round(segment.score, 2),
    ]


def _progress(timeline: Timeline, elapsed: float) -> str:
    done = timeline.segments[-1].end
    text = f"{markup.clock(done)} heard"
    if timeline.total:
        text = f"{markup.clock(done)} of {markup.clock(timeline.total)}"
        remaining = elapsed * max(0.0, timeline.total - done) / done
        text += f", about {markup.clock(remaining)} to go"
    return markup.progress(done, timeline.total, text)


def _said(timeline: Timeline) -> str:
    if not timeline.segments:
        return "Nothing had been heard yet."
    spoken = [segment for segment in timeline.segments if segment.label]
    silent = len(timeline.segments) - len(spoken)
    text = f"{timeline.name}: {markup.clock(timeline.segments[-1].end)}, {len(timeline.segments):,} windows"
    return f"{text}, {silent:,} of them without speech." if silent else f"{text}."
