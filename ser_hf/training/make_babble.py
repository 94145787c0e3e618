"""Makes babble.flac, the many voices at once that training mixes under clips; needs the espeak-ng program.

python -m ser_hf.training.make_babble
"""

import subprocess

import numpy as np
import soundfile

from ..audio import SAMPLING_RATE, load_audio
from .augmentation import BABBLE

SECONDS = 16
TEXT = (
    "The boat was there when the sun rose. Four hours of steady work faced us. A large size in stockings is hard to "
    "sell. It is easy to tell the depth of a well. The box was thrown beside the parked truck. Rice is often served "
    "in round bowls. The juice of lemons makes fine punch. The hogs were fed chopped corn and garbage. "
)  # Harvard sentences (IEEE, 1969), whose sounds are as frequent as in English
VOICES = [  # espeak-ng voice, pitch, words a minute
    ("en-us+m3", 35, 150), ("en-us+f2", 60, 165), ("en-gb+m1", 45, 175), ("en-gb+f4", 70, 155),
    ("en-gb-scotland+m7", 30, 160), ("en-us+f5", 55, 180), ("en+croak", 40, 145), ("en-029+m5", 50, 170),
]  # fmt: skip


def main() -> None:
    rng = np.random.default_rng(0)
    voices = []
    for voice, pitch, speed in VOICES:
        command = ["espeak-ng", "-v", voice, "-p", str(pitch), "-s", str(speed), "--stdout", TEXT]
        spoken = load_audio(subprocess.run(command, check=True, capture_output=True).stdout)
        spoken = np.roll(np.resize(spoken, SECONDS * SAMPLING_RATE), rng.integers(SECONDS * SAMPLING_RATE))
        voices.append(spoken / np.sqrt(np.mean(np.square(spoken))))
    mixed = np.sum(voices, axis=0)
    soundfile.write(BABBLE, 0.9 * mixed / np.abs(mixed).max(), SAMPLING_RATE)


if __name__ == "__main__":
    main()
