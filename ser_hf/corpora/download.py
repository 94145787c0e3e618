"""Fetching a corpus: downloads that survive a cut connection, checksums, and safe unpacking.

Own code, since pooch does not resume a download and huggingface_hub's downloader speaks to the Hub alone.
"""

import hashlib
import os
import re
import shutil
import stat
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import httpx
from tqdm.auto import tqdm

from ser_hf.errors import DatasetError

ZENODO_URL = "https://zenodo.org"  # overridden by an argument or by the environment variable SER_ZENODO_URL
TIMEOUT = 30.0  # seconds without a byte before the connection counts as cut
ATTEMPTS = 5  # in a row without getting further in the file
BACKOFF = 0.5  # seconds before the second attempt; doubled with each one after
LONGEST_WAIT = 60.0  # seconds, whatever the server asks for
TRY_LATER = {408, 425, 429, 500, 502, 503, 504}  # HTTP statuses that a later attempt may not meet
HEADERS = {
    "User-Agent": "ser_hf",
    "Accept-Encoding": "identity",  # a compressed answer could not be resumed by byte position
}


@dataclass(frozen=True)
class RemoteFile:
    """A file on a server, with what is needed to know that it arrived whole."""

    url: str
    size: int | None  # bytes
    md5: str | None  # hexadecimal


class _CutError(Exception):
    """The download stopped early; another attempt may get further."""

    def __init__(self, why: str, wait: float | None = None):
        super().__init__(why)
        self.wait = wait  # seconds the server asked for


def default_cache_dir() -> Path:
    """Where downloaded corpora lie: `$SER_CACHE_DIR`, else `~/.cache/ser_hf`."""
    return Path(os.environ.get("SER_CACHE_DIR") or "~/.cache/ser_hf").expanduser()


def fetch(
    url: str,
    destination: Path,
    *,
    md5: str | None = None,
    size: int | None = None,
    attempts: int = ATTEMPTS,
    backoff: float = BACKOFF,
    timeout: float = TIMEOUT,
) -> Path:
    """Download a file, going on where an earlier attempt or an earlier call was cut off.

    The bytes are collected in `destination` + `.part`; the name itself appears only once size and checksum are right.
    A file that is already there and has the right checksum is not fetched again.

    Args:
        md5: hexadecimal checksum of the whole file.
        size: bytes of the whole file.
        attempts: how many in a row may fail without getting further.
        backoff: seconds before the second attempt, doubled with each one after.
        timeout: seconds without a byte before the connection counts as cut.

    Raises:
        DatasetError: no network, an HTTP error, a connection that keeps being cut, a wrong size or checksum (what was
            downloaded is then deleted), or a disk that cannot be written.
    """
    if destination.exists() and _is_whole(destination, md5, size):
        return destination
    part = destination.with_name(destination.name + ".part")
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with httpx.Client(timeout=timeout, follow_redirects=True, headers=HEADERS) as client:
            _collect(client, url, part, size, attempts, backoff)
        if not _is_whole(part, md5, size):
            found = f"{part.stat().st_size:,} bytes, md5 {_md5(part)}"
            part.unlink()
            raise DatasetError(
                f"{url} did not arrive as announced (expected {_announced(md5, size)}, came {found}) and was deleted: "
                "run the same command again, and if it happens again, download the file by hand and pass --data_dir."
            )
        os.replace(part, destination)
    except OSError as error:
        raise DatasetError(
            f"Cannot write {part.parent} ({error.strerror or error}): free some space, or set SER_CACHE_DIR to "
            "another folder."
        ) from error
    return destination


def zenodo_file(record: int, name: str, base_url: str | None = None) -> RemoteFile:
    """Address, size and checksum of a file of a Zenodo record, from the record's JSON.

    Source of its shape (`files: [{key, size, checksum: "md5:…", links: {self: …/content}}]`): zenodo/zenodo-rdm,
    `legacy/serializers/schemas/zenodojson.py`.

    Raises:
        DatasetError: no network, no such record, or no such file in it.
    """
    url = f"{(base_url or os.environ.get('SER_ZENODO_URL') or ZENODO_URL).rstrip('/')}/api/records/{record}"
    try:
        response = httpx.get(url, timeout=TIMEOUT, follow_redirects=True, headers=HEADERS)
    except (httpx.RequestError, httpx.InvalidURL) as error:
        raise _no_network(url, error) from error
    if response.is_error:
        raise _refused(url, response)
    try:
        files = {entry["key"]: entry for entry in response.json()["files"]}
        entry = files.get(name)
        if entry is not None:
            algorithm, _, digest = entry["checksum"].rpartition(":")
            return RemoteFile(entry["links"]["self"], int(entry["size"]), digest if algorithm in ("", "md5") else None)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DatasetError(
            f"{url} did not answer with the files of a Zenodo record: download {name} by hand and pass --data_dir."
        ) from error
    raise DatasetError(f"The Zenodo record {record} has no file {name}; it has: {', '.join(sorted(files)) or 'none'}.")


