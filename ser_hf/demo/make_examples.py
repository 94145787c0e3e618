"""Makes the demo's example clips: python -m ser_hf.demo.make_examples (needs the program espeak-ng).

The voices are synthetic. The clips show how the page works; they say nothing about how often the model is right.
"""

import subprocess
from pathlib import Path

import soundfile

from ser_hf.audio import SAMPLING_RATE, load_audio

FOLDER = Path(__file__).parent / "examples"

# name: (voice, pitch 0 to 99, words a minute, range of the pitch, sentence)
CLIPS = {
    "excited": ("en-us+f3", 75, 185, "x-high", "You will never guess what happened today!"),
    "flat": ("en-us+m3", 35, 150, "x-low", "The train leaves from platform four."),
    "low_and_slow": ("en-us+m7", 8, 110, "low", "Nobody came to the station."),
}


def make_examples(folder: Path = FOLDER) -> list[Path]:
    """Writes one 16 kHz mono FLAC file per clip and returns the paths, in the order of `CLIPS`."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, (voice, pitch, speed, pitch_range, sentence) in CLIPS.items():
        markup = f'<prosody range="{pitch_range}">{sentence}</prosody>'
        command = ["espeak-ng", "-m", "-v", voice, "-p", str(pitch), "-s", str(speed), "--stdout", markup]
        wav = subprocess.run(command, check=True, capture_output=True).stdout
        path = folder / f"{name}.flac"
        soundfile.write(path, load_audio(wav), SAMPLING_RATE, subtype="PCM_16")
        paths.append(path)
    return paths


if __name__ == "__main__":
    for path in make_examples():
        print(f"{path}  {path.stat().st_size / 1000:.0f} kB")
