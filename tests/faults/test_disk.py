"""The disk fills up under a running service."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.service import Refused
from tests.faults.conftest import StartService, wait_ended
from tests.jobs.recordings import SHORT, small_disk
from tests.waiting import eventually


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", mib=24) as path:
        yield path


def test_a_full_disk_ends_a_job_with_its_reason_and_nothing_else(
    start_service: StartService, talk: Path, disk: Path
) -> None:
    data = disk / "data"
    service = start_service(WHISPER_DATA_DIR=str(data), WHISPER_MIN_FREE_MIB="2")
    # The recording fits as it is uploaded, and then there is no room for what the workers hear.
    ballast = disk / "ballast"
    room = talk.stat().st_size + (4 << 20)
    ballast.write_bytes(bytes(shutil.disk_usage(disk).free - room))
    job_id = service.submit(talk, language="en")
    eventually(lambda: (service.job(job_id) or {})["state"] == "failed", "the job has failed")
    job = service.job(job_id)
    assert job is not None
    assert job["error"]["type"] == "DiskFull"
    assert list(data.glob("jobs/*/spool-*")) == []
    with pytest.raises(Refused) as refused:
        service.submit(talk, language="en")
    assert refused.value.status == 507
    assert list((data / "incoming").iterdir()) == []
    ballast.unlink()
    wait_ended(service, service.submit(SHORT, language="en"))
    again = service.http.post(f"/api/jobs/{job_id}/rerun", json={"language": "en"})
    assert again.status_code == 202
    wait_ended(service, again.json()["id"])
