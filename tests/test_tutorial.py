"""The tutorial of the README: every command runs as written, on speech made here, with a Hub on this machine."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pandas
import pytest
import soundfile
from gradio_client import Client, handle_file

from conftest import spoken
from ser_hf.audio import SAMPLING_RATE

REPOSITORY = Path(__file__).parents[1]
HEADING = "## From a folder of recordings to a checkpoint of your own"
VOICES = {"anna": "en+f2", "ben": "en+m3", "cleo": "en+f4"}
MOODS = {"happy": (75, 190, 0.5), "sad": (20, 110, 0.15), "angry": (55, 220, 0.9)}  # pitch, speed, peak
SENTENCES = ("The train leaves at nine", "I have put it on the table")
START_SECONDS = 90  # of the demo, on a busy machine


def tutorial() -> list[str]:
    """The command lines under the heading, without their comments."""
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    section = re.split(r"\n## ", readme.split(HEADING + "\n", 1)[1], maxsplit=1)[0]
    blocks = re.findall(r"^```\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("python ")]


@pytest.fixture
def folder(tmp_path) -> Path:
    """As a person has it: the repository's programs, and the recordings beside them."""
    for name in ("finetune", "configs", "app.py"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    for number, (speaker, voice) in enumerate(VOICES.items()):
        for mood, (pitch, speed, peak) in MOODS.items():
            for take, sentence in enumerate(SENTENCES, start=1):
                path = tmp_path / "recordings" / speaker / mood / f"{take}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                sound = spoken(sentence, voice, pitch + 2 * number, speed + 3 * take)
                soundfile.write(path, peak * sound / np.abs(sound).max(), SAMPLING_RATE)
    return tmp_path


@pytest.fixture
def environment(folder) -> dict[str, str]:
    """`python` is the one of these tests, no variable of ours is set, and nothing is cached outside the folder."""
    (folder / "bin").mkdir()
    (folder / "bin" / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (folder / "bin" / "python").chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SER_", "GRADIO_"))}
    places = {"PATH": f"{folder / 'bin'}:{kept['PATH']}", "PYTHONPATH": str(REPOSITORY)}
    return kept | places | {"HF_DATASETS_CACHE": str(folder / "cache")}


def test_every_command_of_the_tutorial_runs_as_written(hub, folder, environment):
    commands = tutorial()
    said = {}
    for command in commands:
        if command.startswith("python app.py"):
            said[command] = asked_in_the_demo(command, folder, environment)
            continue
        done = subprocess.run(
            command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-1500:]}\n{done.stderr[-1500:]}"
        said[command] = done.stdout

    by_script = {
        command.removeprefix("python -m ").removeprefix("python ").split()[0]: command for command in commands
    }
    assert set(by_script) >= {
        "app.py", "ser_hf",
        "finetune/explore.py", "finetune/train.py", "finetune/cross_validate.py", "finetune/evaluate.py",
        "finetune/predict.py", "finetune/push_to_hub.py",
    }  # fmt: skip
    assert (
        "18 clips" in said[by_script["finetune/explore.py"]] and "3 speakers" in said[by_script["finetune/explore.py"]]
    )
    assert "6 clips of 1 speaker (" in said[by_script["finetune/train.py"]]
    assert "6 clips of 1 speaker (" in said[by_script["finetune/evaluate.py"]]  # the same, not those of training
    assert "interval over 3 speakers" in said[by_script["finetune/cross_validate.py"]]
    assert said[by_script["app.py"]] in MOODS
    labels = pandas.read_parquet(folder / "labels")
    assert len(labels) == 18 and set(labels["label"]) <= set(MOODS) and labels["error"].isna().all()
    # Pushed, and loaded by its name on the Hub: the last command asks for one clip.
    assert re.search(r"1\.wav: (not sure \()?(happy|sad|angry)", said[commands[-1]])
    assert commands[-1].endswith("--model someone/my-voices")


def asked_in_the_demo(command: str, folder: Path, environment: dict[str, str]) -> str:
    """What the demo that the command starts says of a clip; on a port of its own, since 7860 may be taken."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        f"exec {command}", shell=True, cwd=folder, env=environment | {"SER_PORT": str(port)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        for line in server.stdout:  # it prints its address as soon as it answers
            if f":{port}" in line:
                break
        else:
            pytest.fail(f"{command} ended with {server.wait()}")
        address = f"http://127.0.0.1:{port}"
        assert httpx.get(address, timeout=START_SECONDS).status_code == 200
        client = Client(address, verbose=False)
        clip = handle_file(folder / "recordings" / "anna" / "happy" / "1.wav")
        return client.predict(clip, api_name="/predict")["label"]
    finally:
        server.terminate()
        server.wait()
