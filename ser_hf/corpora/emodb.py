"""EmoDB, the Berlin database of emotional speech: ten German speakers, ten sentences, seven emotions.

Burkhardt, Paeschke, Rolfes, Sendlmeier, Weiss (2005), "A Database of German Emotional Speech", Interspeech.
"""

import re
from pathlib import Path

from ser_hf.corpora.recordings import Clip, Layout, decode, name_parts

EMOTIONS = ("neutral", "happy", "sad", "angry", "fearful", "disgust", "bored")

# The first letter of the German word: Wut (called Ärger too), Langeweile, Ekel, Angst, Freude, Trauer.
CODES = {"W": "angry", "L": "bored", "E": "disgust", "A": "fearful", "F": "happy", "T": "sad", "N": "neutral"}
SPEAKERS = {
    "03": "male", "08": "female", "09": "female", "10": "male", "11": "male",
    "12": "male", "13": "female", "14": "female", "15": "male", "16": "female",
}  # fmt: skip
TEXTS = {
    "a01": "Der Lappen liegt auf dem Eisschrank.",
    "a02": "Das will sie am Mittwoch abgeben.",
    "a04": "Heute abend könnte ich es ihm sagen.",
    "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
    "a07": "In sieben Stunden wird es soweit sein.",
    "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
    "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
    "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.",
    "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
    "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
}
_NAME = re.compile(r"(\d\d)([ab]\d\d)([A-Z])([a-z])", re.IGNORECASE)


def parse_file_name(path: str | Path) -> Clip:
    """Read a name such as `03a01Fa.wav`: speaker, text, emotion, take.

    Raises:
        DatasetError: the name does not follow the convention.
    """
    speaker, text, emotion, take = name_parts(_NAME, path, "speaker, text, emotion and take", "03a01Fa")
    stem = Path(path).stem
    return Clip(
        emotion=decode(CODES, emotion.upper(), "emotion", stem),
        speaker=speaker,
        gender=decode(SPEAKERS, speaker, "speaker", stem),
        statement=decode(TEXTS, text.lower(), "text", stem),
        repetition=ord(take.lower()) - ord("a") + 1,
        channel="speech",
        language="de",
    )


LAYOUT = Layout(
    name="emodb",
    title="EmoDB",
    emotions=EMOTIONS,
    parse=parse_file_name,
    example="wav/03a01Fa.wav",
    license="free for research",
    citation=(
        "Burkhardt F, Paeschke A, Rolfes M, Sendlmeier WF, Weiss B (2005). A Database of German Emotional Speech. "
        "Interspeech 2005. https://doi.org/10.21437/Interspeech.2005-446"
    ),
)
load = LAYOUT.load
