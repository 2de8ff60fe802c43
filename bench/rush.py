"""A rush: 200 submissions from 20 clients at the same moment, on real connections.

A client that is told to come back later (429, 503) does so when the answer says. Meanwhile another
process keeps asking how a job is doing, over the API and as the page does. Writes a table and the
data, and fails where a job is lost, an answer is 500, or the status is slow.

    python -m bench.rush --clients 20 --submissions 200
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx

from access.credentials import ApiKeys
from bench.figures import Check, none_of, percentile, publish, spread
from bench.machine import machine
from bench.prober import Latencies, Prober
from bench.service import Service, add_options, settings_of
from core.logs import setup_logging
from core.settings import Settings

STATUS_S = 0.2
"""Promised at the 95th percentile."""

LOOK_EVERY_S = 1.0
"""Each client looks after its jobs like a page: about every second, all of them."""

END_S = 1800.0


@dataclass(slots=True)
class Submission:
    """One recording to be transcribed. Times in seconds since the rush began."""

    client: str
    refusals: list[int] = field(default_factory=list)
    without_retry_after: int = 0
    job_id: str | None = None
    accepted_s: float | None = None
    ended_s: float | None = None
    state: str = ""
    failures: list[str] = field(default_factory=list)
    """Answers that must not occur: 500, an unknown job, a broken connection."""


class Client:
    """One client with a key of its own, its submissions and its look after their jobs."""

    def __init__(self, url: str, name: str, key: str, recording: Path, began: float) -> None:
        self._recording = recording
        self._body = recording.read_bytes()
        self._began = began
        self._name = name
        self._http = httpx.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {key}"},
            timeout=120.0,
            limits=httpx.Limits(max_connections=None),
            trust_env=False,
        )
        self.submissions: list[Submission] = []

    async def run(self, submissions: int, prober: Prober, model_query: dict[str, str]) -> None:
        self.submissions = [Submission(self._name) for _ in range(submissions)]
        async with self._http, asyncio.TaskGroup() as group:
            for submission in self.submissions:
                group.create_task(self._submit(submission, prober, model_query))
            group.create_task(self._look_after())

    def _now_s(self) -> float:
        return time.monotonic() - self._began

    async def _submit(self, submission: Submission, prober: Prober, query: dict[str, str]) -> None:
        while submission.job_id is None and self._now_s() < END_S:
            params = {"name": self._recording.name, **query}
            try:
                answer = await self._http.post("/api/jobs", params=params, content=self._body)
            except httpx.TransportError as error:
                submission.failures.append(repr(error))
                return
            if answer.status_code == 202:
                submission.job_id = answer.json()["id"]
                submission.accepted_s = self._now_s()
                prober.watch(submission.job_id)
            elif answer.status_code in (429, 503):
                submission.refusals.append(answer.status_code)
                after = answer.headers.get("Retry-After", "")
                submission.without_retry_after += not after.isdigit()
                await asyncio.sleep(float(after) if after.isdigit() else LOOK_EVERY_S)
            else:
                submission.failures.append(f"{answer.status_code}: {answer.text[:200]}")
                return

    async def _look_after(self) -> None:
        """Until every submission has ended or failed."""
        while self._now_s() < END_S:
            await asyncio.sleep(LOOK_EVERY_S)
            going = [s for s in self.submissions if s.ended_s is None and not s.failures]
            for submission in going:
                if submission.job_id is not None:
                    await self._look_at(submission)
            if not going:
                return

    async def _look_at(self, submission: Submission) -> None:
        try:
            answer = await self._http.get(f"/api/jobs/{submission.job_id}")
        except httpx.TransportError as error:
            submission.failures.append(repr(error))
            return
        if answer.status_code != 200:
            submission.failures.append(f"{answer.status_code}: {answer.text[:200]}")
            return
        job = answer.json()
        submission.state = job["state"]
        if job["ended"]:
            submission.ended_s = self._now_s()


async def rush(
    service: Service, keys: dict[str, str], recordings: Sequence[Path], each: int
) -> tuple[list[Submission], Latencies]:
    """All clients at once; every submission's course, and what the prober saw."""
    began = time.monotonic()
    prober = Prober(service.url, {"Authorization": f"Bearer {next(iter(keys.values()))}"})
    clients = [
        Client(service.url, name, key, recordings[number % len(recordings)], began)
        for number, (name, key) in enumerate(keys.items())
    ]
    async with asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(client.run(each, prober, {"language": "en"}))
    latencies = await asyncio.to_thread(prober.stop)
    return [submission for client in clients for submission in client.submissions], latencies


