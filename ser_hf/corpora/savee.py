"""SAVEE, Surrey audio-visual expressed emotion: four men, seven emotions.

Haq & Jackson (2010), "Multimodal Emotion Recognition", in Machine Audition, IGI Global.
"""

import re
from pathlib import Path

from ser_hf.corpora.recordings import Clip, Layout, decode, name_parts

EMOTIONS = ("neutral", "happy", "sad", "angry", "fearful", "disgust", "surprised")
CODES = {
    "n": "neutral", "h": "happy", "sa": "sad", "a": "angry", "f": "fearful", "d": "disgust", "su": "surprised",
}  # fmt: skip
SPEAKERS = {name: name for name in ("DC", "JE", "JK", "KL")}
_NAME = re.compile(r"(?:([A-Z]{2})_)?(sa|su|[adfhn])(\d{1,2})", re.IGNORECASE)


def parse_file_name(path: str | Path) -> Clip:
    """Read `DC_sa01.wav`, or `sa01.wav` in a folder `DC`: speaker, emotion, number of the sentence.

    Raises:
        DatasetError: the name does not follow the convention, or no folder tells the speaker.
    """
    speaker, emotion, number = name_parts(_NAME, path, "speaker, emotion and number", "DC_sa01")
    path = Path(path)
    return Clip(
        emotion=CODES[emotion.lower()],
        speaker=decode(SPEAKERS, (speaker or path.parent.name).upper(), "speaker", path.stem),
        gender="male",
        # The sentences differ from emotion to emotion, so their number tells takes apart and no text.
        repetition=int(number),
        channel="speech",
        language="en",
    )


LAYOUT = Layout(
    name="savee",
    title="SAVEE",
    emotions=EMOTIONS,
    parse=parse_file_name,
    example="DC_sa01.wav or DC/sa01.wav",
    license="free for research",
    citation=(
        "Haq S, Jackson PJB (2010). Multimodal Emotion Recognition. In: Machine Audition: Principles, Algorithms and "
        "Systems. IGI Global, 398-423. https://doi.org/10.4018/978-1-61520-919-4.ch017"
    ),
)
load = LAYOUT.load
