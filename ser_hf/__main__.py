"""python -m ser_hf predict clip.wav …   python -m ser_hf timeline meeting.m4a"""

import argparse
import csv
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

    classifier = EmotionClassifier.from_pretrained(options.model)
    failed = False
    for file, result in classifier.stream(options.files):
        if isinstance(result, SerError):
            failed = True
            if options.json:
                print(json.dumps({"file": file, "error": str(result)}, ensure_ascii=False), flush=True)
            else:
                print(f"{file}: {result}", file=sys.stderr, flush=True)
        elif options.json:
            print(json.dumps(as_record(file, result), ensure_ascii=False), flush=True)
        else:
            print(f"{file}: {result.label} ({result.score:.2f})", flush=True)
    return int(failed)


def as_record(file: str, prediction) -> dict:
    """The JSON object of one prediction, the same on the command line and in the demo's API."""
    return {
        "file": file,
        "label": prediction.label,
        "score": prediction.score,
        "scores": prediction.scores,
        "duration": prediction.duration,
    }


def run_timeline(options: argparse.Namespace) -> int:
    from .classifier import EmotionClassifier

    classifier = EmotionClassifier.from_pretrained(options.model)
    segments = classifier.iter_timeline(options.file, window=options.window, hop=options.hop)
    if options.csv is None:
        for segment in segments:
            said = f"{segment.label} ({segment.score:.2f})" if segment.label else "silence"
            print(f"{segment.start:8.2f} – {segment.end:8.2f} s  {said}", flush=True)
        return 0
    count = 0
    with options.csv.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["start", "end", "label", "score", *classifier.labels])
        for segment in segments:
            scores = segment.scores or {}
            row = [f"{segment.start:.3f}", f"{segment.end:.3f}", segment.label or "", segment.score or ""]
            table.writerow(row + [scores.get(label, "") for label in classifier.labels])
            file.flush()
            count += 1
    print(f"{options.csv}: {count} segments")
    return 0


if __name__ == "__main__":
    sys.exit(main())
