"""CREMA-D, crowd-sourced emotional multimodal actors: 91 actors, twelve sentences, six emotions.

Cao et al. (2014), IEEE Transactions on Affective Computing 5(4), doi 10.1109/TAFFC.2014.2336244.
"""

import re
from pathlib import Path

from ser_hf.corpora.recordings import Clip, Layout, decode, name_parts

EMOTIONS = ("neutral", "happy", "sad", "angry", "fearful", "disgust")
CODES = {"NEU": "neutral", "HAP": "happy", "SAD": "sad", "ANG": "angry", "FEA": "fearful", "DIS": "disgust"}
# One file of the archive is called 1040_ITH_SAD_X.wav.
INTENSITIES = {"LO": "low", "MD": "medium", "HI": "high", "XX": None, "X": None}
SENTENCES = {
    "IEO": "It's eleven o'clock",
    "TIE": "That is exactly what happened",
    "IOM": "I'm on my way to the meeting",
    "IWW": "I wonder what this is about",
    "TAI": "The airplane is almost full",
    "MTI": "Maybe tomorrow it will be cold",
    "IWL": "I would like a new alarm clock",
    "ITH": "I think I have a doctor's appointment",
    "DFA": "Don't forget a jacket",
    "ITS": "I think I've seen this before",
    "TSI": "The surface is slick",
    "WSI": "We'll stop in a couple of minutes",
}
ACTORS = [str(number) for number in range(1001, 1092)]
# The last two digits of the women's numbers, from the corpus's VideoDemographics.csv.
_WOMEN = (
    "02 03 04 06 07 08 09 10 12 13 18 20 21 24 25 28 29 30 37 43 46 47 49 52 53 54 55 56 58 60 61 63 72 73 74 75 76 "
    "78 79 82 84 89 91"
)
GENDERS = dict.fromkeys(ACTORS, "male") | {f"10{number}": "female" for number in _WOMEN.split()}
_NAME = re.compile(r"(\d{4})_([A-Z]{3})_([A-Z]{3})_([A-Z]{1,2})", re.IGNORECASE)


def parse_file_name(path: str | Path) -> Clip:
    """Read a name such as `1001_DFA_ANG_XX.wav`: actor, sentence, emotion, intensity.

    Raises:
        DatasetError: the name does not follow the convention.
    """
    parts = name_parts(_NAME, path, "actor, sentence, emotion and intensity", "1001_DFA_ANG_XX")
    actor, sentence, emotion, intensity = (code.upper() for code in parts)
    stem = Path(path).stem
    return Clip(
        emotion=decode(CODES, emotion, "emotion", stem),
        speaker=actor,
        gender=decode(GENDERS, actor, "actor", stem),
        intensity=decode(INTENSITIES, intensity, "intensity", stem),
        statement=decode(SENTENCES, sentence, "sentence", stem),
        channel="speech",
        language="en",
    )


LAYOUT = Layout(
    name="crema_d",
    title="CREMA-D",
    emotions=EMOTIONS,
    parse=parse_file_name,
    example="AudioWAV/1001_DFA_ANG_XX.wav",
    license="ODbL 1.0",
    citation=(
        "Cao H, Cooper DG, Keutmann MK, Gur RC, Nenkova A, Verma R (2014). CREMA-D: Crowd-sourced Emotional "
        "Multimodal Actors Dataset. IEEE Transactions on Affective Computing 5(4):377-390. "
        "https://doi.org/10.1109/TAFFC.2014.2336244"
    ),
)
load = LAYOUT.load
