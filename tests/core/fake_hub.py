"""A model hub on the loopback address: enough of the protocol for the real client to download."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class _Hub(ThreadingHTTPServer):
    repos: dict[str, dict[str, bytes]]
    requests: list[str]


class _Handler(BaseHTTPRequestHandler):
    server: _Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._serve(body=False)

    def do_GET(self) -> None:
        self._serve(body=True)

    def log_message(self, format: str, *args: object) -> None:
        self.server.requests.append(format % args)

    def _serve(self, *, body: bool) -> None:
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        if parts == [""]:
            return self._answer(200, b"hub", body=body)
        api = parts[:2] == ["api", "models"]
        repo = "/".join(parts[2:4] if api else parts[:2])
        files = self.server.repos.get(repo)
        if files is None:
            return self._answer(404, b"{}", body=body, headers={"X-Error-Code": "RepoNotFound"})
        if api and "tree" in parts:
            tree = [
                {"type": "file", "path": name, "size": len(data), "oid": _etag(data)}
                for name, data in files.items()
            ]
            return self._answer(200, json.dumps(tree).encode(), body=body)
        if api:
            listing = {"id": repo, "sha": COMMIT, "siblings": [{"rfilename": n} for n in files]}
            return self._answer(200, json.dumps(listing).encode(), body=body)
        data = files[parts[-1]]
        headers = {"ETag": f'"{_etag(data)}"', "X-Repo-Commit": COMMIT}
        return self._answer(200, data, body=body, headers=headers)

    def _answer(
        self, status: int, data: bytes, *, body: bool, headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)


def _etag(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


@contextmanager
def fake_hub(repos: dict[str, dict[str, bytes]]) -> Iterator[tuple[str, list[str]]]:
    """Serve these repositories (files by name); gives the address and the requests so far."""
    server = _Hub(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.repos, server.requests = repos, []
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", server.requests
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
