"""Workers of the real service are killed, crash and stop while they decode."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from bench.service import Service, signal_to
from tests.faults.conftest import kinds, wait_ended, wait_text
from tests.jobs.recordings import joined
from tests.waiting import eventually


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_a_worker_that_dies_costs_no_word(
    service: Service, talk: Path, undisturbed: bytes, number: signal.Signals
) -> None:
    before = service.http.get("/health").json()["incidents"].get("worker_lost", 0)
    logged = len(service.log.read_text())
    job_id = service.submit(talk, language="en")
    wait_text(service, job_id)
    (victim, *_) = service.workers()
    assert signal_to(victim, number)
    eventually(lambda: "worker_lost" in kinds(service, job_id), "the history says so")
    wait_ended(service, job_id)
    assert service.subtitles(job_id) == undisturbed
    log = service.log.read_text()[logged:]
    assert log.count(number.name) == 1, "one clear line"
    eventually(lambda: len(service.workers()) == 2, "it was replaced")
    health = service.http.get("/health").json()
    assert (health["alive"], health["incidents"]) == (True, {"worker_lost": before + 1})


def test_all_workers_die_at_once_and_the_job_still_ends(
    service: Service, talk: Path, undisturbed: bytes
) -> None:
    job_id = service.submit(talk, language="en")
    wait_text(service, job_id)
    for pid in service.workers():
        signal_to(pid, signal.SIGKILL)
    wait_ended(service, job_id)
    assert service.subtitles(job_id) == undisturbed
    eventually(lambda: len(service.workers()) == 2, "they were replaced")


def test_the_decoder_process_dies_and_only_its_job_fails(
    service: Service, talk: Path, undisturbed: bytes, tmp_path: Path
) -> None:
    job_id = service.submit(joined(tmp_path / "long.wav", 60), language="en")

    def killed() -> bool:
        media = [each for each in service.processes() if each.kind == "media"]
        return any([signal_to(each.pid, signal.SIGKILL) for each in media])

    eventually(killed, "the decoder runs")
    eventually(
        lambda: bool({"failed", "reading_stopped"} & {*kinds(service, job_id)}),
        "the history says that the recording could not be read to its end",
    )
    service.http.post(f"/api/jobs/{job_id}/cancel").raise_for_status()
    second = service.submit(talk, language="en")
    wait_ended(service, second)
    assert service.subtitles(second) == undisturbed
