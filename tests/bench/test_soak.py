from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from bench.figures import publish
from bench.soak import AT_ONCE, KINDS, Sample, Soaked, checks, make_recordings, plot, windows


def sample(mib: float, descriptors: int = 20, threads: int = 8) -> Sample:
    return Sample(pss_mib=mib, rss_mib=mib + 20, descriptors=descriptors, threads=threads)


def soaked(samples: list[Sample]) -> Soaked:
    count = len(samples)
    return Soaked(
        states={"complete": AT_ONCE * count},
        processes={"parent": samples},
        database_mib=[0.1] * count,
        temporary=[0] * count,
        others=[0] * count,
    )


def broken(seen: Soaked, jobs: int) -> list[str]:
    return [check.what for check in checks(seen, jobs) if not check.holds]


def test_jobs_50_to_100_are_compared_with_the_last_50() -> None:
    before, after = windows([sample(first) for first in range(0, 500, AT_ONCE)])
    assert [before[0].pss_mib, before[-1].pss_mib] == [50, 98]
    assert [after[0].pss_mib, after[-1].pss_mib] == [450, 498]


def test_a_short_run_is_cut_into_thirds() -> None:
    before, after = windows([sample(n) for n in range(9)])
    assert [s.pss_mib for s in before] == [3, 4, 5]
    assert [s.pss_mib for s in after] == [6, 7, 8]


def test_what_grows_while_it_warms_up_and_then_stays_is_no_leak() -> None:
    assert broken(soaked([sample(min(100 + 2 * n, 140)) for n in range(250)]), 500) == []


def test_a_leak_of_a_tenth_mib_a_job_is_seen() -> None:
    found = broken(soaked([sample(200 + n / 5) for n in range(250)]), 500)
    assert found == ["parent: memory (PSS)", "parent: memory (RSS)"]


def test_one_descriptor_or_thread_more_is_seen() -> None:
    samples = [sample(100, 20 + n // 150, 8 + n // 200) for n in range(250)]
    assert broken(soaked(samples), 500) == ["parent: descriptors", "parent: threads"]


def test_a_worker_that_was_replaced_and_a_lost_job_are_seen() -> None:
    seen = soaked([sample(100)] * 250)
    seen.processes["worker 1"] = [sample(300)] * 200
    seen.states = {"complete": 499, "lost": 1}
    assert broken(seen, 500) == ["jobs complete", "worker 1"]


def test_a_file_left_after_one_job_is_seen() -> None:
    seen = soaked([sample(100)] * 250)
    seen.temporary[100] = 1
    seen.files_left = ["spool-1"]
    assert broken(seen, 500) == [
        "temporary files after a job (max)",
        "temporary files left after the stop",
    ]


def test_every_kind_of_file_is_made_of_every_clip(tmp_path: Path, root: Path) -> None:
    speech = tmp_path / "speech"
    speech.mkdir()
    (speech / "LJ001-0002.flac").symlink_to(root / "tests/data/ljspeech/LJ001-0002.flac")
    made = make_recordings(tmp_path, speech)
    assert [path.suffix for path in made] == [f".{kind}" for kind in KINDS]
    assert all(path.stat().st_size > 1000 for path in made)


def test_the_picture_and_the_data_can_be_written(tmp_path: Path) -> None:
    seen = soaked([sample(100)] * 9)
    plot(seen, tmp_path / "soak.png")
    assert (tmp_path / "soak.png").read_bytes().startswith(b"\x89PNG")
    assert publish(tmp_path, "soak", "", checks(seen, 18), asdict(seen)) == 0


@pytest.mark.parametrize("count", [0, 2])
def test_too_few_jobs_prove_nothing(count: int) -> None:
    assert "parent" in broken(soaked([sample(100)] * count), AT_ONCE * count)
