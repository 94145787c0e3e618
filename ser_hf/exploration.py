"""A corpus as one HTML page to look at before training: what is there, how it sounds, and which files are odd."""

import base64
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

from .audio import SAMPLING_RATE, load_audio
from .corpora import Corpus
from .errors import AudioError, DatasetError
from .modeling import SerFeatureExtractor
from .plots import (
    FILE_DPI,
    count_figure,
    distribution_figure,
    emotion_color,
    emotion_examples_figure,
    trim_figure,
)

TRIM_THRESHOLDS = (20.0, 25.0, 30.0, 40.0, 50.0, 60.0)  # dB below a clip's loudest moment
SPEECH_THRESHOLD = 30.0  # dB; the level is that of what is left, and what this project's configurations trim at
FULL_SCALE = 0.999  # |sample| from here on counts as clipped
CLIPPED_SHARE = 5e-4  # of the samples, from which a clip is odd
OFFSET = 0.01  # of full scale: the mean of a clip's samples, from which it is odd
LITTLE_SOUND = 0.5  # s, less than this after trimming is odd
FAR_OUT = 3.0  # quartile distances beyond the quartiles (Tukey, 1977), from which a clip is odd
MAX_SPEAKERS = 60  # bars of the figure by speaker
ROWS_SHOWN = 200  # of a table of files
GENDER_COLORS = {"female": "#EE7733", "male": "#0077BB"}

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1c1e21;
       background: #fff; }
