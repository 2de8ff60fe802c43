"""The app in a container, as its clients and operators see it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.containers.engine import Engine
from tests.waiting import PATIENCE_S, eventually

OPEN = {"WHISPER_ACCESS": "open", "WHISPER_MODEL": "tiny.en", "WHISPER_BEAM_SIZE": "1"}
"""Settings: nobody logs in, and the small model works as fast as it can."""


@dataclass(frozen=True)
class Service:
    """Talks to the app in that container, by the port that it has at the moment, or by the app's
    where the container has no network of its own."""

    engine: Engine
    container: str
    headers: dict[str, str] = field(default_factory=dict)
    host_port: int | None = None

    @property
    def url(self) -> str:
        if self.host_port is not None:
            return f"http://127.0.0.1:{self.host_port}"
        said = self.engine.run("port", self.container, "7860")
        return f"http://127.0.0.1:{said.split()[0].rpartition(':')[2]}"

    @property
    def running(self) -> bool:
        found: bool = self.engine.inspect(self.container)["State"]["Running"]
        return found

    @property
    def log(self) -> str:
        return self.engine.logs(self.container)

    def get(self, path: str) -> httpx.Response:
        return httpx.get(
            f"{self.url}{path}", headers=self.headers, timeout=PATIENCE_S, trust_env=False
        )

    def answers(self, path: str) -> bool:
        """Whether the answer is 200. A container that has ended never answers."""
        assert self.running, self.log
        try:
            return self.get(path).status_code == 200
        except httpx.TransportError:
            return False

    def wait_ready(self) -> None:
        """Until a worker has loaded the model."""
        eventually(lambda: self.answers("/ready"), "it is ready")

    def submit(self, recording: Path) -> str:
        """Id of the new job."""
        answer = self.send(recording)
        assert answer.status_code == 202, answer.text
        job: str = answer.json()["id"]
        return job

    def send(self, recording: Path) -> httpx.Response:
        return httpx.post(
            f"{self.url}/api/jobs",
            params={"name": recording.name, "language": "en"},
            content=recording.read_bytes(),
            headers=self.headers,
            timeout=PATIENCE_S,
            trust_env=False,
        )

    def job(self, job: str) -> dict[str, Any]:
        answer = self.get(f"/api/jobs/{job}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def ended(self, job: str) -> dict[str, Any]:
        """The job, once it has ended."""
        eventually(lambda: bool(self.job(job)["ended"]), f"job {job} ends")
        return self.job(job)

    def subtitles(self, job: str) -> bytes:
        """Its SRT, once it is complete."""
        state = self.ended(job)["state"]
        assert state == "complete", self.log
        answer = self.get(f"/jobs/{job}/files/srt")
        assert answer.status_code == 200, answer.text
        return answer.content

    def signal_worker(self, number: int, signal: str) -> None:
        """Send a signal to a worker of the CPU, inside."""
        # Written so that it does not find itself.
        find = f"grep -lsa 'worker [C]PU {number}' /proc/[0-9]*/cmdline"
        script = f"kill -{signal} $({find} | cut -d/ -f3)"
        self.engine.run("exec", self.container, "sh", "-c", script)
