"""Markdown that the program writes: tables, and their place in a file that people write too."""

from collections.abc import Sequence
from pathlib import Path

from .errors import DatasetError


def table(header: Sequence[str], lines: Sequence[Sequence[str]], text: Sequence[int]) -> str:
    """Markdown; the columns `text` are text, the others figures."""
    rule = ["---" if column in text else "---:" for column in range(len(header))]
    return "\n".join("| " + " | ".join(line) + " |" for line in (header, rule, *lines))


def markers(name: str) -> tuple[str, str]:
    """The comments that the part `name` stands between."""
    return f"<!-- {name}:start -->", f"<!-- {name}:end -->"


def write_between_markers(path: Path, text: str, name: str) -> None:
    """Replaces what stands between the markers of `name`, or adds them at the end of the file.

    Raises:
        DatasetError: one marker is there without the other.
    """
    start, end = markers(name)
    block = f"{start}\n\n{text}\n\n{end}"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# Results\n\n{block}\n", encoding="utf-8")
        return
    before = path.read_text(encoding="utf-8")
    if (before.count(start), before.count(end)) == (0, 0):
        path.write_text(f"{before.rstrip()}\n\n{block}\n".lstrip(), encoding="utf-8")
        return
    head, found_start, rest = before.partition(start)
    _, found_end, tail = rest.partition(end)
    if not found_start or not found_end:
        raise DatasetError(f"{path} has {start} or {end} without the other: put both where the text shall stand.")
    path.write_text(head + block + tail, encoding="utf-8")
