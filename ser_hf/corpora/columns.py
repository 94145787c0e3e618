"""Which column of a table or of a Hub data set holds what."""

from collections.abc import Mapping, Sequence

from ser_hf.corpora.recordings import Clip
from ser_hf.errors import DatasetError

# The usual names, the likeliest first.
USUAL = {
    "audio": (
        "audio", "path", "file", "file_name", "filename", "filepath", "file_path", "audio_path", "audio_file", "wav",
        "wav_path", "clip",
    ),
    "label": ("label", "emotion", "labels", "emotions", "class", "category", "emotion_label"),
    "speaker": ("speaker", "speaker_id", "speakerid", "spk", "spk_id", "actor", "actor_id", "subject", "subject_id"),
}  # fmt: skip
TEXT_COLUMNS = ("gender", "intensity", "statement", "channel", "language")  # taken over under these names


def choose_columns(columns: Sequence[str], source: str, **wanted: str | None) -> dict[str, str | None]:
    """Of "audio", "label" and "speaker" those wanted → the column that is asked for, else the one with a usual name.

    Args:
        source: the table's name, for messages.
        wanted: audio, label, speaker: a column's name, or None.

    Raises:
        DatasetError: no such column, or none for the sound or the label; the message lists the columns.
    """
    by_name = {column.casefold().strip(): column for column in reversed(columns)}
    there = ", ".join(columns) or "none"
    chosen: dict[str, str | None] = {}
    for role, asked in wanted.items():
        usual = USUAL[role]
        if asked is not None and asked not in columns:
            raise DatasetError(f"{source} has no column {asked!r} (--{role}_column); its columns are: {there}.")
        chosen[role] = asked or next((by_name[name] for name in usual if name in by_name), None)
        if chosen[role] is None and role != "speaker":
            raise DatasetError(
                f"{source} has no column that is known to hold the {role}; its columns are: {there}. "
                f"Name it with --{role}_column."
            )
    return chosen


def clip_of(row: Mapping, columns: Mapping[str, str | None]) -> Clip:
    """What a row says of its clip, in its own words; the speaker and the label may be empty."""
    about = {name: text(row.get(name)) or None for name in TEXT_COLUMNS}
    speaker = text(row.get(columns["speaker"])) if columns["speaker"] else ""
    return Clip(emotion=text(row.get(columns["label"])), speaker=speaker or None, **about)


def text(value: object) -> str:
    """A cell as text; what is missing (None, NaN) is empty, and 3.0 is 3.

    Raises:
        DatasetError: the cell holds a list or another structure.
    """
    if value is None or value != value:
        return ""
    if isinstance(value, list | dict | tuple):
        raise DatasetError(f"A cell holds a {type(value).__name__} ({value!r:.40}), expected a word or a number.")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()
