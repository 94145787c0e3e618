"""The names of the emotions: one vocabulary for all corpora, models and reports."""

import re
import unicodedata

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
    "sad": "sadness sadnes traurig traurigkeit trauer",
    "angry": "w ang anger angery aerger aergerlich wut wuetend zorn zornig",
    "fearful": "fea fear fearfull afraid scared angst aengstlich furcht",
    "disgust": "dis disgusted disgusting disgusts digust disguist ekel angeekelt",
    "surprised": "sur ps surprise suprise suprised surprized pleasantsurprise pleasantsurprised pleasantsuprise"
    " ueberraschung ueberrascht",
    # Not in RAVDESS, but in several corpora under several names.
    "bored": "boredom langeweile gelangweilt",
    "contempt": "contemptuous verachtung",
    "frustrated": "fru frustration",
    "excited": "exc excitement",
}
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


def _words(name: str) -> list[str]:
    text = _CAMEL_CASE.sub(" ", unicodedata.normalize("NFKC", name))
    # Case folding can take a composed letter apart ("ǰ"), so it is composed again.
    text = unicodedata.normalize("NFKC", text.casefold())
    return [word for word in _SEPARATORS.split(text) if word]
