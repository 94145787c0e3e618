"""All systems in one table and one figure, recomputed from the predictions that their folds left, clip by clip."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import DatasetError
from .markdown import table, write_between_markers
from .plots import COMPARED, comparison_figure, save_figure
from .results import FoldResult, completeness, read_folds, summarize
from .splits import LEAKY_PROTOCOLS

MARKERS = "comparison"  # the part of the Markdown file that is written here
NOT_KNOWN = "–"
CHANNELS = {"speech": "speech", "song": "song", "both": "speech and song"}


@dataclass(frozen=True)
class Published:
    """A figure that others report, in %, for what it was measured on; None where they do not say."""

    system: str
    parameters: str
    protocol: str
    ua: float | None
    wa: float | None
    f1: float | None
    source: str


EMOBOX = "EmoBox, Ma et al., Interspeech 2024, arXiv 2406.07162"
SIX_FOLDS = "unseen speakers, the same six folds; frozen encoder and a small network"
OTHER_RANDOM = "random clips (leaky)"
PUBLISHED = (
    Published("wav2vec 2.0 base", "95 M", SIX_FOLDS, 54.33, 55.40, 53.99, EMOBOX),
    Published("WavLM base", "95 M", SIX_FOLDS, 61.56, 62.10, 61.18, EMOBOX),
    Published("HuBERT base", "95 M", SIX_FOLDS, 65.43, 66.21, 65.31, EMOBOX),
    Published("HuBERT large", "316 M", SIX_FOLDS, 70.00, 70.29, 69.54, EMOBOX),
    Published("data2vec 2.0 large", "314 M", SIX_FOLDS, 71.15, 71.63, 70.94, EMOBOX),
    Published("WavLM large", "316 M", SIX_FOLDS, 72.00, 72.22, 71.42, EMOBOX),
    Published("Whisper large v3, encoder", "635 M", SIX_FOLDS, 75.32, 75.87, 75.19, EMOBOX),
    Published(
        "XLSR wav2vec 2.0 large, fine-tuned", "315 M", "unseen speakers, five other folds", None, 81.82, None,
        "Luna-Jiménez et al., Applied Sciences 2022, 12(1), 327",
    ),
    Published(
        "wav2vec 2.0 large, fine-tuned", "315 M", OTHER_RANDOM, None, 82.23, None,
        "model card of the most-downloaded RAVDESS wav2vec2 on the Hub",
    ),
    Published(
        "CNN-BiLSTM-attention", NOT_KNOWN, f"{OTHER_RANDOM}, speech and song", None, 82.0, None, "its author's README",
    ),
    Published(
        "three stacked LSTMs", NOT_KNOWN, f"{OTHER_RANDOM}, 2,336 test clips of several corpora", None, 83.26, None,
        "its author's README",
    ),
)  # fmt: skip
SHOWN_IN_FIGURE = ("HuBERT base", "Whisper large v3, encoder")


@dataclass(frozen=True)
class Row:
    """One system: its summaries under a protocol of unseen speakers, and on random clips, where they were run."""

    system: str
    unseen: dict | None
    random: dict | None
    commands: list[str]

    @property
    def any(self) -> dict:
        return self.unseen or self.random

    @property
    def data(self) -> str:
        channel = CHANNELS.get(self.any["channel"], self.any["channel"])
        return f"{self.any['dataset']}, {channel}" if self.any["dataset"] == "ravdess" else self.any["dataset"]


def compare(
    paths: Sequence[Path], output: Path | None = None, figure: Path | None = None, speed: Path | None = None
) -> str:
    """The comparison of every system below `paths` as Markdown; written between the markers of `output`.

    Args:
        paths: `results`, or folders in it.
        output: a Markdown file; what stands outside the markers stays. It is made where there is none.
        figure: where the figure goes.
        speed: the JSON of finetune/benchmark.py; a row belongs to a system whose name is a folder of its path.

    Raises:
        DatasetError: no finished fold, or files that do not fit each other.
    """
    rows = read_rows(paths)
    seconds = read_speed(speed, [row.system for row in rows]) if speed else {}
    picture = None
    if figure:
        save_figure(draw(rows), figure)
        picture = os.path.relpath(figure, output.parent if output else Path())
    text = format_comparison(rows, seconds, picture)
    if output:
        write_between_markers(output, text, MARKERS)
    return text


def read_rows(paths: Sequence[Path]) -> list[Row]:
    """The systems below these folders, the best on unseen speakers first."""
    folders = {found.parent for path in paths for found in path.glob("**/fold_*.json")}
    by_protocol: dict[str, dict[str, tuple[dict, list[FoldResult]]]] = {}
    for folder in sorted(folders):
        folds = read_folds(folder)
        if folds:
            summary = summarize(folds)
            known = by_protocol.setdefault(summary["system"], {})
            if summary["protocol_name"] in known:
                raise DatasetError(
                    f"{summary['system']} ({summary['protocol_name']}) is there twice below "
                    f"{', '.join(map(str, paths))}: give one of the folders."
                )
            known[summary["protocol_name"]] = summary, folds
    if not by_protocol:
        raise DatasetError(
            f"There is no fold_<k>.json with its CSV below {', '.join(map(str, paths))}: give the folder that "
            "finetune/cross_validate.py writes, results, or one in it."
        )
    rows = []
    for system, known in by_protocol.items():
        leaky = next((known[name][0] for name in sorted(known) if name in LEAKY_PROTOCOLS), None)
        commands = sorted({fold.record["command"] for _, folds in known.values() for fold in folds})
        for name in [name for name in sorted(known) if name not in LEAKY_PROTOCOLS] or [None]:
            rows.append(Row(system, known[name][0] if name else None, leaky, commands))
    return sorted(rows, key=lambda row: -_ua(row.unseen))


def read_speed(path: Path, systems: Sequence[str]) -> dict[str, float]:
    """System → seconds for a clip, from the JSON of finetune/benchmark.py.

    Raises:
        DatasetError: the file is not there or is something else.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return {
            system: row["seconds"] for row in rows for system in systems if system in Path(row["model"]).parts
        }  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{path} is no JSON of finetune/benchmark.py ({error}): write one with --json.") from error