h1 { margin-bottom: 0.2rem; } h2 { margin-top: 2.5rem; border-bottom: 1px solid #d6d9dd; padding-bottom: 0.2rem; }
figure { margin: 1rem 0; } img { max-width: 100%; height: auto; } figcaption, .remark { color: #4a4f57; }
.facts { display: flex; flex-wrap: wrap; gap: 0.5rem 2.5rem; padding: 0; list-style: none; }
.facts b { display: block; font-size: 1.6rem; line-height: 1.2; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: 0.9rem; }
th, td { text-align: left; padding: 0.25rem 1rem 0.25rem 0; border-bottom: 1px solid #e4e6e9; vertical-align: top; }
td.number, th.number { text-align: right; } td { overflow-wrap: anywhere; }
"""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""


@dataclass(frozen=True)
class Measurements:
    """What was heard in the clips `rows` of a corpus; every array is (clips,) in their order.

    Attributes:
        seconds: of the whole clip. levels: root mean square of the clip trimmed at SPEECH_THRESHOLD, dBFS.
        kept: (clips, thresholds) seconds that are left after trimming. clipped: share of samples at full scale.
        offsets: mean sample. unreadable: (file, reason) of clips that could not be heard; they are not in `rows`.
    """

    rows: list[int]
    seconds: np.ndarray
    levels: np.ndarray
    kept: np.ndarray
    clipped: np.ndarray
    offsets: np.ndarray
    unreadable: list[tuple[str, str]]


def explore(corpus: Corpus, max_clips: int | None = None) -> str:
    """The HTML page of a corpus: self-contained, without a script, asking nothing of any server.

    Args:
        max_clips: hear a random choice of this many (seed 0) where there are more; all are counted.

    Raises:
        DatasetError: no clip can be read.
    """
    dataset = corpus.dataset
    rows = np.arange(len(dataset))
    if max_clips is not None and max_clips < len(rows):
        rows = np.sort(np.random.default_rng(0).permutation(rows)[:max_clips])
    heard = measure(corpus, rows.tolist())
    names = dataset.features["label"].names
    labels = [names[number] for number in dataset["label"]]
    heard_labels = [labels[row] for row in heard.rows]
    emotions = [name for name in names if name in set(heard_labels)]
    remark = f" A random choice of {len(heard.rows):,} clips was heard." if len(rows) < len(dataset) else ""

    parts = [f"<h1>{escape(corpus.name)}</h1>", _facts(corpus, labels), "<h2>Clips</h2>"]
    parts += _counts(corpus, names, labels)
    parts += [
        "<h2>How long the clips are</h2>",
        _picture(
            distribution_figure(heard.seconds, heard_labels, emotions, "seconds"),
            f"Half of the clips are {_middle(heard.seconds)} s long, all {heard.seconds.min():.2f} to "
            f"{heard.seconds.max():.2f} s.{remark}",
        ),
        "<h2>How loud they are</h2>",
        _picture(
            distribution_figure(heard.levels, heard_labels, emotions, "level of the speech, dBFS"),
            f"Root mean square of what is left when the ends are trimmed at {SPEECH_THRESHOLD:g} dB. An emotion that "
            "can be told from its loudness alone is told by the microphone's distance too: see augmentation with gain."
            + remark,
        ),
        "<h2>What trimming removes</h2>",
        *_trimming(heard, remark),
        "<h2>What they look like</h2>",
        *_examples(corpus, heard, heard_labels, emotions),
        "<h2>Files to look at</h2>",
        *_files(corpus, heard, heard_labels, len(rows) < len(dataset)),
    ]
    return PAGE.format(title=escape(f"{corpus.name}: a look at the data"), style=STYLE, body="\n".join(parts))


def measure(corpus: Corpus, rows: Sequence[int]) -> Measurements:
    """Decodes every clip once.

    Raises:
        DatasetError: none can be read.
    """
    dataset = corpus.dataset.select(rows)
    extractors = [SerFeatureExtractor(trim_top_db=threshold, max_seconds=1e9) for threshold in TRIM_THRESHOLDS]
    files = _file_names(corpus, rows)
    heard, unreadable, table = [], [], []
    for row, file, audio in zip(rows, files, tqdm(dataset["audio"], desc="Listening", unit="clip"), strict=True):
        try:
            waveform = load_audio(audio, max_seconds=None)
        except AudioError as error:
            unreadable.append((file, str(error)))
            continue
        bounds = [extractor.trim_bounds(waveform) for extractor in extractors]
        start, end = bounds[TRIM_THRESHOLDS.index(SPEECH_THRESHOLD)]
        heard.append(row)
        table.append(
            [
                len(waveform) / SAMPLING_RATE,
                10 * np.log10(np.mean(np.square(waveform[start:end], dtype=np.float64)) + 1e-12),
                np.mean(np.abs(waveform) >= FULL_SCALE),
                np.mean(waveform, dtype=np.float64),
                *((last - first) / SAMPLING_RATE for first, last in bounds),
            ]
        )
    if not table:
        raise DatasetError(
            f"None of the {len(rows)} clips of {corpus.name} can be read. The first: {unreadable[0][1]}"
        )
    seconds, levels, clipped, offsets, *kept = np.array(table).T
    return Measurements(heard, seconds, levels, np.array(kept).T, clipped, offsets, unreadable)


def odd_files(corpus: Corpus, heard: Measurements, labels: Sequence[str]) -> list[tuple[str, str]]:
    """(file, what is odd about it), in the order of the clips; what could not be read comes first.

    Args:
        labels: (clips,) of the clips in `heard`; loudness is compared within an emotion.
    """
    files = _file_names(corpus, heard.rows)
    found: list[tuple[int, str]] = []
    for clip, share in enumerate(heard.clipped):
        if share > CLIPPED_SHARE:
            found.append((clip, f"clipped: {100 * share:.2f} % of the samples are at full scale"))
    for clip, offset in enumerate(heard.offsets):
        if abs(offset) > OFFSET:
            found.append((clip, f"offset: the mean of its samples is {offset:+.3f} of full scale"))
    for clip, left in enumerate(heard.kept[:, TRIM_THRESHOLDS.index(SPEECH_THRESHOLD)]):
        if left < LITTLE_SOUND:
            found.append((clip, f"little sound: {left:.2f} s are left after trimming at {SPEECH_THRESHOLD:g} dB"))
    for clip in _far_out(heard.seconds):
        found.append((clip, f"length: {heard.seconds[clip]:.2f} s, half of all are {_middle(heard.seconds)} s"))
    for emotion in sorted(set(labels)):
        mine = np.flatnonzero(np.array(labels) == emotion)
        for clip in mine[_far_out(heard.levels[mine])]:
            usual = _middle(heard.levels[mine], 0)
            found.append((clip, f"loudness: {heard.levels[clip]:.0f} dBFS, half of {emotion} are {usual} dBFS"))
    return [*corpus.left_out, *heard.unreadable, *((files[clip], reason) for clip, reason in sorted(found))]


def representative(heard: Measurements, labels: Sequence[str], emotion: str) -> int:
    """The clip of an emotion whose length and loudness are nearest its medians, as an index into `heard`."""
    mine = np.flatnonzero(np.array(labels) == emotion)
    distance = np.zeros(len(mine))
    for values in (heard.seconds[mine], heard.levels[mine]):
        distance += ((values - np.median(values)) / (values.std() or 1.0)) ** 2
    return int(mine[distance.argmin()])


def _facts(corpus: Corpus, labels: Sequence[str]) -> str:
    dataset = corpus.dataset
    facts = [(f"{len(dataset):,}", "clips")]
    if "duration" in dataset.column_names:
        facts.append((f"{sum(dataset['duration']) / 3600:.2f}", "hours"))
    if "speaker" in dataset.column_names:
        facts.append((f"{len(set(dataset['speaker']))}", "speakers"))
    facts.append((f"{len(set(labels))}", "emotions"))
    facts.append((f"{len(corpus.duplicates)}", "recordings there twice"))
    facts.append((f"{len(corpus.left_out)}", "files left out"))
    items = "".join(f"<li><b>{number}</b>{escape(name)}</li>" for number, name in facts)
    remarks = [*corpus.warnings, corpus.citation, f"Licence: {corpus.license}" if corpus.license else ""]
    return f'<ul class="facts">{items}</ul>' + "".join(
        f'<p class="remark">{escape(remark)}</p>' for remark in remarks if remark
    )


def _counts(corpus: Corpus, names: Sequence[str], labels: Sequence[str]) -> list[str]:
    dataset = corpus.dataset
    genders = [gender or "not known" for gender in dataset["gender"]] if "gender" in dataset.column_names else None
    pairs = Counter(zip(labels, genders or [""] * len(labels), strict=True))
    kinds = sorted(set(genders)) if genders else [""]
    colors = [GENDER_COLORS.get(kind, "#888C94") for kind in kinds]
    used = [name for name in names if name in set(labels)]
    table = np.array([[pairs[name, kind] for kind in kinds] for name in used])
    caption = _range_of({name: int(number) for name, number in zip(used, table.sum(1), strict=True)}, "emotion")
    parts = [_picture(count_figure(table, used, kinds if genders else None, colors, "clips"), caption)]
    absent = [name for name in names if name not in set(labels)]
    if absent:
        parts.append(f'<p class="remark">No clip is labelled {escape(", ".join(absent))}.</p>')
    if "speaker" not in dataset.column_names:
        return [*parts, '<p class="remark">Speakers are not known, so no split can keep them apart.</p>']
    speakers = dataset["speaker"]
    gender_of = dict(zip(speakers, genders or [""] * len(speakers), strict=True))
    clips = Counter(speakers)
    shown = sorted(clips)
    caption = _range_of(clips, "speaker")
    if len(shown) > MAX_SPEAKERS:
        shown = sorted(sorted(clips, key=lambda name: -clips[name])[:MAX_SPEAKERS])
        caption += f" Shown are the {MAX_SPEAKERS} with the most."
    by_emotion = Counter(zip(speakers, labels, strict=True))
    table = np.array([[by_emotion[name, emotion] for emotion in used] for name in shown])
    ticks = [f"{name} ({gender_of[name]})" if genders else name for name in shown]
    figure = count_figure(table, ticks, used, [emotion_color(name) for name in used], "clips")
    return [*parts, _picture(figure, caption)]


def _trimming(heard: Measurements, remark: str) -> list[str]:
    removed = 1 - heard.kept / heard.seconds[:, None]
    figure = trim_figure(TRIM_THRESHOLDS, removed)
    margin = SerFeatureExtractor().trim_margin_seconds
    caption = (
        f"Ends that stay this far below a clip's loudest moment are cut, but for {margin:g} s at each end. The boxes "
        f"hold half of the clips, the whiskers nine in ten.{remark}"
    )
    whole = heard.seconds.sum()
    rows = [
        [f"{threshold:g} dB", f"{100 * (1 - left.sum() / whole):.1f} %", f"{left.mean():.2f} s", f"{left.min():.2f} s"]
        for threshold, left in zip(TRIM_THRESHOLDS, heard.kept.T, strict=True)
    ]
    header = ["threshold", "of all sound removed", "left of a clip, mean", "shortest"]
    return [_picture(figure, caption), _table(header, rows, numbers=range(1, 4))]


def _examples(corpus: Corpus, heard: Measurements, labels: Sequence[str], emotions: Sequence[str]) -> list[str]:
    clips = {emotion: representative(heard, labels, emotion) for emotion in emotions}
    rows = [heard.rows[clip] for clip in clips.values()]
    waveforms = [load_audio(audio, max_seconds=None) for audio in corpus.dataset.select(rows)["audio"]]
    figure = emotion_examples_figure(dict(zip(clips, waveforms, strict=True)), SAMPLING_RATE)
    caption = (
        "Of each emotion the clip whose length and loudness are nearest the median: its waveform, scaled to its own "
        "peak, and its log-mel spectrogram in kHz, all over the same seconds."
    )
    return [
        _picture(figure, caption),
        _table(["emotion", "file"], list(zip(clips, _file_names(corpus, rows), strict=True))),
    ]


def _files(corpus: Corpus, heard: Measurements, labels: Sequence[str], chosen: bool) -> list[str]:
    parts = ["<h3>Exact duplicates</h3>"]
    if corpus.duplicates:
        parts.append("<p>The same recording under two names: keep both on one side of every split.</p>")
        parts.append(_table(["file", "holds the same sound as"], corpus.duplicates))
    else:
        parts.append("<p>None.</p>")
    odd = odd_files(corpus, heard, labels)
    parts.append("<h3>Odd files</h3>")
    parts.append(_table(["file", "why"], odd) if odd else "<p>None.</p>")
    limits = (
        f"Looked for: files left out, more than {100 * CLIPPED_SHARE:g} % of the samples at full scale, an offset "
        f"above {OFFSET:g}, less than {LITTLE_SOUND:g} s of sound, a length, or a loudness within its emotion, more "
        f"than {FAR_OUT:g} quartile distances outside the quartiles."
    )
    among = " Only the clips that were heard were looked at." if chosen else ""
    return [*parts, f'<p class="remark">{escape(limits + among)}</p>']


def _range_of(counts: dict[str, int], what: str) -> str:
    """In words: how many clips there are of an emotion or a speaker."""
    fewest, most = min(counts.values()), max(counts.values())
    if fewest == most:
        return f"Every {what} has {most:,} clips."
    of_fewest, of_most = ([name for name, number in counts.items() if number == value] for value in (fewest, most))
    few, many = (names[0] if len(names) == 1 else f"{len(names)} of them" for names in (of_fewest, of_most))
    return f"Of {len(counts)} {what}s the fewest clips are {fewest:,} ({few}), the most {most:,} ({many})."


def _far_out(values: np.ndarray) -> np.ndarray:
    """Indices of the values beyond Tukey's outer fences."""
    low, high = np.percentile(values, [25, 75])
    fence = FAR_OUT * (high - low)
    return np.flatnonzero((values < low - fence) | (values > high + fence)) if fence > 0 else np.array([], dtype=int)


def _middle(values: np.ndarray, decimals: int = 2) -> str:
    low, high = np.percentile(values, [25, 75])
    return f"{low:.{decimals}f} to {high:.{decimals}f}"


def _file_names(corpus: Corpus, rows: Sequence[int]) -> list[str]:
    clips = corpus.dataset.select(rows)
    if "file" in clips.column_names:
        return list(clips["file"])
    return [audio["path"] or f"clip {row}" for row, audio in zip(rows, clips["audio"], strict=True)]


def _picture(figure: Figure, caption: str) -> str:
    """A figure inside the page; the caption says in words what it shows."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=FILE_DPI, facecolor="white")
    data = base64.b64encode(file.getvalue()).decode()
    width = round(96 * figure.get_figwidth())  # CSS pixels
    words = escape(caption)
    return (
        f'<figure><img width="{width}" src="data:image/png;base64,{data}" alt="{words}">'
        f"<figcaption>{words}</figcaption></figure>"
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        marks = [' class="number"' if column in numbers else "" for column in range(len(cells))]
        return "<tr>" + "".join(f"<{tag}{mark}>{escape(c)}</{tag}>" for c, mark in zip(cells, marks, strict=True))

    body = "\n".join(line(row, "td") for row in rows[:ROWS_SHOWN])
    more = f'<p class="remark">and {len(rows) - ROWS_SHOWN:,} more</p>' if len(rows) > ROWS_SHOWN else ""
    return f'<div class="scroll"><table>{line(header, "th")}\n{body}</table></div>{more}'
