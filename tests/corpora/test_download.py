import hashlib
import io
import json
import re
import socket
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import soundfile

from ser_hf.corpora import download, load_corpus, ravdess
from ser_hf.errors import DatasetError

RATE = 16_000  # Hz
FAST = {"backoff": 0.01, "timeout": 5.0}  # seconds
CONTENT = np.random.default_rng(0).bytes(300_000)
MD5 = hashlib.md5(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Files by path, and the faults that a test asks for."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.cut_after: list[int] = []  # bytes of the body after which the next answers break off
        self.statuses: list[int] = []  # answers before anything is served
        self.knows_range = True
        self.ranges: dict[str, list[str | None]] = {}  # path → Range header of each request
        self.bytes_sent = 0
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self):
        wanted = self.headers["Range"]
        self.server.ranges.setdefault(self.path, []).append(wanted)
        body = self.server.files.get(self.path)
        status = self.server.statuses.pop(0) if self.server.statuses else 200 if body is not None else 404
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and self.server.knows_range else 0
        if status == 200 and start >= len(body) > 0:
            status = 416
        elif status == 200 and start:
            status = 206
        self.send_response(status)
        if status in (206, 416):
            span = f"{start}-{len(body) - 1}" if status == 206 else "*"
            self.send_header("Content-Range", f"bytes {span}/{len(body)}")
        if status == 503:
            self.send_header("Retry-After", "0")
        body = body[start:] if status in (200, 206) else b""
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if body and self.server.cut_after:
            body = body[: self.server.cut_after.pop(0)]
            self.close_connection = True
        self.server.bytes_sent += len(body)  # before the client can have the last of them
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    server = Server()
    server.files["/file.bin"] = CONTENT
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def target(tmp_path):
    return tmp_path / "cache" / "file.bin"


