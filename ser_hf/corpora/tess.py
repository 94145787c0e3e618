"""TESS, the Toronto emotional speech set: two women say "Say the word …" with 200 words in seven emotions.

Pichora-Fuller & Dupuis (2020), Borealis, doi 10.5683/SP2/E8H2MF.
"""

import re
from pathlib import Path

from ser_hf.corpora.recordings import Clip, Layout, decode, name_parts

EMOTIONS = ("neutral", "happy", "sad", "angry", "fearful", "disgust", "surprised")
CODES = {
    "neutral": "neutral", "happy": "happy", "sad": "sad", "angry": "angry", "fear": "fearful", "disgust": "disgust",
    "ps": "surprised",
}  # fmt: skip
# The older and the younger actress. One file of the archive is called OA_bite_neutral.wav.
SPEAKERS = {"OAF": "OAF", "YAF": "YAF", "OA": "OAF"}
_NAME = re.compile(r"([A-Z]+)_([A-Z']+)_([A-Z]+)", re.IGNORECASE)


def parse_file_name(path: str | Path) -> Clip:
    """Read a name such as `OAF_back_ps.wav`: speaker, word, emotion.

    Raises:
        DatasetError: the name does not follow the convention.
    """
    speaker, word, emotion = name_parts(_NAME, path, "speaker, word and emotion", "OAF_back_ps")
    stem = Path(path).stem
    return Clip(
        emotion=decode(CODES, emotion.lower(), "emotion", stem),
        speaker=decode(SPEAKERS, speaker.upper(), "speaker", stem),
        gender="female",
        statement=f"Say the word {word.lower()}",
        channel="speech",
        language="en",
    )


LAYOUT = Layout(
    name="tess",
    title="TESS",
    emotions=EMOTIONS,
    parse=parse_file_name,
    example="OAF_pleasant_surprise/OAF_back_ps.wav",
    license="CC BY-NC-ND 4.0",
    citation=(
        "Pichora-Fuller MK, Dupuis K (2020). Toronto emotional speech set (TESS). Borealis. "
        "https://doi.org/10.5683/SP2/E8H2MF"
    ),
)
load = LAYOUT.load
