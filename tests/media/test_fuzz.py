"""Damaged media never take the service down: every input is a result or a typed error."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import MediaLimitExceeded, SubtitleError, UnreadableMedia
from core.pcm import PcmSpool
from media.container import DecodeLimits
from media.process import IsolatedProcess, ProcessLimits
from tests.media import targets
from tests.media.fuzzing import KEPT, Death, Tried, make_seeds, read_seeds, run_fuzz
from tests.media.mutations import mutated
from tests.waiting import PATIENCE_S

SEED = 20_261_120
STALL_S = 10.0
"""How long the input that hangs is let be; the start of a process takes less."""


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_seeds(tmp_path_factory.mktemp("seeds"))


def test_every_damaged_file_is_a_result_or_a_typed_error(
    seeds: Path, tmp_path: Path, long_run: bool
) -> None:
    inputs = 60_000 if long_run else 3_000
    tally = run_fuzz(seeds, SEED, inputs, tmp_path)
    assert [(tried.number, tried.bug) for tried in tally.bugs] == []
    # A lost process is contained; with these inputs none is, and a new one deserves a look.
    assert [(death.number, str(death.error)) for death in tally.deaths] == []
    assert sorted(tried.number for tried in tally.tried) == list(range(inputs))
    outcomes = tally.outcomes()
    assert outcomes["result"] > inputs // 4
    assert outcomes["UnreadableMedia"] > inputs // 20


def test_same_number_is_the_same_input_every_time(seeds: Path, tmp_path: Path) -> None:
    first, again = read_seeds(seeds), read_seeds(make_seeds(tmp_path))
    assert first == again
    assert len(first) > 50
    inputs = [mutated(first, SEED, number) for number in range(300)]
    assert inputs == [mutated(again, SEED, number) for number in range(300)]
    assert inputs != [mutated(first, SEED + 1, number) for number in range(300)]
    unchanged = [name for name, data in inputs if data == first[name]]
    assert len(unchanged) < len(inputs) / 10


def test_a_lost_process_is_put_down_to_its_input_and_the_rest_goes_on(
    seeds: Path, tmp_path: Path
) -> None:
    heard: list[Tried | Death] = []
    tally = run_fuzz(
        seeds,
        SEED,
        8,
        tmp_path,
        processes=1,
        target=targets.die_and_hang_on_some,
        limits=ProcessLimits(stall_s=STALL_S),
        tell=heard.append,
    )
    lost = {death.number: death.error for death in tally.deaths}
    assert [tried.number for tried in tally.tried] == [0, 1, 2, 6, 7]
    assert {number: type(error) for number, error in lost.items()} == {
        3: UnreadableMedia,
        4: UnreadableMedia,
        5: MediaLimitExceeded,
    }
    assert "crashed" in str(lost[3])
    assert "no progress" in str(lost[4])
    assert len(heard) == 8


@pytest.mark.parametrize("path", sorted(KEPT.iterdir()), ids=lambda path: path.name)
def test_kept_input_is_a_result_or_a_typed_error_in_a_process_of_its_own(
    path: Path, tmp_path: Path
) -> None:
    spool = PcmSpool(tmp_path / "audio.pcm")
    limits = ProcessLimits(stall_s=PATIENCE_S)
    with IsolatedProcess(targets.decode, path, spool, DecodeLimits(), limits=limits) as process:
        try:
            outcome = "" if list(process.messages()) else "nothing heard"
        except SubtitleError as error:
            outcome = str(error)
    assert not outcome.startswith("The media process failed")  # a bug of ours
    assert outcome != "nothing heard"
