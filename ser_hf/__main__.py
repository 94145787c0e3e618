"""python -m ser_hf predict clip.wav …   python -m ser_hf timeline meeting.m4a"""

import argparse
import json
import sys
from pathlib import Path

from .errors import SerError


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ser_hf", description="Recognise emotion in speech.")
    commands = parser.add_subparsers(dest="command", required=True)
    predict = commands.add_parser("predict", help="the emotion of each file")
    predict.add_argument("files", nargs="+", metavar="FILE", help="sound files of any common format")
    predict.add_argument("--json", action="store_true", help="one JSON object a line")
    timeline = commands.add_parser("timeline", help="the emotions of a long recording, window by window")
    timeline.add_argument("file", metavar="FILE")
    timeline.add_argument("--window", type=float, default=3.0, help="seconds (default 3)")
    timeline.add_argument("--hop", type=float, default=1.0, help="seconds from one window to the next (default 1)")
    timeline.add_argument("--json", action="store_true", help="one JSON object with all segments")
    timeline.add_argument("--csv", type=Path, metavar="OUT", help="write the segments to this file")
    for command in (predict, timeline):
        command.add_argument("--model", help="a folder or a Hub name (default: the embedded checkpoint)")
    options = parser.parse_args(arguments)
    try:
        return run_predict(options) if options.command == "predict" else run_timeline(options)
    except SerError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def run_predict(options: argparse.Namespace) -> int:
    from .classifier import EmotionClassifier
    from .records import prediction_record

    classifier = EmotionClassifier.from_pretrained(options.model)
    failed = False
    for file, result in classifier.stream(options.files):
        failed = failed or isinstance(result, SerError)
        if options.json:
            print(json.dumps(prediction_record(file, result), ensure_ascii=False), flush=True)
        elif isinstance(result, SerError):
            print(f"{file}: {result}", file=sys.stderr, flush=True)
        else:
            print(f"{file}: {in_words(result)}", flush=True)
    return int(failed)


def in_words(heard) -> str:
    """A `Prediction` or a `Segment` as a person would say it."""
    if heard.label is None:
        return "no speech"
    if heard.uncertain:
        return f"not sure ({heard.label} {heard.score:.2f})"
    return f"{heard.label} ({heard.score:.2f})"


def run_timeline(options: argparse.Namespace) -> int:
    from .classifier import EmotionClassifier
    from .records import timeline_record, write_segments

    classifier = EmotionClassifier.from_pretrained(options.model)
    segments = classifier.iter_timeline(options.file, window=options.window, hop=options.hop)
    if options.json:
        print(json.dumps(timeline_record(options.file, segments), ensure_ascii=False))
        return 0
    if options.csv is None:
        for segment in segments:
            print(f"{segment.start:8.2f} – {segment.end:8.2f} s  {in_words(segment)}", flush=True)
        return 0
    with options.csv.open("w", newline="", encoding="utf-8") as file:
        count = write_segments(segments, classifier.labels, file)
    print(f"{options.csv}: {count} segments")
    return 0


if __name__ == "__main__":
    sys.exit(main())
