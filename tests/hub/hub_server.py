"""A Hub on localhost: the endpoints that the real clients ask for when they create, upload, list and download.

Written from the published API (https://huggingface.co/docs/hub/api) and from what `huggingface_hub` sends; models and
data sets, regular and LFS files, branches, private and gated repositories. Nothing is kept on disk.
"""

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

LFS_SUFFIXES = (".safetensors", ".parquet", ".png")  # what the Hub's own .gitattributes sends through LFS
DATE = "2026-01-01T00:00:00.000Z"


class HubError(Exception):
    """An answer that is not 200: status, and the headers by which clients tell errors apart."""

    def __init__(self, status: int, code: str = "", message: str = ""):
        super().__init__(message)
        self.status, self.code, self.message = status, code, message or code


@dataclass
class Repo:
    """Branch → commit, and commit → its files: path → (content, whether it lies in LFS)."""

    private: bool = False
    gated: bool = False
    branches: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, tuple[bytes, bool]]] = field(default_factory=dict)

    def commit(self, branch: str, files: dict) -> str:
        sha = hashlib.sha1(f"{len(self.commits)}{sorted(files)}".encode()).hexdigest()
        self.commits[sha] = files
        self.branches[branch] = sha
        return sha

    def resolve(self, revision: str) -> str:
        sha = self.branches.get(revision, revision)
        if sha not in self.commits:
            raise HubError(404, "RevisionNotFound")
        return sha


