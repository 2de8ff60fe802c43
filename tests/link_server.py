"""A web server for links: recordings, pages, and what hostile or broken sites do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.jobs.recordings import SHORT
from tests.waiting import PATIENCE_S

DRIP_S = 0.05

Page = tuple[str, bytes]
"""Content type and body."""


class LinkServer(ThreadingHTTPServer):
    """Serves ``pages``; see :class:`_Handler` for the paths that misbehave."""

    daemon_threads = True

    def __init__(self, address: str = "127.0.0.1") -> None:
        super().__init__((address, 0), _Handler)
        self.url = f"http://{address}:{self.server_port}"
        self.pages: dict[str, Page] = {"/talk.flac": ("audio/flac", SHORT.read_bytes())}
        self.seen: list[tuple[str, dict[str, str]]] = []
        """Paths and headers of the requests."""
        self.release = threading.Event()
        """Until it is set ``/held.flac`` stops in the middle."""
        self.closing = threading.Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle is what these tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: LinkServer

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = urlsplit(self.path)  # a proxy is asked for whole links
        self.server.seen.append((self.path, dict(self.headers)))
        if parts.path == "/to":
            self.send_response(302)
            self.send_header("Location", unquote(parts.query))
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif parts.path == "/endless.flac":
            self._chunks(b"\0" * 65536, pause_s=0.0)
        elif parts.path == "/drip.flac":
            self._chunks(b"\0" * 1024, pause_s=DRIP_S)
        elif parts.path == "/held.flac":
            kind, body = self.server.pages["/talk.flac"]
            self._head(kind, len(body))
            if self.command == "GET":
                self.wfile.write(body[:8192])
                while not (self.server.release.wait(DRIP_S) or self.server.closing.is_set()):
                    pass
                self.wfile.write(body[8192:])
        elif parts.path == "/huge.flac":
            self._head("audio/flac", 10**12)
            if self.command == "GET":
                self.wfile.write(b"\0" * 65536)
                self.server.closing.wait(PATIENCE_S)
        elif parts.path.startswith("/status/"):
            self.send_error(int(parts.path.removeprefix("/status/")))
        elif parts.path in self.server.pages:
            kind, body = self.server.pages[parts.path]
            self._head(kind, len(body))
            if self.command == "GET":
                self.wfile.write(body)
        else:
            self.send_error(404)

    def _head(self, kind: str, length: int | None) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Set-Cookie", "tracked=yes; Path=/")
        if length is None:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def _chunks(self, chunk: bytes, pause_s: float) -> None:
        """Without end, and without saying how much it will be."""
        self._head("audio/flac", None)
        while self.command == "GET" and not self.server.closing.wait(pause_s):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def serving(address: str = "127.0.0.1") -> Iterator[LinkServer]:
    with LinkServer(address) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
            thread.join(PATIENCE_S)
