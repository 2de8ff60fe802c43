"""The port: free, ours, somebody else's, or not ours to have."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from core.settings import Settings
from doctor.network import port
from tests.doctor.conftest import only

Chosen = Callable[..., Settings]


@contextmanager
def server(status: int, body: str) -> Iterator[int]:
    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:
            """Keep the test's output clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Health) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield running.server_port
        finally:
            running.shutdown()
            thread.join()


def ours(alive: bool) -> str:
    return json.dumps(
        {"alive": alive, "reason": "No worker is alive.", "workers": [], "version": "9"}
    )


def test_a_free_port_is_in_order(settings: Chosen) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number = probe.getsockname()[1]
    assert only(port(settings(port=number))).text == f"127.0.0.1:{number} is free for the page."


def test_our_own_service_may_have_it(settings: Chosen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with server(200, ours(True)) as number:
        found = only(port(settings(port=number)))
        assert (found.severity, "whisper-for-subs 9 runs there" in found.text) == ("ok", True)
    with server(503, ours(False)) as number:
        found = only(port(settings(port=number)))
        assert (found.severity, "No worker is alive." in found.text) == ("warning", True)


@pytest.mark.parametrize("body", ["<h1>Other</h1>", "{}", "[]"])
def test_another_program_has_it(body: str, settings: Chosen) -> None:
    with server(200, body) as number:
        found = only(port(settings(port=number)))
    assert found.severity == "error"
    assert f"WHISPER_PORT={number + 1}" in found.fix
    assert f"sport = :{number}" in found.fix


def test_a_program_that_speaks_no_http_has_it(settings: Chosen) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        number = listening.getsockname()[1]

        def greet() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"220 mail.example ESMTP\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        assert only(port(settings(port=number))).severity == "error"
        thread.join()


def test_an_address_of_another_machine_is_told(settings: Chosen) -> None:
    found = only(port(settings(host="192.0.2.1")))
    assert found.severity == "error"
    assert "WHISPER_HOST=127.0.0.1" in found.fix
