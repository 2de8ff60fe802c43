"""Two services on one database, and a database that goes away."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.service import Refused, Service
from tests.faults.conftest import StartService, kinds, wait_ended, wait_text
from tests.postgres import PostgresServer
from tests.waiting import eventually


@pytest.fixture(params=["sqlite", "postgresql"])
def two_services(
    request: pytest.FixtureRequest, start_service: StartService, tmp_path: Path
) -> tuple[Service, Service]:
    """Both with the same data directory."""
    shared = {"WHISPER_DATA_DIR": str(tmp_path / "shared"), "WHISPER_WORKERS": "1"}
    if request.param == "postgresql":
        shared["DATABASE_URL"] = request.getfixturevalue("postgres_url")
    return start_service("one", **shared), start_service("two", **shared)


def test_a_job_is_seen_cancelled_and_taken_over_by_the_other_service(
    two_services: tuple[Service, Service], talk: Path, undisturbed: bytes
) -> None:
    one, two = two_services
    kept = one.submit(talk, language="en")
    dropped = one.submit(talk, language="en")
    wait_text(one, kept)
    seen = two.job(kept)
    assert seen is not None
    assert seen["state"] == "running"
    assert two.http.post(f"/api/jobs/{dropped}/cancel").status_code == 200
    eventually(lambda: (one.job(dropped) or {})["state"] == "cancelled", "the cancel is heard")
    deleted = one.submit(talk, language="en")
    assert two.http.delete(f"/api/jobs/{deleted}").status_code == 204
    assert (one.job(deleted) or {"state": "cancelled"})["state"] == "cancelled"
    assert two.job(deleted) is None
    assert not (one.data_dir.parent.parent / "shared" / "jobs" / deleted).exists()
    one.kill()
    wait_ended(two, kept)
    assert two.subtitles(kept) == undisturbed
    assert kinds(two, kept).count("taken_over") == 1


def test_jobs_go_on_while_the_database_is_away(
    start_service: StartService,
    postgres: PostgresServer,
    postgres_url: str,
    talk: Path,
    undisturbed: bytes,
) -> None:
    service = start_service(DATABASE_URL=postgres_url)
    job_id = service.submit(talk, language="en")
    wait_text(service, job_id)
    postgres.stop()
    try:
        with pytest.raises(Refused) as refused:
            service.submit(talk, language="en")
        assert refused.value.status == 503
        assert refused.value.retry_after_s
        eventually(
            lambda: not service.http.get("/health").json()["database"],
            "health knows of the database",
        )
        assert service.http.get("/health").status_code == 200
        wait_ended(service, job_id)
        assert service.subtitles(job_id) == undisturbed
    finally:
        postgres.start()
    eventually(lambda: service.http.get("/ready").status_code == 200, "it is back")
    eventually(
        lambda: service.history(job_id)[-1]["kind"] == "complete",
        "what happened meanwhile is written",
    )
    again = service.submit(talk, language="en")
    wait_ended(service, again)
    assert jobs_of(service, talk) == {job_id, again}


def jobs_of(service: Service, talk: Path) -> set[str]:
    listed = service.http.get("/api/jobs").json()["jobs"]
    return {job["id"] for job in listed if job["name"] == talk.name}