class Hub:
    """The state of the server: accounts, repositories, LFS objects, and the requests that came.

    Attributes:
        tokens: token → user.
        repos: ("models" or "datasets", "owner/name") → `Repo`.
        cut_uploads: how many more LFS uploads break off in the middle.
    """

    def __init__(self):
        self.tokens = {"hf_someone": "someone", "hf_other": "other"}
        self.repos: dict[tuple[str, str], Repo] = {}
        self.lfs: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.cut_uploads = 0

    def add(self, name: str, files: dict[str, bytes], kind: str = "models", **options) -> Repo:
        repo = self.repos[kind, name] = Repo(**options)
        repo.commit("main", {path: (content, path.endswith(LFS_SUFFIXES)) for path, content in files.items()})
        return repo

    def files(self, name: str, revision: str = "main", kind: str = "models") -> dict[str, bytes]:
        """Path → content of a repository, without .gitattributes."""
        repo = self.repos[kind, name]
        content = repo.commits[repo.resolve(revision)]
        return {path: data for path, (data, _) in content.items() if path != ".gitattributes"}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub  # set by `serve`

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.answer()

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    def answer(self):
        url = urlsplit(self.path)
        self.query = {name: values[0] for name, values in parse_qs(url.query).items()}
        self.hub.requests.append(f"{self.command} {url.path}")
        try:
            for method, pattern, handle in ROUTES:
                match = re.fullmatch(pattern, url.path)
                if match and self.command in (method, "HEAD" if method == "GET" else method):
                    # Groups are unquoted one by one: a revision such as refs%2Fpr%2F1 holds slashes of its own.
                    return handle(self, **{k: unquote(v) if v else v for k, v in match.groupdict().items()})
            raise HubError(404, message=f"no endpoint {self.command} {url.path}")
        except HubError as error:
            self.close_connection = True  # what the client was still sending is not read
            headers = {"X-Error-Message": error.message, "Connection": "close"}
            self.send(
                error.status, {"error": error.message}, headers | ({"X-Error-Code": error.code} if error.code else {})
            )
        except ConnectionError:
            self.close_connection = True

    def send(self, status: int, body=b"", headers: dict | None = None):
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    @property
    def endpoint(self) -> str:
        return f"http://{self.headers['Host']}"

    def user(self, required: bool = False) -> str | None:
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if (required or token) and token not in self.hub.tokens:
            raise HubError(401, message="Invalid credentials in Authorization header")
        return self.hub.tokens.get(token)

    def repo(self, kind: str | None, name: str, content: bool = False, write: bool = False) -> Repo:
        """The repository, if the user may see it (and, where asked for, read its content or write to it)."""
        user, repo = self.user(required=write), self.hub.repos.get(((kind or "models").strip("/"), name))
        owns = user == name.split("/")[0]
        if repo is None or (repo.private and not owns):
            raise HubError(404 if user else 401, "RepoNotFound", "Repository not found")
        if content and repo.gated and not owns:
            raise HubError(403 if user else 401, "GatedRepo", f"Access to model {name} is restricted")
        if write and not owns:
            raise HubError(403, message="You don't have the rights to write to this repository")
        return repo

    # --- account and repositories

    def whoami(self):
        self.send(
            200, {"type": "user", "name": self.user(required=True), "orgs": [], "auth": {"type": "access_token"}}
        )

    def validate_yaml(self):
        header = json.loads(self.body())["content"]
        known = header.startswith("---\n")
        self.send(200 if known else 400, {"errors": [] if known else [{"message": "no metadata"}], "warnings": []})

    def create(self):
        user, wanted = self.user(required=True), json.loads(self.body())
        owner = wanted.get("organization") or user
        if owner != user:
            raise HubError(403, message=f"You don't have the rights to create a {wanted['type']} under {owner}")
        kind, name = wanted["type"] + "s", f"{owner}/{wanted['name']}"
        address = f"{self.endpoint}/{'' if kind == 'models' else kind + '/'}{name}"
        if (kind, name) in self.hub.repos:
            return self.send(409, {"error": "You already created this repo", "url": address})
        repo = self.hub.repos[kind, name] = Repo(private=wanted.get("visibility") == "private")
        repo.commit("main", {".gitattributes": (b"*.safetensors filter=lfs\n", False)})
        self.send(200, {"url": address, "name": name, "id": name})

    def info(self, kind: str, name: str, revision: str = "main"):
        repo = self.repo(kind, name)
        sha = repo.resolve(revision)
        siblings = [{"rfilename": path} for path in sorted(repo.commits[sha])]
        self.send(200, {
            "_id": sha[:24], "id": name, "sha": sha, "private": repo.private, "gated": "auto" if repo.gated else False,
            "siblings": siblings, "tags": [], "downloads": 0, "likes": 0, "lastModified": DATE, "createdAt": DATE,
        })  # fmt: skip

    def refs(self, kind: str, name: str):
        branches = [
            {"name": branch, "ref": f"refs/heads/{branch}", "targetCommit": sha}
            for branch, sha in self.repo(kind, name).branches.items()
        ]
        self.send(200, {"branches": branches, "converts": [], "tags": []})

    def create_branch(self, kind: str, name: str, branch: str):
        repo = self.repo(kind, name, write=True)
        start = json.loads(self.body() or b"{}").get("startingPoint", "main")
        if branch in repo.branches:
            return self.send(409, {"error": "Reference already exists"})
        repo.branches[branch] = repo.resolve(start)
        self.send(200, {})

    # --- listing

    def entry(self, path: str, content: bytes, lfs: bool) -> dict:
        pointer = {"lfs": {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}}
        entry = {"type": "file", "path": path, "size": len(content), "oid": git_hash(content)}
        if self.query.get("expand") in ("true", "True"):
            entry["lastCommit"] = {"id": "0" * 40, "title": "", "date": DATE}
        return entry | (pointer if lfs else {})

    def tree(self, kind: str, name: str, revision: str, folder: str | None = None):
        repo = self.repo(kind, name)
        files = repo.commits[repo.resolve(revision)]
        prefix = f"{folder}/" if folder else ""
        inside = {path: file for path, file in files.items() if path.startswith(prefix)}
        if folder and not inside:
            raise HubError(404, "EntryNotFound", f"{folder} does not exist")
        entries, recursive = [], self.query.get("recursive") in ("true", "True")
        for path, file in inside.items():
            parents = path.removeprefix(prefix).split("/")[:-1]
            for depth in range(1, len(parents) + 1 if recursive else min(2, len(parents) + 1)):
                entry = {"type": "directory", "path": prefix + "/".join(parents[:depth]), "oid": "0" * 40, "size": 0}
                entries += [entry] if entry not in entries else []
            if recursive or not parents:
                entries.append(self.entry(path, *file))
        self.send(200, entries)

    def paths_info(self, kind: str, name: str, revision: str):
        repo, form = self.repo(kind, name), self.body().decode()
        is_json = "json" in (self.headers.get("Content-Type") or "")
        paths = json.loads(form)["paths"] if is_json else parse_qs(form).get("paths", [])
        files, entries = repo.commits[repo.resolve(revision)], []
        for path in [paths] if isinstance(paths, str) else paths:
            if path in files:
                entries.append(self.entry(path, *files[path]))
            elif any(other.startswith(f"{path}/") for other in files):
                entries.append({"type": "directory", "path": path, "oid": "0" * 40, "size": 0})
        self.send(200, entries)

    # --- download

    def resolve(self, name: str, revision: str, path: str, kind: str | None = None):
        repo = self.repo(kind, name, content=True)
        sha = repo.resolve(revision)
        commit = {"X-Repo-Commit": sha}
        if path not in repo.commits[sha]:
            return self.send(404, {"error": "Entry not found"}, {**commit, "X-Error-Code": "EntryNotFound"})
        content, lfs = repo.commits[sha][path]
        if lfs:
            oid = hashlib.sha256(content).hexdigest()
            self.hub.lfs[oid] = content
            # LFS files lie at another host: to a client, localhost is not 127.0.0.1.
            location = f"http://localhost:{self.server.server_port}/cdn/{oid}"
            linked = {"X-Linked-Etag": f'"{oid}"', "X-Linked-Size": str(len(content)), "Location": location}
            return self.send(302, b"", {**commit, **linked, "ETag": f'"{oid}"'})
        self.content(content, {**commit, "ETag": f'"{git_hash(content)}"'})

    def cdn(self, oid: str):
        self.content(self.hub.lfs[oid], {"ETag": f'"{oid}"'})

    def content(self, content: bytes, headers: dict):
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        headers = {**headers, "Accept-Ranges": "bytes"}
        if not match:
            return self.send(200, content, headers)
        first, last = int(match[1]), min(int(match[2] or len(content) - 1), len(content) - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        self.send(206, content[first : last + 1], headers)

    # --- upload

    def preupload(self, kind: str, name: str, revision: str):
        repo = self.repo(kind, name, write=True)
        there = repo.commits[repo.resolve(revision)]
        files = []
        for wanted in json.loads(self.body())["files"]:
            path = wanted["path"]
            lfs = path.endswith(LFS_SUFFIXES)
            entry = {"path": path, "uploadMode": "lfs" if lfs else "regular", "shouldIgnore": False}
            if path in there:
                content, was_lfs = there[path]
                entry["oid"] = hashlib.sha256(content).hexdigest() if was_lfs else git_hash(content)
            files.append(entry)
        self.send(200, {"files": files})

    def lfs_batch(self, name: str, kind: str | None = None):
        self.repo(kind, name, write=True)
        objects = []
        for wanted in json.loads(self.body())["objects"]:
            upload = {"href": f"{self.endpoint}/lfs/{wanted['oid']}"}
            actions = {"upload": upload, "verify": {"href": f"{upload['href']}/verify"}}
            objects.append(wanted if wanted["oid"] in self.hub.lfs else {**wanted, "actions": actions})
        self.send(200, {"transfer": "basic", "objects": objects})

    def lfs_upload(self, oid: str):
        if self.hub.cut_uploads:
            self.hub.cut_uploads -= 1
            self.rfile.read(16)
            self.connection.close()
            raise ConnectionError
        content = self.body()
        if hashlib.sha256(content).hexdigest() != oid:
            raise HubError(400, message="checksum mismatch")
        self.hub.lfs[oid] = content
        self.send(200)

    def lfs_verify(self, oid: str):
        wanted = json.loads(self.body())
        if len(self.hub.lfs.get(oid, b"")) != wanted["size"]:
            raise HubError(404, message="object was not uploaded")
        self.send(200, {})

    def commit(self, kind: str, name: str, revision: str):
        repo = self.repo(kind, name, write=True)
        files = dict(repo.commits[repo.resolve(revision)])
        for line in self.body().splitlines():
            operation = json.loads(line)
            key, value = operation["key"], operation["value"]
            if key == "file":
                files[value["path"]] = base64.b64decode(value["content"]), False
            elif key == "lfsFile":
                if value["oid"] not in self.hub.lfs:
                    raise HubError(400, message=f"LFS object {value['oid']} was not uploaded")
                files[value["path"]] = self.hub.lfs[value["oid"]], True
            elif key == "deletedFile":
                del files[value["path"]]
        sha = repo.commit(revision, files)
        prefix = "" if kind == "models" else f"{kind}/"
        self.send(
            200, {"success": True, "commitOid": sha, "commitUrl": f"{self.endpoint}/{prefix}{name}/commit/{sha}"}
        )


def git_hash(content: bytes) -> str:
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


API = r"/api/(?P<kind>models|datasets)/(?P<name>[^/]+/[^/]+)"
PAGE = r"/(?P<kind>datasets/)?(?P<name>[^/]+/[^/]+)"
REVISION = r"(?P<revision>[^/]+)"
ROUTES = [
    ("GET", r"/api/whoami-v2", Handler.whoami),
    ("POST", r"/api/validate-yaml", Handler.validate_yaml),
    ("POST", r"/api/repos/create", Handler.create),
    ("GET", API, Handler.info),
    ("GET", rf"{API}/revision/{REVISION}", Handler.info),
    ("GET", rf"{API}/refs", Handler.refs),
    ("POST", rf"{API}/branch/(?P<branch>[^/]+)", Handler.create_branch),
    ("GET", rf"{API}/tree/{REVISION}(?:/(?P<folder>.+))?", Handler.tree),
    ("POST", rf"{API}/paths-info/{REVISION}", Handler.paths_info),
    ("POST", rf"{API}/preupload/{REVISION}", Handler.preupload),
    ("POST", rf"{API}/commit/{REVISION}", Handler.commit),
    ("POST", rf"{PAGE}\.git/info/lfs/objects/batch", Handler.lfs_batch),
    ("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})", Handler.lfs_upload),
    ("POST", r"/lfs/(?P<oid>[0-9a-f]{64})/verify", Handler.lfs_verify),
    ("GET", rf"{PAGE}/resolve/{REVISION}/(?P<path>.+)", Handler.resolve),
    ("GET", r"/cdn/(?P<oid>[0-9a-f]{64})", Handler.cdn),
]


def serve() -> tuple[Hub, ThreadingHTTPServer]:
    """A fresh Hub on a free port of 127.0.0.1; `server.shutdown()` ends it."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("HubHandler", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    return hub, server
