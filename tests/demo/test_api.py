"""The same through code: gradio_client, MCP, many callers at once, and a server that speaks to nobody else."""

import asyncio
import base64
import json
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from sounds import write_sound

from conftest import tiny_encoder_config
from ser_hf import EmotionClassifier
from ser_hf.__main__ import main as command_line
from ser_hf.audio import SAMPLING_RATE
from ser_hf.demo.page import build_demo, launch_demo
from ser_hf.labels import EMOTIONS
from ser_hf.modeling import SerConfig, SerFeatureExtractor, SerForAudioClassification
from ser_hf.training.checkpoint import save_checkpoint

CLIENTS, REQUESTS = 8, 40
MAX_SECONDS = 60.0
MAX_UPLOAD_MB = 5
OURS = {"127.0.0.1", "localhost", "::1", "0.0.0.0", None, ""}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """A tiny random model as a folder, for the command line and for the demo."""
    import torch

    torch.manual_seed(0)
    config = SerConfig(encoder_config=tiny_encoder_config("whisper"), id2label=dict(enumerate(EMOTIONS)))
    folder = tmp_path_factory.mktemp("model")
    save_checkpoint(SerForAudioClassification(config).eval(), SerFeatureExtractor(feature_type="log_mel"), folder)
    return folder


@pytest.fixture(scope="module")
def url(checkpoint):
    demo = build_demo(EmotionClassifier.from_pretrained(checkpoint, device="cpu"), MAX_SECONDS)
    yield launch_demo(demo, "127.0.0.1", None, mcp=True, max_upload_mb=MAX_UPLOAD_MB)
    demo.close(verbose=False)


@pytest.fixture(scope="module")
def client(url) -> Client:
    return Client(url, verbose=False)


def printed(capsys, *arguments) -> list[dict]:
    """What the command line prints as JSON."""
    capsys.readouterr()
    command_line([str(argument) for argument in arguments])
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def close(given, expected) -> None:
    """The same objects, but for the last digits of a number."""
    assert type(given) is type(expected)
    if isinstance(expected, dict):
        assert list(given) == list(expected)
        for name in expected:
            close(given[name], expected[name])
    elif isinstance(expected, list):
        assert len(given) == len(expected)
        for one, other in zip(given, expected, strict=True):
            close(one, other)
    else:
        assert given == (pytest.approx(expected, abs=1e-4) if isinstance(expected, float) else expected)


def test_predict_gives_what_the_command_line_prints(client, checkpoint, speech_file, capsys):
    given = client.predict(handle_file(speech_file), api_name="/predict")
    (expected,) = printed(capsys, "predict", speech_file, "--json", "--model", checkpoint)
    close(given, {**expected, "file": "clip.wav"})


def test_timeline_gives_what_the_command_line_prints_and_has_defaults(client, checkpoint, speech, tmp_path, capsys):
    file = tmp_path / "meeting.flac"
    pause = np.zeros(5 * SAMPLING_RATE, np.float32)
    soundfile.write(file, np.concatenate([speech, pause, speech]), SAMPLING_RATE)
    given = client.predict(handle_file(file), api_name="/timeline")
    (expected,) = printed(capsys, "timeline", file, "--json", "--model", checkpoint)
    close(given, {**expected, "file": "meeting.flac"})
    labels = [segment["label"] for segment in given["segments"]]
    assert None in labels and set(labels) - {None}
    finer = client.predict(handle_file(file), window=1, hop=0.5, api_name="/timeline")
    assert len(finer["segments"]) > len(labels)


def test_batch_gives_what_the_command_line_prints_and_a_bad_file_is_one_of_them(
    client, checkpoint, speech_file, tmp_path, capsys
):
    bad = tmp_path / "notes.wav"
    bad.write_text("This is no sound.")
    given = client.predict([handle_file(speech_file), handle_file(bad)], api_name="/batch")
    expected = printed(capsys, "predict", speech_file, bad, "--json", "--model", checkpoint)
    close(given[0], {**expected[0], "file": "clip.wav"})
    assert given[1] == {"file": "notes.wav", "error": expected[1]["error"].replace(str(bad), "notes.wav")}


@pytest.mark.parametrize("endpoint", ["/predict", "/timeline"])
def test_a_caller_gets_the_message_of_a_bad_file(client, tmp_path, endpoint):
    bad = tmp_path / "notes.wav"
    bad.write_text("This is no sound.")
    with pytest.raises(AppError, match=r"notes\.wav cannot be read as audio") as error:
        client.predict(handle_file(bad), api_name=endpoint)
    assert "Traceback" not in str(error.value) and "gradio/" not in str(error.value)


def test_a_recording_beyond_the_limit_of_the_host_is_refused(client, tmp_path):
    long = tmp_path / "long.flac"
    soundfile.write(long, np.zeros(round((MAX_SECONDS + 5) * SAMPLING_RATE)), SAMPLING_RATE)
    with pytest.raises(AppError, match=r"long\.flac is too long: 1\.1 minutes, expected at most 1"):
        client.predict(handle_file(long), api_name="/timeline")


