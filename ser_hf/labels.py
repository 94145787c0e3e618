"""The names of the emotions: one vocabulary for all corpora, models and reports."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml

from ser_hf.errors import DatasetError

# The order is that of the file codes 01 to 08 of RAVDESS, and so the order of the classes of its models.
EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")

# English, German, the three-letter codes of CREMA-D, IEMOCAP and TESS, and misspellings seen in published labels.
# Written without spaces, with ä, ö, ü as ae, oe, ue. "w" and "n" mean one thing in every corpus that uses letters;
# other single letters do not ("a" is fear in EmoDB, anger in SAVEE) and belong to the module of their corpus.
_ALIASES = {
    "neutral": "n neu neutrality neutrale nuetral netural neutal",
    "calm": "calmness calmed relaxed ruhig ruhe gelassen gelassenheit",
    "happy": "hap happiness joy joyful happily hapy hapiness freude froh froehlich gluecklich glueck",
    "sad": "sadness sadnes saddness traurig traurigkeit trauer",
    "angry": "w ang anger angery aerger aergerlich wut wuetend zorn zornig",
    "fearful": "fea fear fearfull ferful afraid scared anxiety anxious angst aengstlich furcht",
    "disgust": "dis disgusted disgusting disgusts digust disguist ekel angeekelt",
    "surprised": "sur ps surprise suprise suprised surprized pleasantsurprise pleasantsurprised pleasantsuprise"
    " ueberraschung ueberrascht",
    # Not in RAVDESS, but in several corpora under several names.
    "bored": "bor boredom langeweile gelangweilt",
    "contempt": "contemptuous verachtung",
    "frustrated": "fru frustration frustriert",
    "excited": "exc excitement aufgeregt begeistert begeisterung",
}
# A label map's label → the class that takes its place; None: such clips are left out.
LabelMap = Mapping[str, str | None]

_CANONICAL = {alias: name for name, aliases in _ALIASES.items() for alias in (name, *aliases.split())}
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue"})
_CAMEL_CASE = re.compile(r"(?<=[a-z])(?=[A-Z])")
_SEPARATORS = re.compile(r"[\W_]+")


def canonical_emotion(name: str) -> str:
    """The name of an emotion in the vocabulary: `"Pleasant-Surprise"`, `"ps"` and `"Überraschung"` → `"surprised"`.

    Case, spaces, hyphens and underscores do not matter. A label that is not known is a class of its own and is
    returned in lower snake case (`"Mild Irritation"` → `"mild_irritation"`).

    Raises:
        DatasetError: there is no letter or digit in the label.
    """
    words = _words(name)
    if not words:
        raise DatasetError(f"An emotion label is empty ({name!r}): every clip needs the name of an emotion.")
    key = "".join(words).translate(_UMLAUTS)
    return _CANONICAL.get(key, "_".join(words))


def is_known_emotion(name: str) -> bool:
    """Whether a label stands for an emotion of the vocabulary."""
    return bool(_words(name)) and canonical_emotion(name) in _ALIASES


def in_order(emotions: Iterable[str]) -> tuple[str, ...]:
    """Each once: those of the vocabulary in its order, then the others by the alphabet."""
    rank = {name: number for number, name in enumerate(_ALIASES)}
    return tuple(sorted(set(emotions), key=lambda name: (rank.get(name, len(rank)), name)))


def read_label_map(path: str | Path) -> dict[str, str | None]:
    """A YAML file of lines `label: emotion`; where no emotion follows, clips of that label are left out.

    Raises:
        DatasetError: the file does not exist, or does not hold such lines.
    """
    try:
        content = yaml.safe_load(Path(path).expanduser().read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = str(getattr(error, "strerror", None) or error).splitlines()[0]
        raise DatasetError(
            f"The label map {path} cannot be read ({reason}): give a YAML file with lines of 'label: emotion'."
        ) from error
    if not isinstance(content, dict) or any(isinstance(value, dict | list) for value in content.values()):
        raise DatasetError(f"The label map {path} does not hold lines of 'label: emotion', such as 'bored: neutral'.")
    return {str(label): None if emotion is None else str(emotion).strip() for label, emotion in content.items()}


def emotion_of(label: str, label_map: LabelMap | None = None) -> str | None:
    """The class of a corpus's label: what the map says of it as it is written or by its name in the vocabulary, else
    that name. None: clips of this label are left out.

    Raises:
        DatasetError: there is no letter or digit in the label.
    """
    label_map = label_map or {}
    if label in label_map:
        return label_map[label]
    name = canonical_emotion(label)
    return {canonical_emotion(written): emotion for written, emotion in label_map.items()}.get(name, name)


def _words(name: str) -> list[str]:
    text = _CAMEL_CASE.sub(" ", unicodedata.normalize("NFKC", name))
    # Case folding can take a composed letter apart ("ǰ"), so it is composed again.
    text = unicodedata.normalize("NFKC", text.casefold())
    return [word for word in _SEPARATORS.split(text) if word]