def format_comparison(rows: Sequence[Row], seconds: dict[str, float], picture: str | None = None) -> str:
    """Markdown: the table, how to read it, what others publish, and every fold."""
    parts = [_main_table(rows, seconds), _notes(rows, seconds)]
    if picture:
        parts.append(f"![Unseen speakers and random clips, side by side]({picture})")
    parts += ["### Published by others", _published_table(), "### Every fold", _fold_table(rows)]
    parts += ["### Commands", "```\n" + "\n".join(command for row in rows for command in row.commands) + "\n```"]
    return "\n\n".join(parts)


def draw(rows: Sequence[Row]):
    """The figure: both protocols side by side, and two figures of others among them where the folds are theirs."""
    ours, leaky, others = COMPARED
    systems = []
    for row in rows:
        name = f"{row.system}\n{_size(row.any['parameters'])}, {row.data}"
        bars = [_bar(kind, summary) for kind, summary in ((ours, row.unseen), (leaky, row.random)) if summary]
        systems.append((_ua(row.unseen), name, bars))
    if any(row.unseen and row.unseen["protocol_name"] == "emobox" for row in rows):
        for published in PUBLISHED:
            if published.system in SHOWN_IN_FIGURE:
                ua = published.ua / 100
                systems.append((ua, f"{published.system}\n{published.parameters}, EmoBox", [(others, ua, None, "")]))
    systems.sort(key=lambda system: -system[0])
    chances = {1 / len(row.any["labels"]) for row in rows}
    return comparison_figure([system[1:] for system in systems], chances.pop() if len(chances) == 1 else None)


def _bar(kind: str, summary: dict) -> tuple:
    bounds = summary["interval"]["bounds"]
    remark = completeness(summary) if summary["missing_folds"] else ""
    return kind, summary["mean"]["unweighted_accuracy"], tuple(bounds) if bounds else None, remark