def nobody() -> str:
    """The address of a port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def part(target):
    return target.with_name(target.name + ".part")


def test_a_whole_download_arrives_and_leaves_nothing_beside_it(server, target):
    assert download.fetch(f"{server.url}/file.bin", target, md5=MD5, size=len(CONTENT), **FAST) == target
    assert target.read_bytes() == CONTENT
    assert [path.name for path in target.parent.iterdir()] == ["file.bin"]


def test_a_file_that_is_there_is_not_fetched_again(server, target):
    for _ in range(2):
        download.fetch(f"{server.url}/file.bin", target, md5=MD5, size=len(CONTENT), **FAST)
    assert server.ranges == {"/file.bin": [None]}


def test_a_file_that_is_there_with_other_content_is_fetched_again(server, target):
    target.parent.mkdir()
    target.write_bytes(b"an older version")
    download.fetch(f"{server.url}/file.bin", target, md5=MD5, **FAST)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("size", [len(CONTENT), None])
def test_a_cut_connection_is_resumed_where_it_broke_off(server, target, size):
    server.cut_after = [100_000]
    download.fetch(f"{server.url}/file.bin", target, md5=MD5, size=size, **FAST)
    assert target.read_bytes() == CONTENT
    assert server.ranges["/file.bin"] == [None, "bytes=100000-"]
    assert server.bytes_sent == len(CONTENT)


def test_a_later_call_goes_on_from_what_an_earlier_one_left(server, target):
    server.cut_after = [100_000, 0]
    with pytest.raises(DatasetError, match="100,000 bytes are kept: run the same command again"):
        download.fetch(f"{server.url}/file.bin", target, md5=MD5, size=len(CONTENT), **FAST, attempts=1)
    assert not target.exists()
    server.cut_after = []
    download.fetch(f"{server.url}/file.bin", target, md5=MD5, size=len(CONTENT), **FAST)
    assert target.read_bytes() == CONTENT
    assert server.ranges["/file.bin"][-1] == "bytes=100000-"


@pytest.mark.parametrize("size", [len(CONTENT), None])
def test_a_complete_part_file_is_only_checked_and_renamed(server, target, size):
    target.parent.mkdir()
    part(target).write_bytes(CONTENT)
    download.fetch(f"{server.url}/file.bin", target, md5=MD5, size=size, **FAST)
    assert target.read_bytes() == CONTENT
    assert server.bytes_sent == 0


def test_a_part_file_longer_than_the_file_is_begun_anew(server, target):
    target.parent.mkdir()
    part(target).write_bytes(CONTENT + b"more")
    download.fetch(f"{server.url}/file.bin", target, md5=MD5, **FAST)
    assert target.read_bytes() == CONTENT


def test_a_server_that_ignores_range_sends_the_file_from_its_beginning(server, target):
    server.knows_range = False
    server.cut_after = [100_000]
    download.fetch(f"{server.url}/file.bin", target, md5=MD5, size=len(CONTENT), **FAST)
    assert target.read_bytes() == CONTENT
    assert server.ranges["/file.bin"] == [None, "bytes=100000-"]


def test_a_connection_that_is_always_cut_is_given_up(server, target):
    server.knows_range = False
    server.cut_after = [100_000] * 100
    with pytest.raises(DatasetError, match="did not get further in 3 attempts"):
        download.fetch(f"{server.url}/file.bin", target, md5=MD5, size=len(CONTENT), **FAST, attempts=3)
    assert len(server.ranges["/file.bin"]) <= 4


def test_many_cuts_are_survived_while_the_file_grows(server, target):
    server.cut_after = [20_000] * 14
    download.fetch(f"{server.url}/file.bin", target, md5=MD5, size=len(CONTENT), **FAST, attempts=2)
    assert target.read_bytes() == CONTENT
    assert server.bytes_sent == len(CONTENT)


def test_a_busy_server_is_asked_again(server, target):
    server.statuses = [503, 429]
    download.fetch(f"{server.url}/file.bin", target, md5=MD5, **FAST)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("announced", [{"md5": "0" * 32}, {"size": len(CONTENT) - 1}, {"size": len(CONTENT) + 1}])
def test_a_file_that_is_not_the_announced_one_is_deleted(server, target, announced):
    with pytest.raises(DatasetError, match=r"did not arrive as announced .* deleted"):
        download.fetch(f"{server.url}/file.bin", target, **announced, **FAST)
    assert list(target.parent.iterdir()) == []


def test_a_missing_file_is_an_error_at_once(server, target):
    with pytest.raises(DatasetError, match=r"HTTP 404 Not Found: .*--data_dir"):
        download.fetch(f"{server.url}/nothing.zip", target, **FAST)
    assert len(server.ranges["/nothing.zip"]) == 1


def test_without_a_network_the_message_says_what_to_do(target):
    with pytest.raises(DatasetError, match=r"(?s)^Cannot reach [^\n]*--data_dir\.$"):
        download.fetch(f"{nobody()}/file.bin", target, **FAST)
    assert not part(target).exists()


def test_a_folder_that_cannot_be_written_is_named(server, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(DatasetError, match=r"Cannot write .*cache .*SER_CACHE_DIR"):
        download.fetch(f"{server.url}/file.bin", tmp_path / "cache" / "file.bin", **FAST)


def zipped(members: dict[str, bytes]) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return memory.getvalue()


@pytest.mark.parametrize("name", ["../escaped.wav", "/escaped.wav", "Actor_01/../../escaped.wav", "..\\escaped.wav"])
def test_an_archive_that_points_outside_its_folder_is_refused(tmp_path, name):
    (tmp_path / "evil.zip").write_bytes(zipped({"Actor_01/good.wav": b"", name: b"evil"}))
    with pytest.raises(DatasetError, match="outside its folder"):
        download.unzip(tmp_path / "evil.zip", tmp_path / "inner" / "folder")
    assert not list(tmp_path.rglob("*.wav"))
    assert not (tmp_path / "inner" / "folder").exists()


def test_a_broken_archive_leaves_no_folder(tmp_path):
    whole = zipped({"Actor_01/clip.wav": CONTENT})
    (tmp_path / "broken.zip").write_bytes(whole[:1000] + b"\0" * 1000 + whole[2000:])
    with pytest.raises(DatasetError, match="not a sound zip"):
        download.unzip(tmp_path / "broken.zip", tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


def clip(seed: int) -> bytes:
    memory = io.BytesIO()
    noise = np.random.default_rng(seed).integers(-16_000, 16_000, RATE // 4, dtype=np.int16)
    soundfile.write(memory, noise, RATE, format="WAV")
    return memory.getvalue()


@pytest.fixture
def zenodo(server):
    """The record of RAVDESS with two small archives, laid out like the real ones: `Actor_NN/` at the top."""
    archives = {
        "Audio_Speech_Actors_01-24.zip": zipped(
            {f"Actor_{actor:02d}/03-01-01-01-01-01-{actor:02d}.wav": clip(actor) for actor in (1, 2, 3)}
        ),
        "Audio_Song_Actors_01-24.zip": zipped({"Actor_01/03-02-06-01-01-01-01.wav": clip(9)}),
    }
    files = []
    for name, content in archives.items():
        path = f"/api/records/1188976/files/{name}/content"
        server.files[path] = content
        checksum = f"md5:{hashlib.md5(content).hexdigest()}"
        files.append(
            {"id": "x", "key": name, "size": len(content), "checksum": checksum, "links": {"self": server.url + path}}
        )
    server.files["/api/records/1188976"] = json.dumps({"id": 1188976, "files": files}).encode()
    return server


def test_ravdess_is_downloaded_once_and_loaded(zenodo, tmp_path, monkeypatch):
    monkeypatch.setenv("SER_ZENODO_URL", zenodo.url)
    monkeypatch.setenv("SER_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("SER_DATA_DIR", raising=False)
    corpus = load_corpus("ravdess")
    assert list(corpus.dataset["speaker"]) == ["01", "02", "03"]
    assert corpus.dataset[0]["file"] == "Audio_Speech_Actors_01-24/Actor_01/03-01-01-01-01-01-01.wav"
    assert not list(tmp_path.rglob("*.zip*"))
    requests = sum(map(len, zenodo.ranges.values()))
    load_corpus("ravdess")
    assert sum(map(len, zenodo.ranges.values())) == requests
    assert len(load_corpus("ravdess", channel="both").dataset) == 4  # fetches the songs alone
    assert len(zenodo.ranges["/api/records/1188976/files/Audio_Speech_Actors_01-24.zip/content"]) == 1


def test_a_data_folder_without_ravdess_does_not_keep_it_from_being_downloaded(zenodo, tmp_path, monkeypatch):
    (tmp_path / "data" / "emodb").mkdir(parents=True)
    monkeypatch.setenv("SER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("SER_ZENODO_URL", zenodo.url)
    monkeypatch.setenv("SER_CACHE_DIR", str(tmp_path / "cache"))
    assert len(load_corpus("ravdess").dataset) == 3
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["emodb"]


def test_a_download_of_ravdess_that_is_cut_is_resumed(zenodo, tmp_path):
    path = "/api/records/1188976/files/Audio_Speech_Actors_01-24.zip/content"
    size = len(zenodo.files[path])
    zenodo.cut_after = [10_000_000, size // 2]  # the first is the record's JSON, whole
    ravdess.download(tmp_path, base_url=zenodo.url)
    assert zenodo.ranges[path] == [None, f"bytes={size // 2}-"]
    assert zenodo.bytes_sent < 2 * size
    assert len(ravdess.load(tmp_path).dataset) == 3


def test_an_interrupted_unzip_is_redone(zenodo, tmp_path, monkeypatch):
    def interrupted(self, path, members):
        self.extract(members[0], path)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "extractall", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ravdess.download(tmp_path, base_url=zenodo.url)
    assert ravdess.download(tmp_path, base_url=zenodo.url) == tmp_path
    assert len(ravdess.load(tmp_path).dataset) == 3
    path = "/api/records/1188976/files/Audio_Speech_Actors_01-24.zip/content"
    assert len(zenodo.ranges[path]) == 1  # the zip itself was whole
    assert not list(tmp_path.glob("*.unfinished"))


def test_two_processes_download_once(zenodo, tmp_path):
    threads = [
        threading.Thread(target=ravdess.download, args=(tmp_path,), kwargs={"base_url": zenodo.url}) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ravdess.load(tmp_path).dataset) == 3
    assert len(zenodo.ranges["/api/records/1188976/files/Audio_Speech_Actors_01-24.zip/content"]) == 1


def test_an_archive_with_a_wrong_checksum_is_not_unpacked(zenodo, tmp_path):
    zenodo.files["/api/records/1188976/files/Audio_Speech_Actors_01-24.zip/content"] = zipped({"Actor_01/x": b""})
    with pytest.raises(DatasetError, match="did not arrive as announced"):
        ravdess.download(tmp_path, base_url=zenodo.url)
    assert not (tmp_path / "Audio_Speech_Actors_01-24").exists()


def test_a_record_without_the_file_names_those_it_has(zenodo):
    with pytest.raises(DatasetError, match=r"no file Video.zip; it has: Audio_Song.*, Audio_Speech"):
        download.zenodo_file(1188976, "Video.zip", zenodo.url)


def test_an_answer_that_is_no_record_is_refused(zenodo):
    zenodo.files["/api/records/1188976"] = b"<html>maintenance</html>"
    with pytest.raises(DatasetError, match="did not answer with the files of a Zenodo record"):
        download.zenodo_file(1188976, "Video.zip", zenodo.url)


def test_without_a_network_loading_ravdess_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.delenv("SER_DATA_DIR", raising=False)
    monkeypatch.setenv("SER_ZENODO_URL", nobody())
    monkeypatch.setenv("SER_CACHE_DIR", str(tmp_path))
    with pytest.raises(DatasetError, match=r"Cannot reach .*--data_dir"):
        load_corpus("ravdess")