def test_a_hop_that_would_keep_the_server_busy_is_refused(client, speech_file):
    with pytest.raises(AppError, match=r"The hop is 0\.001 s; choose at least 0\.1 s"):
        client.predict(handle_file(speech_file), hop=0.001, api_name="/timeline")


def test_a_file_beyond_the_limit_of_the_host_is_refused(url):
    files = {"files": ("big.wav", bytes(MAX_UPLOAD_MB * 1_000_000 + 1))}
    response = httpx.post(f"{url}/gradio_api/upload", files=files)
    assert response.status_code == 413


def test_the_types_stand_on_the_api_page(client):
    shown = client.view_api(print_info=False, return_format="str")
    for endpoint in ("/predict", "/timeline", "/batch"):
        assert f'api_name="{endpoint}"' in shown
    assert re.search(r"prediction: dict\(file: str, label: str.*, score: float", shown)
    assert "segments: list[dict(start: float" in shown


def test_forty_requests_of_eight_clients_at_once_are_all_answered_rightly(url, checkpoint, speech, tmp_path):
    classifier = EmotionClassifier.from_pretrained(checkpoint, device="cpu")
    expected = {}
    for number in range(5):
        clip = speech[: len(speech) - number * SAMPLING_RATE // 4]
        expected[write_sound(clip, tmp_path / f"clip_{number}.wav")] = classifier.predict((clip, SAMPLING_RATE))
    jobs = list(expected) * (REQUESTS // len(expected))
    clients = [Client(url, verbose=False) for _ in range(CLIENTS)]

    def ask(number: int) -> tuple[Path, dict, float]:
        began = time.perf_counter()
        answer = clients[number % CLIENTS].predict(handle_file(jobs[number]), api_name="/predict")
        return jobs[number], answer, time.perf_counter() - began

    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = list(pool.map(ask, range(REQUESTS)))
    assert len(answers) == REQUESTS
    for file, answer, _ in answers:
        assert answer["file"] == file.name
        assert answer["scores"] == pytest.approx(expected[file].scores, abs=1e-3)
    middle, slow = np.quantile([taken for *_, taken in answers], (0.5, 0.95))
    print(f"{REQUESTS} requests of {CLIENTS} clients: p50 {middle:.2f} s, p95 {slow:.2f} s")


def test_the_endpoints_are_tools_of_the_model_context_protocol(url, speech_file):
    from mcp import ClientSession
    from mcp.client.streamable_http import streamablehttp_client

    sound = f"data:audio/wav;base64,{base64.b64encode(speech_file.read_bytes()).decode()}"

    async def use() -> tuple[list, str]:
        async with (
            streamablehttp_client(f"{url}/gradio_api/mcp/") as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            tools = (await session.list_tools()).tools
            result = await session.call_tool(tools[0].name, {"file": sound})
            return tools, result.content[0].text

    tools, answer = asyncio.run(use())
    assert [tool.name.rpartition("_")[2] for tool in tools] == ["predict", "timeline", "batch"]
    assert all("speech" in tool.description or "clips" in tool.description or "recording" in tool.description
               for tool in tools)  # fmt: skip
    assert any(f'"label": "{emotion}"' in answer or f"'label': '{emotion}'" in answer for emotion in EMOTIONS), answer


def test_who_has_no_password_gets_nothing(checkpoint, speech_file):
    demo = build_demo(EmotionClassifier.from_pretrained(checkpoint, device="cpu"))
    url = launch_demo(demo, "127.0.0.1", None, auth=("ann", "secret"))
    try:
        assert httpx.get(f"{url}/config").status_code == 401
        assert httpx.post(f"{url}/gradio_api/upload", files={"files": ("a.wav", b"x")}).status_code == 401
        answer = Client(url, auth=("ann", "secret"), verbose=False).predict(
            handle_file(speech_file), api_name="/predict"
        )
        assert answer["label"] in EMOTIONS
    finally:
        demo.close(verbose=False)


def test_the_server_asks_no_other_host_from_start_to_answer(checkpoint, speech_file, monkeypatch):
    asked: set[str | None] = set()
    ask = socket.getaddrinfo

    def noted(host, *arguments, **options):
        asked.add(host.decode() if isinstance(host, bytes) else host)
        return ask(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", noted)
    demo = build_demo(EmotionClassifier.from_pretrained(checkpoint, device="cpu"))
    url = launch_demo(demo, "127.0.0.1", None)
    try:
        with httpx.Client(base_url=url) as plain:  # gradio_client asks the Hub of its own accord
            assert plain.get("/").status_code == 200
            files = {"files": ("clip.wav", speech_file.read_bytes())}
            path = plain.post("/gradio_api/upload", files=files).json()[0]
            data = {"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}]}
            event = plain.post("/gradio_api/call/predict", json=data).json()["event_id"]
            assert '"label"' in plain.get(f"/gradio_api/call/predict/{event}").text
    finally:
        demo.close(verbose=False)
    assert "127.0.0.1" in asked
    assert asked <= OURS
