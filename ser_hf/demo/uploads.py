"""Files that come in and go out: uploads under the name their owner gave them, results to download."""

import io
import logging
import traceback
from pathlib import Path

from gradio.processing_utils import save_bytes_to_cache
from gradio.utils import get_upload_folder

from ser_hf.errors import AudioError, SerError

CHECK_SECONDS, KEEP_SECONDS = 60, 540  # uploads older than 540 s are deleted every 60 s: after 10 minutes at most

logger = logging.getLogger(__name__)


def open_upload(path: str) -> io.BufferedReader:
    """An upload, opened under its own name: messages shall not say where the server put it.

    Raises:
        AudioError: it has been deleted meanwhile.
    """
    name = Path(path).name
    try:
        file = io.FileIO(path)
    except OSError as error:
        raise AudioError(
            f"{name} is no longer here: recordings are deleted within 10 minutes. Upload it again."
        ) from error
    file.name = name
    return io.BufferedReader(file)


def save_download(name: str, text: str) -> str:
    """The path of a text that the page offers as a download; deleted like the uploads."""
    return save_bytes_to_cache(text.encode("utf-8"), name, get_upload_folder())


def explain(error: Exception) -> str:
    """The sentence that a visitor reads. What is a fault of ours goes to the log, without what identifies a recording:
    the message of the exception may hold a file name, so only its type and its place are written."""
    if isinstance(error, SerError):
        return str(error)
    place = "".join(traceback.format_tb(error.__traceback__))
    logger.error("A recording could not be analysed: %s\n%s", type(error).__name__, place)
    return f"Something went wrong here ({type(error).__name__}), not with your recording. Please try another one."
