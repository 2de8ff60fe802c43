"""A real Prometheus, set up as ``deploy/`` does it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from bench.service import free_port
from tests.waiting import PATIENCE_S, eventually

DEPLOY = Path(__file__).resolve().parents[2] / "deploy" / "prometheus"
RULES = DEPLOY / "alerts.yml"


@dataclass(frozen=True, slots=True)
class Prometheus:
    url: str

    def ask(self, path: str, **parameters: str) -> Any:
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=parameters, trust_env=False)
        body = answer.json()
        assert body["status"] == "success", f"{parameters}: {body.get('error')}"
        return body["data"]

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Labels and value of each series now."""
        found = self.ask("query", query=expression)["result"]
        return [(one["metric"], float(one["value"][1])) for one in found]

    def value(self, expression: str) -> float:
        """The sum over all series, 0 where there is none."""
        return sum(value for _, value in self.query(expression))

    def positive(self, expression: str) -> bool:
        return self.value(expression) > 0

    def has(self, expression: str) -> bool:
        return bool(self.query(expression))

    def alerts(self) -> set[tuple[str, str]]:
        """Name and state of each alert that is not silent."""
        return {(one["labels"]["alertname"], one["state"]) for one in self.ask("alerts")["alerts"]}


@contextmanager
def watching(program: str, folder: Path, url: str, token: str) -> Iterator[Prometheus]:
    """It scrapes the app at that address once a second, and judges the rules as often."""
    text = (DEPLOY / "prometheus.yml").read_text()
    for old, new in (
        ("15s", "1s"),
        ("alerts.yml", str(RULES)),
        ("/tmp/metrics-token", str(folder / "token")),
        ("whisper:7860", url.removeprefix("http://")),
    ):
        assert old in text
        text = text.replace(old, new)
    (folder / "token").write_text(token)
    (folder / "prometheus.yml").write_text(text)
    found = Prometheus(f"http://127.0.0.1:{free_port()}")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                program,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={found.url.removeprefix('http://')}",
            ],
            stdout=log,
            stderr=log,
        )

    def scraped() -> bool:
        assert process.poll() is None, (folder / "log").read_text()
        with suppress(httpx.TransportError, ValueError):
            return found.value('up{job="whisper"}') == 1
        return False

    try:
        eventually(scraped, "Prometheus scrapes the app")
        yield found
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
