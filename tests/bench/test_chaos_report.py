from __future__ import annotations

from pathlib import Path

import pytest

from bench.chaos_report import Course, checks, data, differing, plot
from bench.crowd import Followed
from bench.figures import publish
from bench.kills import Killed

TALK, FILM = Path("talk.flac"), Path("film.flac")
SRT = b"1\n00:00:00,000 --> 00:00:01,000\nHello.\n"


def followed(job_id: str, recording: Path = TALK, state: str = "complete") -> Followed:
    return Followed(job_id, recording, accepted_s=1.0, ended_s=9.0, state=state)


def killed(back_s: float | None, target: str = "worker") -> Killed:
    assert target in ("worker", "parent")
    if target == "parent":
        return Killed("parent", "SIGKILL", 3.0, 100, True, back_s)
    return Killed("worker", "SIGSEGV", 2.0, 101, False, back_s)


@pytest.fixture
def calm() -> Course:
    return Course(
        jobs=[followed("a"), followed("b", FILM)],
        srt={"a": SRT, "b": b"2"},
        load_s=1.0,
        descriptors=30,
    )


@pytest.fixture
def wild() -> Course:
    """As it should be: one recording twice, one kill of each kind."""
    return Course(
        jobs=[followed("c"), followed("d", FILM), followed("e")],
        srt={"c": SRT, "d": b"2", "e": SRT},
        killed=[killed(2.0), killed(4.0, "parent"), killed(None)],
        descriptors=31,
        elapsed_s=12.0,
    )


def broken(calm: Course, wild: Course) -> list[str]:
    return [check.what.split(" (")[0] for check in checks(calm, wild) if not check.holds]


def test_a_course_as_promised_breaks_nothing(calm: Course, wild: Course) -> None:
    assert broken(calm, wild) == []
    assert differing(calm, wild) == []


def test_one_byte_is_a_difference(calm: Course, wild: Course) -> None:
    wild.srt["e"] = SRT.replace(b"000 -->", b"001 -->")
    assert differing(calm, wild) == ["e"]
    assert broken(calm, wild) == ["subtitles byte-identical to the undisturbed ones"]


def test_no_subtitles_on_both_sides_are_not_the_same_subtitles(calm: Course, wild: Course) -> None:
    del calm.srt["b"], wild.srt["d"]
    assert differing(calm, wild) == ["d"]


def test_a_job_with_gaps_and_one_that_never_ended_are_seen(calm: Course, wild: Course) -> None:
    wild.jobs[0].state = "complete_with_gaps"
    wild.jobs[1].state, wild.jobs[1].ended_s = "running", None
    del wild.srt["c"], wild.srt["d"]
    assert broken(calm, wild) == [
        "jobs complete, disturbed",
        "accepted jobs lost or unknown at any time",
        "subtitles byte-identical to the undisturbed ones",
    ]


def test_an_accepted_job_that_was_unknown_once_counts_as_lost(calm: Course, wild: Course) -> None:
    wild.statuses[404] = 1
    assert broken(calm, wild) == ["accepted jobs lost or unknown at any time"]


def test_a_slow_successor_of_a_worker_is_seen_and_a_slow_service_is_not(
    calm: Course, wild: Course
) -> None:
    wild.killed.append(killed(60.0, "parent"))
    assert broken(calm, wild) == []
    wild.killed.append(killed(6.1))
    assert broken(calm, wild) == ["worker killed → its successor has the model"]


def test_a_worker_that_never_came_back_is_no_kill_that_another_overtook(
    calm: Course, wild: Course
) -> None:
    wild.killed.append(Killed("worker", "SIGKILL", 2.0, 101, True, None, watched_s=6.5))
    assert broken(calm, wild) == [
        "workers killed and not replaced in that time, nor before another kill"
    ]


def test_nothing_may_be_left(calm: Course, wild: Course) -> None:
    wild.descriptors, wild.zombies, wild.exit_code = 40, 1, -9
    wild.processes_left, wild.files_left = [17], ["data/jobs/c/spool-1"]
    assert broken(calm, wild) == [
        "descriptors of the idle parent, without the database",
        "zombies",
        "exit code after SIGTERM",
        "processes left after the stop",
        "spool, upload and temporary files left",
    ]


def test_a_course_without_jobs_proves_nothing(calm: Course, wild: Course) -> None:
    wild.jobs, wild.srt = [], {}
    assert "jobs complete, disturbed" in broken(calm, wild)


def test_the_picture_and_the_data_hold_every_job_and_kill(wild: Course, tmp_path: Path) -> None:
    plot(wild, tmp_path / "chaos.png")
    assert (tmp_path / "chaos.png").read_bytes().startswith(b"\x89PNG")
    found = data(wild)
    assert [job["recording"] for job in found["jobs"]] == ["talk.flac", "film.flac", "talk.flac"]
    assert publish(tmp_path, "chaos", "", [], found) == 0
    assert [kill["back_s"] for kill in found["killed"]] == [2.0, 4.0, None]
