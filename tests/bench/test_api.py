from __future__ import annotations

from collections import Counter

from bench.api import overhead_checks, rush_checks, stream_checks
from bench.figures import Check


def kept(checks: list[Check]) -> bool:
    return all(check.holds for check in checks)


def test_a_short_clip_is_judged_by_milliseconds_and_a_long_one_by_its_share() -> None:
    assert kept(overhead_checks({3.0: {"direct": [0.2] * 3, "api": [0.24, 0.24, 9.0]}}))
    assert not kept(overhead_checks({3.0: {"direct": [0.2], "api": [0.26]}}))
    assert kept(overhead_checks({60.0: {"direct": [10.0], "api": [10.2]}}))
    assert not kept(overhead_checks({60.0: {"direct": [1.0], "api": [1.04]}}))


def test_a_rush_may_be_refused_and_must_not_fail() -> None:
    assert kept(rush_checks(Counter({"complete": 150, "503": 50}), 0))
    assert not kept(rush_checks(Counter({"complete": 199, "500": 1}), 0))
    assert not kept(rush_checks(Counter({"503": 1}), 1))


def test_streams_must_be_cheap_and_leave_health_alone() -> None:
    assert kept(stream_checks(1000, 30.0, [0.002, 0.01]))
    assert not kept(stream_checks(1000, 60.0, [0.002]))
    assert not kept(stream_checks(1000, 30.0, [0.002, 0.2]))
