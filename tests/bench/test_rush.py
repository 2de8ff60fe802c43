from __future__ import annotations

from pathlib import Path

from bench.figures import publish
from bench.prober import Latencies
from bench.rush import Submission, checks, data


def done(refusals: list[int] | None = None) -> Submission:
    return Submission(
        "one", refusals or [], job_id="a", accepted_s=1.0, ended_s=2.0, state="complete"
    )


QUICK = Latencies({"job over the API": [0.01] * 100}, {"job over the API": []})


def broken(submissions: list[Submission], latencies: Latencies = QUICK) -> list[str]:
    return [c.what.split(" (")[0] for c in checks(submissions, latencies) if not c.holds]


def test_refused_and_accepted_later_is_as_promised() -> None:
    assert broken([done(), done([429, 503, 503])]) == []


def test_a_submission_that_never_got_in_is_seen() -> None:
    refused = Submission("one", [503])
    assert broken([done(), refused]) == ["submissions accepted in the end"]


def test_an_accepted_job_that_did_not_end_complete_is_seen() -> None:
    lost = done()
    lost.state = "failed"
    assert broken([done(), lost]) == ["accepted jobs complete"]


def test_an_answer_500_is_seen() -> None:
    failed = Submission("one", failures=["500: oops"])
    assert broken([failed]) == [
        "submissions accepted in the end",
        "answers 500, unknown jobs, broken connections",
    ]


def test_a_refusal_that_does_not_say_when_is_seen() -> None:
    vague = done([503])
    vague.without_retry_after = 1
    assert broken([vague]) == ["refusals without Retry-After"]


def test_a_slow_or_failing_status_is_seen() -> None:
    slow = Latencies({"/health": [0.01] * 94 + [0.3] * 6}, {"/health": ["503: full"]})
    assert broken([done()], slow) == ["/health", "/health: failures"]


def test_a_status_that_was_never_measured_is_not_fast() -> None:
    assert broken([done()], Latencies({"/health": []}, {"/health": []})) == ["/health"]


def test_the_data_can_be_written(tmp_path: Path) -> None:
    assert publish(tmp_path, "rush", "", [], data([done()], QUICK)) == 0
