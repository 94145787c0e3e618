"""Speed and size of checkpoints, side by side in one run.

    python finetune/benchmark.py [--models M …] [--clip FILE] [--threads 2] [--json out.json]

The yardsticks are what people use today: `pipeline("audio-classification")` with a HuBERT of base size and with a
Whisper of base size, with random weights, which run as fast as trained ones. The default clip is 3.7 s of sound
without a silent end, so that trimming gives us no advantage.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import _repository  # noqa: F401

from ser_hf.errors import exit_code

CLIP_SECONDS = 3.7
REPEATS = 15
WARM_UP = 3

COLD_START = {
    "ours": """
from ser_hf import EmotionClassifier
EmotionClassifier.from_pretrained({model!r}).predict(({clip}, 16000))
""",
    "pipeline": """
from transformers import pipeline
pipeline("audio-classification", model={model!r})({{"array": {clip}, "sampling_rate": 16000}})
""",
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure speed and size of checkpoints against today's pipelines.")
    parser.add_argument("--models", nargs="*", default=[""], help="folders or Hub names (default: the embedded one)")
    parser.add_argument("--clip", help=f"a sound file (default: {CLIP_SECONDS} s made here, with no silence to trim)")
    parser.add_argument("--threads", type=int, default=2, help="of torch (default 2)")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    return exit_code(lambda: benchmark(options))


def benchmark(options: argparse.Namespace) -> None:
    rows = run(options)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def run(options: argparse.Namespace) -> list[dict]:
    import torch
    from transformers.utils import logging as transformers_logging

    from ser_hf import EmotionClassifier
    from ser_hf.audio import SAMPLING_RATE, load_audio

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    torch.set_num_threads(options.threads)
    waveform = load_audio(options.clip) if options.clip else voiced_sound(CLIP_SECONDS, SAMPLING_RATE)
    print(f"{len(waveform) / SAMPLING_RATE:.2f} s clip, {options.threads} threads, {platform.machine()}")
    with tempfile.TemporaryDirectory() as folder:
        yardsticks = make_yardsticks(Path(folder))
        answers: dict[str, tuple[Callable, int, str]] = {}
        for model in options.models:
            classifier = EmotionClassifier.from_pretrained(model or None)
            size = sum(p.numel() for p in classifier.model.parameters())
            script = COLD_START["ours"].format(model=model or None, clip="clip")
            answers[model or "embedded checkpoint"] = (
                lambda classifier=classifier: classifier.predict((waveform, SAMPLING_RATE)),
                size,
                script,
            )
        for name, path in yardsticks.items():
            pipe = load_pipeline(path)
            size = sum(p.numel() for p in pipe.model.parameters())
            script = COLD_START["pipeline"].format(model=str(path), clip="clip")
            answers[name] = (
                lambda pipe=pipe: pipe({"array": waveform, "sampling_rate": SAMPLING_RATE}),
                size,
                script,
            )
        seconds = time_in_turns({name: answer for name, (answer, _, _) in answers.items()}, options.repeats)
        rows = []
        for name, (_, size, script) in answers.items():
            cold = cold_start(script, waveform, options.threads, Path(folder))
            rows.append({"model": name, "parameters": size, "seconds": seconds[name], "cold_seconds": cold})
    slowest = next(row for row in rows if row["model"].startswith("HuBERT"))
    print(f"{'model':<34}{'parameters':>12}{'s/clip':>9}{'clips/s':>9}{'× HuBERT':>10}{'start to answer':>17}")
    for row in rows:
        row["times_hubert"] = slowest["seconds"] / row["seconds"]
        print(
            f"{row['model'][-33:]:<34}{row['parameters'] / 1e6:>10.1f} M{row['seconds']:>9.4f}"
            f"{1 / row['seconds']:>9.1f}{row['times_hubert']:>10.2f}{row['cold_seconds']:>15.1f} s"
        )
    return rows


def voiced_sound(seconds: float, rate: int):
    """(samples,) float32: harmonics whose pitch moves, with some noise, loud from end to end."""
    import numpy as np

    rng = np.random.default_rng(0)
    time_axis = np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * np.cumsum(150 + 40 * np.sin(2 * np.pi * 0.7 * time_axis)) / rate
    tone = sum(np.sin(k * phase) / k for k in range(1, 20))
    return (0.1 * tone + 0.01 * rng.standard_normal(len(tone))).astype(np.float32)


def make_yardsticks(folder: Path) -> dict[str, Path]:
    """Random checkpoints of base size, saved so that a pipeline loads them as it would any other."""
    from transformers import (
        HubertConfig,
        HubertForSequenceClassification,
        Wav2Vec2FeatureExtractor,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForAudioClassification,
    )

    hubert = HubertForSequenceClassification(HubertConfig(num_labels=8))
    whisper_base = WhisperConfig(
        d_model=512, encoder_layers=6, encoder_attention_heads=8, encoder_ffn_dim=2048, decoder_layers=1, num_labels=8
    )
    made = {
        "HuBERT base, pipeline": (hubert, Wav2Vec2FeatureExtractor()),
        "Whisper base, pipeline": (WhisperForAudioClassification(whisper_base), WhisperFeatureExtractor()),
    }
    paths = {}
    for number, (name, (model, extractor)) in enumerate(made.items()):
        paths[name] = folder / f"model_{number}"
        model.save_pretrained(paths[name])
        extractor.save_pretrained(paths[name])
    return paths


def load_pipeline(path: Path):
    from transformers import pipeline

    return pipeline("audio-classification", model=str(path), device="cpu")


def time_in_turns(answers: dict[str, Callable], repeats: int) -> dict[str, float]:
    """Seconds of each at its fastest: what else the machine does can only add. They take turns, to be hit alike."""
    taken: dict[str, list[float]] = {name: [] for name in answers}
    for turn in range(WARM_UP + repeats):
        for name, answer in answers.items():
            started = time.perf_counter()
            answer()
            if turn >= WARM_UP:
                taken[name].append(time.perf_counter() - started)
    return {name: min(times) for name, times in taken.items()}


def cold_start(script: str, waveform, threads: int, folder: Path) -> float:
    """Seconds from the start of a new Python process to its first answer."""
    import numpy as np

    np.save(folder / "clip.npy", waveform)
    prelude = (
        f"import numpy, torch; torch.set_num_threads({threads}); clip = numpy.load({str(folder / 'clip.npy')!r})\n"
    )
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", prelude + script], check=True, capture_output=True)
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
