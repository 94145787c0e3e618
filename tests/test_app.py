"""`python app.py`: what a person can get wrong is one sentence, and help is quick."""

import importlib.util
import os
import socket
import subprocess
import sys
from pathlib import Path

import gradio
import httpx
import pytest
import yaml
from gradio_client import Client, handle_file

APP = Path(__file__).parent.parent / "app.py"
QUICK_SECONDS = 5  # torch and Gradio alone take longer than this to import on a busy machine


@pytest.fixture
def app(monkeypatch):
    """The module app.py, in an environment without settings."""
    for name in [name for name in os.environ if name.startswith(("SER_", "GRADIO_"))]:
        monkeypatch.delenv(name)
    specification = importlib.util.spec_from_file_location("app", APP)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


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
    for name in (*SETTINGS, "share", "mcp"):
        assert f"--{name}" in result.stdout
        assert f"SER_{name.replace('-', '_').upper()}" in result.stdout


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


SETTINGS = {
    "model": ("someone/model", "someone/model"),
    "compare": ("a,b", "a,b"),
    "host": ("0.0.0.0", "0.0.0.0"),
    "port": ("7999", 7999),
    "auth": ("ann:se:cret", ("ann", "se:cret")),
    "max-duration": ("90", 90.0),
    "max-upload": ("2.5", 2.5),
    "concurrency": ("4", 4),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_can_be_given_as_an_option_and_as_a_variable(app, monkeypatch, name):
    text, value = SETTINGS[name]
    field = name.replace("-", "_")
    assert getattr(app.parse([]), field) != value
    assert getattr(app.parse([f"--{name}", text]), field) == value
    monkeypatch.setenv(f"SER_{field.upper()}", text)
    assert getattr(app.parse([]), field) == value


@pytest.mark.parametrize("name", ["share", "mcp"])
def test_a_switch_can_be_given_as_an_option_and_as_a_variable(app, monkeypatch, name):
    assert getattr(app.parse([]), name) is False
    assert getattr(app.parse([f"--{name}"]), name) is True
    for text, value in {"1": True, "true": True, "0": False, "": False}.items():
        monkeypatch.setenv(f"SER_{name.upper()}", text)
        assert getattr(app.parse([]), name) is value


def test_gradios_own_variables_say_where_to_serve_unless_ours_do(app, monkeypatch):
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")
    monkeypatch.setenv("GRADIO_SERVER_PORT", "7998")
    assert (app.parse([]).host, app.parse([]).port) == ("0.0.0.0", 7998)
    monkeypatch.setenv("SER_PORT", "7999")
    assert app.parse([]).port == 7999
    assert app.parse(["--port", "8000"]).port == 8000


@pytest.mark.parametrize(
    ("name", "text"),
    [("auth", "ann"), ("auth", ":x"), ("max-duration", "0"), ("max-upload", "much"), ("concurrency", "0")],
)
def test_a_setting_that_cannot_be_is_refused_and_a_password_is_not_repeated(app, monkeypatch, capsys, name, text):
    for arguments, variable in (([f"--{name}", text], ""), ([], text)):
        monkeypatch.setenv(f"SER_{name.replace('-', '_').upper()}", variable)
        with pytest.raises(SystemExit) as stop:
            app.parse(arguments)
        assert stop.value.code == 2
        assert f"--{name}" in capsys.readouterr().err.splitlines()[-1]


def test_a_space_that_was_written_starts_from_its_own_folder_and_answers(tmp_path, speech_file):
    folder = tmp_path / "space"
    assert run("--space", str(folder)).returncode == 0
    metadata = yaml.safe_load((folder / "README.md").read_text(encoding="utf-8").split("---")[1])
    assert metadata["sdk"] == "gradio"
    assert metadata["sdk_version"] == gradio.__version__
    assert metadata["python_version"] == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert (folder / metadata["app_file"]).is_file()
    assert len(metadata["short_description"]) <= 60  # the Hub refuses longer ones
    pins = (folder / "requirements.txt").read_text().splitlines()
    assert f"gradio[mcp]=={gradio.__version__}" in pins
    assert all("==" in pin for pin in pins if pin and not pin.startswith("#"))
    assert not (folder / "tests").exists() and not list(folder.rglob("__pycache__"))
    large = [file for file in folder.rglob("*") if file.is_file() and file.stat().st_size > 10_000_000]
    rules = (folder / ".gitattributes").read_text()
    assert large and all(f"*{file.suffix} filter=lfs" in rules for file in large)

    # As a Space starts it: its own files alone, and Gradio's variables saying where.
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SER_", "PYTHONPATH"))}
    environment |= {"GRADIO_SERVER_NAME": "0.0.0.0", "GRADIO_SERVER_PORT": str(port), "PYTHONDONTWRITEBYTECODE": "1"}
    page = folder / "ser_hf" / "demo" / "page.py"
    page.write_text(page.read_text().replace('TITLE = "', 'TITLE = "Copied: '))
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    server = subprocess.Popen([sys.executable, "app.py"], cwd=folder, env=environment, **pipes)
    try:
        assert server.stdout.readline().startswith("Open http://"), server.stdout.read()
        assert "Copied: Emotion in speech" in httpx.get(f"http://127.0.0.1:{port}").text
        client = Client(f"http://127.0.0.1:{port}", verbose=False)
        answer = client.predict(handle_file(speech_file), api_name="/predict")
        assert answer["file"] == "clip.wav" and answer["label"] in answer["scores"]
    finally:
        server.terminate()
        server.wait(timeout=30)


def test_a_space_is_written_over_an_older_one_and_over_nothing_else(app, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("years of work")
    result = run("--space", str(other))
    assert result.returncode == 1
    assert "is no Gradio Space" in result.stderr and len(result.stderr.splitlines()) == 1
    assert [file.name for file in other.iterdir()] == ["thesis.txt"]
    space = tmp_path / "space"
    (space / "ser_hf").mkdir(parents=True)
    (space / "README.md").write_text("---\nsdk: gradio\n---\n")
    (space / "ser_hf" / "gone.py").write_text("")
    assert app.main(["--space", str(space)]) == 0
    assert not (space / "ser_hf" / "gone.py").exists()
    assert (space / "ser_hf" / "demo" / "page.css").is_file()
