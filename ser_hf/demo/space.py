"""A folder that runs as a Gradio Space when it is pushed to one."""

import importlib.metadata
import shutil
import sys
from pathlib import Path

from ser_hf.errors import SerError

COPIED = ("app.py", "requirements.txt", "LICENSE")  # the pins are the tested ones
LEFT_OUT = ("__pycache__", "*.pyc")
LARGE_FILES = ("*.safetensors", "*.png", "*.flac")  # the Hub takes these by LFS only

README = """---
title: Emotion in speech
emoji: 🗣️
colorFrom: yellow
colorTo: red
sdk: gradio
sdk_version: {gradio}
python_version: "{python}"
app_file: app.py
license: cc-by-nc-sa-4.0
short_description: Which emotion is in a voice, how surely, and when
tags:
- speech-emotion-recognition
- audio-classification
---

# Emotion in speech

Which emotion is in a voice: of a clip, of a recording of hours, live from the microphone, or of many files.
`gradio_client` reaches the same through `/predict`, `/timeline` and `/batch`.

The versions in `requirements.txt` were tested together. The variables of the Space set what the options of `app.py`
set (`python app.py --help`): `SER_MODEL`, `SER_COMPARE`, `SER_AUTH` (as a secret), `SER_MAX_DURATION`,
`SER_MAX_UPLOAD`, `SER_CONCURRENCY`, `SER_MCP`.

The embedded checkpoints are trained on RAVDESS (CC BY-NC-SA 4.0) and fall under those terms; the code is under the
Apache License 2.0. Not for decisions about people.
"""


def write_space(folder: Path, repository: Path) -> None:
    """app.py, ser_hf/, requirements.txt, README.md with its front matter, and .gitattributes → `folder`.

    Args:
        folder: new or empty, or a clone of a Space, whose files of these names are replaced.
        repository: where app.py lies.

    Raises:
        SerError: there is something else in the folder.
    """
    readme = folder / "README.md"
    is_space = readme.is_file() and "sdk: gradio" in readme.read_text(encoding="utf-8")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())) and not is_space:
        raise SerError(f"{folder} is there and is no Gradio Space: give a new folder, or the clone of a Space.")
    folder.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        shutil.copy(repository / name, folder / name)
    shutil.rmtree(folder / "ser_hf", ignore_errors=True)
    shutil.copytree(repository / "ser_hf", folder / "ser_hf", ignore=shutil.ignore_patterns(*LEFT_OUT))
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    readme.write_text(README.format(gradio=importlib.metadata.version("gradio"), python=python), encoding="utf-8")
    rules = "".join(f"{pattern} filter=lfs diff=lfs merge=lfs -text\n" for pattern in LARGE_FILES)
    (folder / ".gitattributes").write_text(rules, encoding="utf-8")
