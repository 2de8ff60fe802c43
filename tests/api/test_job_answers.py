"""When an answer that waits for its job has nothing to wait for."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from api.job_answers import JobAnswers, error_of
from api.uploads import Uploads
from core.errors import Cancelled, Paused, SubtitleError, UnreadableMedia, WorkerError
from core.settings import Settings
from jobs.admission import Admission
from jobs.health import Health
from jobs.records import JobView
from jobs.request import JobRequest
from jobs.service import JobService
from jobs.states import JobState
from tests.api.test_health import state, worker


def out(folder: Path, health: Health) -> SubtitleError | None:
    class Service:
        settings = Settings(data_dir=folder)

        def health(self) -> Health:
            return health

    uploads = Uploads(Service.settings, Admission(Service.settings))
    return JobAnswers(cast(JobService, Service()), uploads).no_device()


def test_a_request_does_not_wait_for_devices_that_are_all_out(tmp_path: Path) -> None:
    lost = worker("retired", None, None)
    found = out(tmp_path, state(lost, lost, reason="No device is left."))
    assert found is not None
    assert found.message == "No device is left."
    for health in (state(), state(lost, worker("busy")), state(worker("dead", None, None))):
        assert out(tmp_path, health) is None


@pytest.mark.parametrize(
    ("job_state", "error", "found"),
    [
        (JobState.RUNNING, None, None),
        (JobState.COMPLETE, None, None),
        (JobState.COMPLETE_WITH_GAPS, None, None),
        (JobState.PAUSED, None, Paused),
        (JobState.CANCELLED, Cancelled(), Cancelled),
        (JobState.CANCELLED, None, Cancelled),
        (JobState.FAILED, UnreadableMedia("x"), UnreadableMedia),
        (JobState.FAILED, None, WorkerError),
    ],
)
def test_every_end_without_a_result_is_an_error(
    job_state: JobState, error: SubtitleError | None, found: type[SubtitleError] | None
) -> None:
    view = JobView(
        id="a",
        owner="local",
        client="local",
        name="x",
        state=job_state,
        request=JobRequest(path=Path("x")),
        created_at=0.0,
        storage_id="here",
        version=1,
        error=error,
    )
    assert type(error_of(view)) is (found or type(None))
