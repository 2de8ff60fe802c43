"""A short piece of ``bench/chaos.py``: the real service, killed at random, loses nothing."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from bench.chaos import Plan, make_recordings, run
from bench.chaos_report import checks
from bench.figures import checks_table


@pytest.fixture
def plan(tmp_path: Path, root: Path, tiny_en: Path) -> Plan:
    speech = root / "tests" / "data" / "ljspeech"
    return Plan(
        recordings=make_recordings(tmp_path, speech, 2, (50.0, 70.0), seed=3),
        jobs=2,
        kills=4,
        mean_s=3.0,
        at_once=2,
        seed=3,
        query={"language": "en"},
        settings={"WHISPER_MODEL": "tiny.en", "WHISPER_DEVICE": "cpu", "WHISPER_BEAM_SIZE": "1"},
    )


def test_two_jobs_survive_four_kills_byte_for_byte(plan: Plan, tmp_path: Path) -> None:
    calm, wild = run(plan, tmp_path)
    # How soon a worker is back is the bench's to judge.
    found = checks(calm, wild, recovery_s=math.inf)
    assert all(check.holds for check in found), "\n".join(checks_table(found))
    assert [kill.target for kill in wild.killed].count("parent") == 2
    assert len(wild.killed) == 4
