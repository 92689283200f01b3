"""A stand-in of the Hugging Face hub: repositories in memory, with the part of the API that a push and a load use."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hub:
    """The server. Files whose names end with .safetensors are uploaded as large files (LFS), others in the commit.

    Attributes:
        repositories: by name: whether it is private, and the content of its files by path.
        refused: paths of requests that the stand-in does not know.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, dict] = {}
        self.objects: dict[str, bytes] = {}
        self.refused: list[str] = []
        hub = self

        class Handler(_Handler):
            server_hub = hub

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class _Handler(BaseHTTPRequestHandler):
    server_hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        self._route("POST")

    def do_PUT(self) -> None:
        self._route("PUT")

    def do_GET(self) -> None:
        self._route("GET")

    def do_HEAD(self) -> None:
        self._route("HEAD")

    def _route(self, method: str) -> None:
        hub, path = self.server_hub, self.path.partition("?")[0]
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if "Bearer" not in self.headers.get("authorization", "") and method != "PUT":
            return self._json({"error": "Invalid credentials"}, 401)
        if (method, path) == ("POST", "/api/repos/create"):
            given = json.loads(body)
            name = f"{given.get('organization')}/{given['name']}"
            private = given.get("private") or given.get("visibility") == "private"
            if name in hub.repositories:
                return self._json({"error": "You already created this model repo", "url": f"{hub.address}/{name}"}, 409)
            hub.repositories[name] = {"private": bool(private), "files": {}, "commits": 0}
            return self._json({"url": f"{hub.address}/{name}"})
        if (method, path) == ("POST", "/api/validate-yaml"):
            assert json.loads(body)["content"].startswith("---\n")
            return self._json({"errors": [], "warnings": []})
        if method == "PUT" and (found := re.fullmatch(r"/objects/(\w+)", path)):
            assert hashlib.sha256(body).hexdigest() == found[1]
            hub.objects[found[1]] = body
            return self._send(b"", 200, {})
        if found := re.fullmatch(r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", path):
            return self._json(
                {"transfer": "basic", "objects": [self._upload(each) for each in json.loads(body)["objects"]]}
            )
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/.*)?", path):
            name, rest = found[1], found[2] or ""
            if name not in hub.repositories:
                return self._json({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
            return self._model(method, name, rest, body)
        if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/(\w+)/(.+)", path):
            return self._file(*found.groups())
        hub.refused.append(f"{method} {self.path}")
        self._json({"error": "not part of the stand-in"}, 404)

    def _upload(self, wanted: dict) -> dict:
        href = f"{self.server_hub.address}/objects/{wanted['oid']}"
        return {"oid": wanted["oid"], "size": wanted["size"], "actions": {"upload": {"href": href, "header": {}}}}

    def _model(self, method: str, name: str, rest: str, body: bytes) -> None:
        repository = self.server_hub.repositories[name]
        if rest.startswith("/preupload/"):
            files = [
                {"path": each["path"], "shouldIgnore": False, "oid": None}
                | {"uploadMode": "lfs" if each["path"].endswith(".safetensors") else "regular"}
                for each in json.loads(body)["files"]
            ]
            return self._json({"files": files})
        if rest.startswith("/commit/"):
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    assert value["encoding"] == "base64"
                    repository["files"][value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    repository["files"][value["path"]] = self.server_hub.objects[value["oid"]]
            repository["commits"] += 1
            where = f"{self.server_hub.address}/{name}/commit/{self._sha(name)}"
            return self._json({"commitUrl": where, "commitOid": self._sha(name), "pullRequestUrl": None})
        siblings = [{"rfilename": path} for path in repository["files"]]
        about = {"id": name, "modelId": name, "sha": self._sha(name), "private": repository["private"], "tags": []}
        revision = re.fullmatch(r"/revision/(.+)", rest)
        if revision and revision[1] not in ("main", self._sha(name)):
            return self._json({"error": "Invalid rev id"}, 404, {"X-Error-Code": "RevisionNotFound"})
        if rest.startswith("/tree/"):
            files = repository["files"].items()
            entries = [{"type": "file", "path": path, "size": len(text), "oid": _digest(text)} for path, text in files]
            return self._json(entries)
        return self._json({**about, "siblings": siblings, "downloads": 0, "likes": 0})

    def _file(self, name: str, revision: str, path: str) -> None:
        content = self.server_hub.repositories.get(name, {"files": {}})["files"].get(path)
        if content is None:
            return self._json({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})
        headers = {"ETag": f'"{_digest(content)}"', "X-Repo-Commit": self._sha(name), "Accept-Ranges": "bytes"}
        self._send(content, 200, headers)

    def _sha(self, name: str) -> str:
        return _digest(f"{name} {self.server_hub.repositories[name]['commits']}".encode())[:40]

    def _json(self, value: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self._send(json.dumps(value).encode(), status, {"Content-Type": "application/json", **(headers or {})})

    def _send(self, content: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