def unzip(archive: Path, folder: Path) -> Path:
    """Unpack a zip so that `folder` appears only when it is complete; what an interrupted call left is redone.

    Raises:
        DatasetError: a broken archive, a member that points outside the folder, or a disk that cannot be written.
    """
    unfinished = folder.with_name(folder.name + ".unfinished")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        with zipfile.ZipFile(archive) as zipped:
            members = list(_safe_members(zipped, archive))
            zipped.extractall(unfinished, members)
        os.replace(unfinished, folder)
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise DatasetError(f"{archive} is not a sound zip archive ({error}): delete it and run again.") from error
    except OSError as error:
        raise DatasetError(
            f"Cannot unpack {archive} into {folder} ({error.strerror or error}): free some space, and remove the "
            "folder if it is there."
        ) from error
    return folder


def _collect(client: httpx.Client, url: str, part: Path, size: int | None, attempts: int, backoff: float) -> None:
    """Append to the `.part` file until it is whole, over as many connections as that takes."""
    furthest = _length(part)
    failures = 0
    reached = False  # whether the server has answered in this call
    while size is None or _length(part) != size:
        try:
            _continue(client, url, part, size)
            return
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            if not reached:  # nobody there: waiting would only delay the news
                raise _no_network(url, error) from error
            cut = _CutError(str(error))
        except httpx.RequestError as error:
            cut = _CutError(str(error) or type(error).__name__)
        except _CutError as error:
            cut = error
        reached = True
        # Only new ground counts as progress, or a server that ignores Range and always stops midway would never end.
        failures = 0 if _length(part) > furthest else failures
        furthest = max(furthest, _length(part))
        failures += 1
        if failures >= attempts:
            raise DatasetError(
                f"{url} did not get further in {failures} attempts ({cut}); {_length(part):,} bytes are kept: run the "
                "same command again to go on from there."
            ) from cut
        time.sleep(min(cut.wait if cut.wait is not None else backoff * 2 ** (failures - 1), LONGEST_WAIT))


def _continue(client: httpx.Client, url: str, part: Path, size: int | None) -> None:
    """One connection: ask for what is missing and write it; `_CutError` or `httpx.RequestError` if it ends early."""
    start = _length(part)
    if size is not None and start > size:
        part.unlink()
        start = 0
    with client.stream("GET", url, headers={"Range": f"bytes={start}-"} if start else {}) as response:
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            # Either there is nothing after the last byte, or what we hold is no beginning of this file.
            if _total_bytes(response) == start:
                return
            part.unlink(missing_ok=True)
            raise _CutError("the server has no such range")
        if response.status_code in TRY_LATER:
            raise _CutError(f"HTTP {response.status_code}", _asked_to_wait(response))
        if response.is_error:
            raise _refused(url, response)
        if response.status_code == httpx.codes.PARTIAL_CONTENT and _first_byte(response) != start:
            part.unlink(missing_ok=True)
            raise _CutError("the server sent another range than was asked for")
        if response.status_code != httpx.codes.PARTIAL_CONTENT:
            start = 0  # the server ignores Range and sends the file from its beginning
        with (
            open(part, "ab" if start else "wb") as file,
            tqdm(
                total=size or _total_bytes(response),
                initial=start,
                unit="B",
                unit_scale=True,
                desc=part.stem,
                disable=None,  # no bar where the output is not a terminal
            ) as progress,
        ):
            for chunk in response.iter_bytes():
                file.write(chunk)
                progress.update(len(chunk))
    if size is not None and _length(part) < size:
        raise _CutError(f"{_length(part):,} of {size:,} bytes came")


def _first_byte(response: httpx.Response) -> int | None:
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(match[1]) if match else None


def _total_bytes(response: httpx.Response) -> int | None:
    match = re.search(r"/(\d+)$", response.headers.get("Content-Range", ""))
    length = match[1] if match else response.headers.get("Content-Length")
    return int(length) if length else None


def _asked_to_wait(response: httpx.Response) -> float | None:
    seconds = response.headers.get("Retry-After", "")
    return float(seconds) if seconds.isdigit() else None


def _is_whole(path: Path, md5: str | None, size: int | None) -> bool:
    return (size is None or path.stat().st_size == size) and (md5 is None or _md5(path) == md5.lower())


def _md5(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _announced(md5: str | None, size: int | None) -> str:
    return ", ".join([*([f"{size:,} bytes"] if size is not None else []), *([f"md5 {md5}"] if md5 else [])])


def _no_network(url: str, error: Exception) -> DatasetError:
    return DatasetError(
        f"Cannot reach {url} ({error}): check the network, or download the corpus elsewhere and pass its folder with "
        "--data_dir."
    )


def _refused(url: str, response: httpx.Response) -> DatasetError:
    return DatasetError(
        f"{url} answered HTTP {response.status_code} {response.reason_phrase}: download the corpus by hand and pass "
        "its folder with --data_dir."
    )


def _safe_members(zipped: zipfile.ZipFile, archive: Path) -> Iterator[zipfile.ZipInfo]:
    for member in zipped.infolist():
        path = PurePosixPath(member.filename.replace("\\", "/"))
        link = stat.S_ISLNK(member.external_attr >> 16)
        if path.is_absolute() or ".." in path.parts or (path.parts and path.parts[0].endswith(":")) or link:
            raise DatasetError(
                f"{archive} has a member outside its folder ({member.filename}): it is not to be trusted."
            )
        if path.parts and path.parts[0] != "__MACOSX":  # resource forks that macOS adds, named like the clips
            yield member