def _main_table(rows: Sequence[Row], seconds: dict[str, float]) -> str:
    header = [
        "system", "data", "parameters", "UA %, unseen speakers", "95 % interval of UA", "WA %, unseen speakers",
        "F1 %, unseen speakers", "ECE %, unseen speakers", "WA %, random clips (leaky)", "UA %, random clips (leaky)",
        "minutes per fold", "clips/s",
    ]  # fmt: skip
    lines = []
    for row in rows:
        minutes = row.any["minutes_per_fold"]
        lines.append([
            f"**{row.system}**",
            row.data,
            _size(row.any["parameters"]),
            *(_figure(row.unseen, "unweighted_accuracy", remark=True), _interval(row.unseen)),
            *(_figure(row.unseen, name) for name in ("accuracy", "macro_f1")),
            f"{100 * row.unseen['expected_calibration_error']:.1f}" if row.unseen else NOT_KNOWN,
            _figure(row.random, "accuracy", remark=True),
            _figure(row.random, "unweighted_accuracy"),
            NOT_KNOWN if minutes is None else f"{minutes:.1f}",
            f"{1 / seconds[row.system]:.0f}" if row.system in seconds else NOT_KNOWN,
        ])  # fmt: skip
    return table(header, lines, text=(0, 1))


def _notes(rows: Sequence[Row], seconds: dict[str, float]) -> str:
    protocols = sorted({s["protocol"] for row in rows for s in (row.unseen, row.random) if s})
    hardware = sorted({name for row in rows for s in (row.unseen, row.random) if s for name in s["hardware"]})
    notes = [
        *(f"Protocol: {words}." for words in protocols),
        "UA, unweighted accuracy: mean recall over the classes; WA: share of clips that are right; F1: macro.",
        "ECE, expected calibration error: by how much score and accuracy differ, of all folds' clips together.",
        "Mean ± standard deviation over folds; the interval is a bootstrap over the test speakers, of the UA of all "
        "folds' clips together.",
        "Minutes: from the sound files to the tested checkpoint; on " + "; ".join(hardware) + ".",
    ]
    if seconds:
        notes.append("Clips per second: one clip at a time, as `finetune/benchmark.py` measures it, all in one run.")
    missing = [
        f"{s['system']}, {s['protocol_name']}: {completeness(s)}"
        for row in rows
        for s in (row.unseen, row.random)
        if s and s["missing_folds"]
    ]
    if missing:
        notes.append("**Not complete**, and so not to be compared with the others: " + "; ".join(missing) + ".")
    return "\n".join(f"- {note}" for note in notes)


def _published_table() -> str:
    header = ["system", "parameters", "UA %", "WA %", "F1 %", "protocol", "source"]
    lines = [
        [p.system, p.parameters, *(NOT_KNOWN if v is None else f"{v:.2f}" for v in (p.ua, p.wa, p.f1)), p.protocol,
         p.source]
        for p in PUBLISHED
    ]  # fmt: skip
    return table(header, lines, text=(0, 5, 6))


def _fold_table(rows: Sequence[Row]) -> str:
    """UA / WA / F1 of every fold; a missing one is called missing."""
    summaries = {
        (s["system"], s["protocol_name"]): s for row in rows for s in (row.unseen, row.random) if s is not None
    }
    folds = sorted({number for s in summaries.values() for number in (*s["folds"], *s["missing_folds"])})
    lines = []
    for (system, protocol), summary in summaries.items():
        cells = []
        for number in folds:
            row = summary["by_fold"].get(str(number))
            missing = "missing" if number in summary["missing_folds"] else NOT_KNOWN
            cells.append(
                " / ".join(f"{100 * row[name]:.1f}" for name in ("unweighted_accuracy", "accuracy", "macro_f1"))
                if row
                else missing
            )
        words = "random clips (leaky)" if protocol in LEAKY_PROTOCOLS else f"unseen speakers ({protocol})"
        lines.append([system, words, *cells])
    return "UA / WA / F1, %:\n\n" + table(["system", "protocol", *(f"fold {n}" for n in folds)], lines, text=(0, 1))


def _figure(summary: dict | None, name: str, remark: bool = False) -> str:
    if summary is None:
        return NOT_KNOWN
    deviation = summary["standard_deviation"][name]
    text = f"{100 * summary['mean'][name]:.1f}" + (f" ± {100 * deviation:.1f}" if deviation is not None else "")
    return f"{text} ({completeness(summary)})" if remark and summary["missing_folds"] else text


def _interval(summary: dict | None) -> str:
    bounds = summary and summary["interval"]["bounds"]
    return f"{100 * bounds[0]:.1f} to {100 * bounds[1]:.1f}" if bounds else NOT_KNOWN


def _size(parameters: int) -> str:
    millions = parameters / 1e6
    return f"{millions:.1f} M" if millions >= 1 else f"{millions:.2f} M"


def _ua(summary: dict | None) -> float:
    return summary["mean"]["unweighted_accuracy"] if summary else 0.0
