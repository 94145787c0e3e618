"""`python app.py`: what a person can get wrong is one sentence, and help is quick."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

APP = Path(__file__).parent.parent / "app.py"
QUICK_SECONDS = 5  # torch and Gradio alone take longer than this to import on a busy machine


def run(*arguments: str, seconds: float = 60) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(APP), *arguments], capture_output=True, text=True, timeout=seconds, check=False
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_help_names_the_arguments_without_loading_anything():
    result = run("--help", seconds=QUICK_SECONDS)
    assert result.returncode == 0
    for argument in ("--model", "--host", "--port", "--share"):
        assert argument in result.stdout


def test_a_folder_without_a_model_is_one_sentence(tmp_path):
    result = run("--model", str(tmp_path), "--port", str(free_port()))
    assert result.returncode == 1
    assert f"The folder {tmp_path} has no config.json" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_port_in_use_is_one_sentence():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = run("--port", str(port), seconds=QUICK_SECONDS)
    assert result.returncode == 1
    assert result.stderr.startswith(f"Cannot serve on 127.0.0.1:{port}: ")
    assert "--port" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_host_that_is_not_this_machine_is_one_sentence():
    result = run("--host", "192.0.2.1", seconds=QUICK_SECONDS)  # an address kept free for examples
    assert result.returncode == 1
    assert result.stderr.startswith("Cannot serve on 192.0.2.1:7860: ")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("port", ["0", "70000", "x"])
def test_a_port_that_cannot_be_is_refused(port):
    result = run("--port", port, seconds=QUICK_SECONDS)
    assert result.returncode == 2
    assert "--port" in result.stderr.splitlines()[-1]
