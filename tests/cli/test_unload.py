"""``unload`` against a real app, and against everything else that may stand at its address."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from access.credentials import ApiKeys
from bench.service import free_port
from core.settings import Settings, service_url
from tests.apps import App, running_app
from tests.cli.conftest import Cli


@pytest.fixture(scope="module")
def locked_app(tmp_path_factory: pytest.TempPathFactory, tiny_en: Path) -> Iterator[App]:
    """Behind a login and under a path, with its model loaded."""
    folder = tmp_path_factory.mktemp("app")
    with running_app(
        folder, WHISPER_WORKERS="1", WHISPER_ACCESS="login", WHISPER_ROOT_PATH="/subs/"
    ) as app:
        app.wait_ready()
        yield app


def test_a_running_app_gives_its_memory_back(cli: Cli, locked_app: App) -> None:
    port = locked_app.url.rpartition(":")[2]
    where = {"WHISPER_PORT": port, "WHISPER_ROOT_PATH": "/subs", "http_proxy": "http://127.0.0.1:9"}
    refused = cli("unload", **where)
    assert refused.returncode == 2
    assert "error: Log in, or send an API key." in refused.stderr
    assert "Set WHISPER_API_KEY" in refused.stderr
    wrong = cli("unload", **where, WHISPER_API_KEY="wfs_wrong")
    assert (wrong.returncode, "This API key is not valid." in wrong.stderr) == (2, True)

    key = ApiKeys(Settings(data_dir=locked_app.data_dir)).add("cli")
    done = cli("unload", **where, WHISPER_API_KEY=f" {key}\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("CPU 0: tiny.en unloaded, ")
    assert done.stdout.endswith(" MiB freed\n")
    assert "[CPU 0] Unloading Whisper model: tiny.en" in locked_app.log.read_text()

    again = cli("unload", "--json", "--port", port, WHISPER_API_KEY=key)
    assert json.loads(again.stdout) == {
        "devices": [{"device": "CPU 0", "outcome": "empty", "model": None, "freed_mib": None}],
        "freed_mib": 0.0,
    }
    assert [locked_app.get(path)[0] for path in ("/health", "/ready")] == [200, 200]


def test_without_a_service_the_way_out_is_named(cli: Cli) -> None:
    port = str(free_port())
    done = cli("unload", "--port", port)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"error: No service answers at http://127.0.0.1:{port}: " in done.stderr
    assert "whisper-for-subs serve" in done.stderr


def test_something_else_at_the_address_is_no_success(cli: Cli) -> None:
    class Other(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = b"<html>Welcome</html>"
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Keep the test's output clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Other) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            done = cli("unload", "--port", str(server.server_port))
        finally:
            server.shutdown()
            thread.join()
    assert done.returncode == 1
    assert "is not this program" in done.stderr


def test_a_key_that_cannot_be_one_is_not_sent(cli: Cli) -> None:
    done = cli("unload", WHISPER_API_KEY="schlüssel")
    assert done.returncode == 2
    assert "WHISPER_API_KEY holds characters" in done.stderr


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({}, "http://127.0.0.1:7860"),
        ({"host": "0.0.0.0", "port": 80, "root_path": "subs/"}, "http://127.0.0.1:80/subs"),
        ({"host": "::"}, "http://127.0.0.1:7860"),
        ({"host": "::1", "root_path": "/"}, "http://[::1]:7860"),
        ({"host": "192.0.2.1"}, "http://192.0.2.1:7860"),
    ],
)
def test_the_service_is_asked_where_it_listens(fields: dict[str, object], url: str) -> None:
    assert service_url(Settings(_env_file=None, **fields)) == url  # type: ignore[arg-type,call-arg]
