"""What the small Hub answers: the routes of :mod:`tests.publish.hub.hub_server`, and how git and LFS name contents."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

if TYPE_CHECKING:
    from tests.publish.hub.hub_server import Hub

LFS = (".safetensors", ".parquet", ".bin", ".pt")
"""Suffixes that go to large-file storage."""
WRITER, READER = "hf_writer", "hf_reader"
"""Tokens: of the user ``me``, who may write ``me/…``; and of somebody who may only read."""
Files = dict[str, bytes]


def lfs(path: str) -> bool:
    return path.endswith(LFS)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def blob_id(path: str, content: bytes) -> str:
    """As git names a blob; of an LFS file its pointer."""
    if lfs(path):
        content = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256(content)}\n".encode()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class Repo:
    """Commits in order; the last one is ``main``."""

    commits: list[tuple[str, Files]] = field(default_factory=list)
    private: bool = False
    gated: bool = False
    messages: list[str] = field(default_factory=list)

    def commit(self, files: Files, message: str = "") -> str:
        oid = hashlib.sha1(f"{len(self.commits)} {message} {sorted(files)}".encode()).hexdigest()
        self.commits.append((oid, files))
        self.messages.append(message)
        return oid

    @property
    def head(self) -> str:
        return self.commits[-1][0]

    @property
    def files(self) -> Files:
        return self.commits[-1][1]

    def at(self, revision: str) -> tuple[str, Files] | None:
        if revision == "main":
            return self.commits[-1]
        return next((c for c in self.commits if c[0] == revision), None)


class _Refusal(Exception):
    def __init__(self, status: int, code: str = "", message: str = "") -> None:
        self.status, self.code, self.message = status, code, message


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self._answer("GET")

    def do_HEAD(self) -> None:
        self._answer("HEAD")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_PUT(self) -> None:
        self._answer("PUT")

    def _answer(self, method: str) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        path, self.query = unquote(url.path), parse_qs(url.query)
        path = path.replace("/api/datasets/", "/api/models/datasets/")  # as everywhere else: datasets/user/repo
        with self.server.lock:
            self.server.asked.append((method, path))
        if self.server.portal:
            return self._send(200, b"<html>Welcome! Accept our terms.</html>", {"Content-Type": "text/html"})
        try:
            for route, pattern, action in ROUTES:
                if method in route and (match := re.fullmatch(pattern, path)):
                    return action(self, body, **match.groupdict())
            raise _Refusal(404, "", f"no route for {method} {path}")
        except _Refusal as refusal:
            headers = {"X-Error-Code": refusal.code, "X-Error-Message": refusal.message}
            self._send(
                refusal.status,
                json.dumps({"error": refusal.message}).encode(),
                {k: v for k, v in headers.items() if v},
            )

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _endless(self, headers: dict[str, str]) -> None:
        self.send_response(200)
        for key, value in headers.items() if self.command == "GET" else {**headers, "X-Linked-Size": ""}.items():
            self.send_header(key, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        chunk = bytes(1 << 20)
        with contextlib.suppress(OSError):
            for _ in range(300 if self.command == "GET" else 0):
                self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
                self.server.sent += len(chunk)
            self.wfile.write(b"0\r\n\r\n")

    def _json(self, value: Any, status: int = 200) -> None:
        self._send(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    # Who asks, and what for

    @property
    def token(self) -> str | None:
        given = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if given and given not in (WRITER, READER):
            raise _Refusal(401, "", "Invalid credentials in Authorization header")
        return given or None

    def _may_write(self, owner: str) -> None:
        if self.token is None:
            raise _Refusal(401, "", "Invalid username or password.")
        if self.token != WRITER or owner != "me":
            raise _Refusal(403, "", "You don't have the rights to write there")

    def _repo(self, repo: str) -> Repo:
        found = self.server.repos.get(repo)
        if found is None or (found.private and self.token is None):
            raise _Refusal(401 if self.token is None else 404, "RepoNotFound", "Repository not found")
        return found

    def _at(self, repo: str, revision: str) -> tuple[Repo, str, Files]:
        found = self._repo(repo)
        commit = found.at(revision)
        if commit is None:
            raise _Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return found, *commit

    # Routes

    def whoami(self, body: bytes) -> None:
        if self.token is None:
            raise _Refusal(401, "", "Invalid username or password.")
        self._json({"type": "user", "name": "me" if self.token == WRITER else "somebody"})

    def create(self, body: bytes) -> None:
        asked = json.loads(body)
        owner = asked.get("organization") or "me"
        self._may_write(owner)
        repo = f"{'datasets/' * (asked.get('type') == 'dataset')}{owner}/{asked['name']}"
        if repo in self.server.repos:
            raise _Refusal(409, "", "You already created this model repo")
        made = Repo(private=asked.get("visibility") == "private" or bool(asked.get("private")))
        made.commit({".gitattributes": b"*.safetensors filter=lfs\n"}, "initial commit")
        self.server.repos[repo] = made
        self._json({"url": f"{self.server.url}/{repo}", "name": repo})

    def validate(self, body: bytes) -> None:
        content = json.loads(body)["content"]
        front = re.match(r"---\n(.*?)\n---\n", content, re.DOTALL)
        if front is None or not isinstance(yaml.safe_load(front[1]), dict):
            return self._json({"errors": [{"message": "no metadata"}], "warnings": []}, 400)
        self._json({"errors": [], "warnings": []})

    def info(self, body: bytes, repo: str, revision: str = "main") -> None:
        found, oid, files = self._at(repo, revision)
        siblings: list[dict[str, Any]] = []
        for path, content in files.items():
            row: dict[str, Any] = {"rfilename": path}
            if "blobs" in self.query and self.server.sizes:
                row |= {"size": len(content), "blobId": blob_id(path, content)}
                if lfs(path):
                    row["lfs"] = {"sha256": sha256(content), "size": len(content), "pointerSize": 134}
            siblings.append(row)
        oid = oid if self.server.named is None else self.server.named
        self._json(
            {"id": repo, "modelId": repo, "sha": oid, "siblings": siblings, "private": found.private, "tags": []}
        )

    def tree(self, body: bytes, repo: str, revision: str) -> None:
        _, _, files = self._at(repo, revision)
        rows: list[dict[str, Any]] = [
            {"type": "directory", "path": folder, "oid": "0" * 40, "size": 0}
            for folder in sorted({path.rpartition("/")[0] for path in files} - {""})
        ]
        for path, content in files.items():
            row: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": blob_id(path, content)}
            if lfs(path):
                row["lfs"] = {"oid": sha256(content), "size": len(content), "pointerSize": 134}
            rows.append(row)
        self._json(rows)

    def preupload(self, body: bytes, repo: str, revision: str) -> None:
        _, _, files = self._at(repo, revision)
        self._may_write(repo.split("/")[-2])
        rows = []
        for asked in json.loads(body)["files"]:
            path, old = asked["path"], files.get(asked["path"])
            row = {"path": path, "uploadMode": "lfs" if lfs(path) else "regular", "shouldIgnore": False}
            if old is not None:
                row["oid"] = sha256(old) if lfs(path) else blob_id(path, old)
            rows.append(row)
        self._json({"files": rows})

    def batch(self, body: bytes, repo: str) -> None:
        self._may_write(repo.split("/")[-2])
        objects = []
        for asked in json.loads(body)["objects"]:
            if asked["oid"] not in self.server.blobs:
                href = f"{self.server.url}/storage/{asked['oid']}"
                asked["actions"] = {"upload": {"href": href}, "verify": {"href": f"{href}/verify"}}
            objects.append(asked)
        self._json({"transfer": "basic", "objects": objects})

    def upload(self, body: bytes, oid: str) -> None:
        if sha256(body) != oid:
            raise _Refusal(400, "", "sha256 mismatch")
        self.server.blobs[oid] = body
        self._send(200, b"")

    def verify(self, body: bytes, oid: str) -> None:
        asked = json.loads(body)
        if len(self.server.blobs.get(oid, b"")) != asked["size"]:
            raise _Refusal(404, "", "not there")
        self._json({})

    def commit(self, body: bytes, repo: str, revision: str) -> None:
        self._may_write(repo.split("/")[-2])
        hub = self.server
        if hub.hold is not None:
            hub.held.set()
            hub.hold.wait()
            return
        if hub.before_commit is not None:
            act, hub.before_commit = hub.before_commit, None
            act()
        with hub.lock:
            found, oid, files = self._at(repo, revision)
            files = dict(files)
            header, *operations = [json.loads(line) for line in body.splitlines()]
            if header["value"].get("parentCommit") not in (None, oid):
                raise _Refusal(412, "", "A commit has happened since. Please refresh and try again.")
            for operation in operations:
                value = operation["value"]
                match operation["key"]:
                    case "file":
                        files[value["path"]] = base64.b64decode(value["content"])
                    case "lfsFile":
                        files[value["path"]] = hub.blobs[value["oid"]]
                    case "deletedFile":
                        del files[value["path"]]
            made = found.commit(files, header["value"]["summary"])
        self._json({"success": True, "commitOid": made, "commitUrl": f"{hub.url}/{repo}/commit/{made}"})

    def resolve(self, body: bytes, repo: str, revision: str, path: str) -> None:
        found, oid, files = self._at(repo, revision)
        if found.gated and self.token != WRITER:
            raise _Refusal(403, "GatedRepo", f"Access to model {repo} is restricted")
        if path not in files:
            raise _Refusal(404, "EntryNotFound", "Entry not found")
        content = self.server.instead.get(path, files[path])
        etag = sha256(files[path]) if lfs(path) else blob_id(path, files[path])
        headers = {"X-Repo-Commit": oid, "ETag": f'"{etag}"', "Accept-Ranges": "bytes"}
        if lfs(path):
            headers |= {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(len(files[path]))}
        if path in self.server.endless:
            return self._endless(headers)
        status, start = 200, 0
        if (asked := self.headers.get("Range")) and self.command == "GET":
            self.server.ranges.append(asked)
            start, status = int(asked.removeprefix("bytes=").split("-")[0]), 206
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        if self.command == "GET" and path in self.server.cut:
            self.server.cut.discard(path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
            return
        self._send(status, content[start:], headers)


_ID = r"(?P<repo>(datasets/)?[\w.-]+/[\w.-]+)"
ROUTES: list[tuple[str, str, Callable[..., None]]] = [
    ("GET", "/api/whoami-v2", Handler.whoami),
    ("POST", "/api/repos/create", Handler.create),
    ("POST", "/api/validate-yaml", Handler.validate),
    ("POST", f"/api/models/{_ID}/preupload/(?P<revision>.+)", Handler.preupload),
    ("POST", f"/api/models/{_ID}/commit/(?P<revision>.+)", Handler.commit),
    ("GET", f"/api/models/{_ID}/revision/(?P<revision>.+)", Handler.info),
    ("GET", f"/api/models/{_ID}/tree/(?P<revision>.+)", Handler.tree),
    ("GET", f"/api/models/{_ID}", Handler.info),
    ("POST", rf"/{_ID}\.git/info/lfs/objects/batch", Handler.batch),
    ("PUT", "/storage/(?P<oid>[0-9a-f]{64})", Handler.upload),
    ("POST", "/storage/(?P<oid>[0-9a-f]{64})/verify", Handler.verify),
    ("GET HEAD", f"/{_ID}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", Handler.resolve),
]