def checks(submissions: Sequence[Submission], latencies: Latencies) -> list[Check]:
    accepted = [s for s in submissions if s.job_id is not None]
    finished = [s for s in accepted if s.state == "complete"]
    refusals = Counter(status for s in submissions for status in s.refusals)
    names = ", ".join(f"{count} × {status}" for status, count in sorted(refusals.items()))
    again = sum(bool(s.refusals) and s.job_id is not None for s in submissions)
    count = len(submissions)
    found = [
        Check(
            "submissions accepted in the end",
            f"{len(accepted)} of {count}",
            "all",
            len(accepted) == count,
        ),
        Check(
            "accepted jobs complete",
            f"{len(finished)} of {len(accepted)}",
            "all",
            finished == accepted,
        ),
        none_of(
            "answers 500, unknown jobs, broken connections",
            sum(len(s.failures) for s in submissions),
        ),
        Check("refusals (then accepted)", f"{names or '0'} ({again} submissions)", "—", True),
        none_of("refusals without Retry-After", sum(s.without_retry_after for s in submissions)),
        Check(
            "from submission to acceptance (median / 95 % / max)",
            spread([s.accepted_s for s in accepted if s.accepted_s is not None]),
            "—",
            True,
        ),
    ]
    for kind, seconds in latencies.seconds.items():
        slow_s = percentile(seconds, 0.95)
        found.append(
            Check(
                f"{kind} (median / 95 % / max of {len(seconds)})",
                spread([1000 * value for value in seconds], "ms", 0),
                f"95 % under {1000 * STATUS_S:.0f} ms",
                slow_s < STATUS_S,
            )
        )
        found.append(none_of(f"{kind}: failures", latencies.failures[kind]))
    return found


def data(submissions: Sequence[Submission], latencies: Latencies) -> dict[str, Any]:
    return {"submissions": [asdict(s) for s in submissions], "latencies": asdict(latencies)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--submissions", type=int, default=200)
    parser.add_argument("--client-jobs", type=int, default=8, help="limit of one client")
    add_options(parser)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    setup_logging()
    with tempfile.TemporaryDirectory(prefix="rush-") as name:
        service = Service(
            Path(name),
            **settings_of(args),
            WHISPER_ACCESS="login",
            WHISPER_MAX_CLIENT_JOBS=str(args.client_jobs),
        )
        accounts = ApiKeys(Settings(data_dir=service.data_dir))
        keys = {f"client-{n}": accounts.add(f"client-{n}") for n in range(args.clients)}
        try:
            service.start()
            service.wait_ready()
            each = args.submissions // args.clients
            recordings = sorted(args.speech.glob("*.flac"))
            submissions, latencies = asyncio.run(rush(service, keys, recordings, each))
            exit_code = service.stop()
        finally:
            service.close()
    intro = (
        f"{len(submissions)} submissions at once from {args.clients} clients, each a clip of 2 to"
        f" 10 s, with {args.model}; {args.client_jobs} jobs of a client at a time; {machine()}."
    )
    found = checks(submissions, latencies)
    found.append(Check("exit code after SIGTERM", str(exit_code), "0", exit_code == 0))
    return publish(args.out, "rush", intro, found, data(submissions, latencies))


if __name__ == "__main__":
    sys.exit(main())
