"""How long the service takes to say how a job is doing, measured while others keep it busy.

In a process of its own, so that what makes the load does not stand in the way of the clock.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import httpx

from core.processes import ChildProcess

EVERY_S = 0.2
"""Between two questions of one kind."""


@dataclass(slots=True)
class Latencies:
    """Seconds of each answer, and the answers that were no success, by kind of question."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    failures: dict[str, list[str]] = field(default_factory=dict)


class Prober:
    """Asks about the newest job it was told of, until it is stopped."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        self._process = ChildProcess(_main, url, headers, name="prober")

    def watch(self, job_id: str) -> None:
        self._process.connection.send(job_id)

    def stop(self) -> Latencies:
        self._process.connection.send(None)
        found: Latencies = self._process.connection.recv()
        self._process.join()
        self._process.close()
        return found


Question = Callable[[httpx.Client, str], tuple[float, str]]
"""About the job of that id: the seconds to the answer, and why it was no success."""


def _main(connection: Connection[Any, Any], url: str, headers: dict[str, str]) -> None:
    job_id = connection.recv()
    newest, stopped, found = [job_id], threading.Event(), Latencies()
    questions: dict[str, Question] = {
        "job over the API": lambda http, job_id: _route(http, f"/api/jobs/{job_id}"),
        "/health": lambda http, _: _route(http, "/health"),
        "page: first frame of a job": _Page(),
    }
    threads = [
        threading.Thread(
            target=_ask,
            args=(url, headers, kind, question, newest, stopped, found),
            daemon=True,  # nothing is left to stop them when the bench is killed
        )
        for kind, question in questions.items()
        if job_id is not None
    ]
    for thread in threads:
        thread.start()
    while job_id is not None:
        newest[0] = job_id
        job_id = connection.recv()
    stopped.set()
    for thread in threads:
        thread.join()
    connection.send(found)


def _ask(
    url: str,
    headers: dict[str, str],
    kind: str,
    question: Question,
    newest: list[str],
    stopped: threading.Event,
    found: Latencies,
) -> None:
    """Thread: the same question again and again."""
    seconds = found.seconds.setdefault(kind, [])
    failures = found.failures.setdefault(kind, [])
    with httpx.Client(base_url=url, headers=headers, timeout=60.0, trust_env=False) as http:
        while not stopped.wait(EVERY_S):
            begun = time.perf_counter()
            try:
                taken_s, failure = question(http, newest[0])
            except httpx.HTTPError as error:
                taken_s, failure = time.perf_counter() - begun, repr(error)
            seconds.append(taken_s)
            if failure:
                failures.append(failure)


def _route(http: httpx.Client, path: str) -> tuple[float, str]:
    begun = time.perf_counter()
    answer = http.get(path)
    failure = "" if answer.status_code == 200 else f"{answer.status_code}: {answer.text[:200]}"
    return time.perf_counter() - begun, failure


class _Page:
    """Opens the job's link as a browser does, then times the first frame of its details."""

    def __init__(self) -> None:
        self._known: tuple[int, int] | None = None

    def __call__(self, http: httpx.Client, job_id: str) -> tuple[float, str]:
        if self._known is None:
            self._known = _events(http.get("/config").raise_for_status().json())
        opened, shown = self._known
        session = uuid.uuid4().hex[:12]
        failure = _event(http, session, opened, [job_id, []], "process_completed")
        begun = time.perf_counter()
        failure = failure or _event(http, session, shown, [job_id], "process_generating")
        return time.perf_counter() - begun, failure


def _event(http: httpx.Client, session: str, event: int, data: list[Any], message: str) -> str:
    """Queue one event of the page and read its stream up to that message."""
    body = {"data": data, "fn_index": event, "session_hash": session, "event_data": None}
    joined = http.post("/gradio_api/queue/join", json=body)
    if joined.status_code != 200:
        return f"{joined.status_code}: {joined.text[:200]}"
    where = {"session_hash": session}
    with http.stream("GET", "/gradio_api/queue/data", params=where) as stream:
        for line in stream.iter_lines():
            said = json.loads(line.removeprefix("data:")) if line else {}
            if said.get("msg") in (message, "process_completed"):
                return "" if said["success"] else str(said["output"])
    return "the stream ended without a frame"


def _events(config: dict[str, Any]) -> tuple[int, int]:
    """The page's events that open a job's link, and that show a job's details."""
    ids = {part["props"].get("elem_id"): part["id"] for part in config["components"]}
    opened = next(
        int(event["id"])
        for event in config["dependencies"]
        if ids["selector"] in event["outputs"] and any("load" in t for t in event["targets"])
    )
    shown = next(
        int(event["id"])
        for event in config["dependencies"]
        if event["inputs"] == [ids["selector"]] and ids["player"] in event["outputs"]
    )
    return opened, shown
