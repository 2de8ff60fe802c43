from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from bench.figures import Check, checks_table, growth, none_of, percentile, publish, spread
from bench.machine import machine


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([3.0], 0.95, 3.0),
        ([float(n) for n in range(1, 101)], 0.95, 95.0),
        ([float(n) for n in range(1, 21)], 0.95, 19.0),
        ([2.0, 1.0], 0.5, 1.0),
        ([2.0, 1.0], 0.51, 2.0),
        ([5.0, 4.0], 0.0, 4.0),
        ([5.0, 4.0], 1.0, 5.0),
    ],
)
def test_a_percentile_is_a_value_that_occurred(
    values: list[float], share: float, expected: float
) -> None:
    assert percentile(values, share) == expected


def test_nothing_measured_is_not_taken_for_fast() -> None:
    assert math.isnan(percentile([], 0.95))
    assert not percentile([], 0.95) < 1.0
    assert spread([]) == "none"


def test_a_spread_names_median_95_percent_and_largest() -> None:
    assert spread([float(n) for n in range(1, 101)], "ms", 0) == "50 / 95 / 100 ms"


def test_growth_compares_medians_and_forgives_one_outlier() -> None:
    assert growth([100.0, 100.0, 900.0], [104.0, 104.0, 104.0]) == pytest.approx(4.0)
    assert growth([100.0], [90.0]) == pytest.approx(-10.0)


def test_what_should_not_be_there_is_named() -> None:
    assert none_of("files left", ["a", "b"]) == Check("files left", "2: a, b", "0", False)
    assert none_of("failures", ["same"] * 200).measured == "200: same, same, same, same"
    assert none_of("zombies", 0) == Check("zombies", "0", "0", True)


def test_a_broken_promise_is_seen_in_the_table_and_in_the_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept, broken = Check("a", "1", "1", True), none_of("b", 2)
    assert checks_table([kept, broken])[2:] == ["| a | 1 | 1 | yes |", "| b | 2 | 0 | NO |"]
    assert publish(tmp_path, "one", "Intro.", [kept], {}) == 0
    assert publish(tmp_path, "two", "Intro.", [kept, broken], {"é": [1]}) == 1
    assert (tmp_path / "two.md").read_text(encoding="utf-8") in capsys.readouterr().out
    assert json.loads((tmp_path / "two.json").read_text(encoding="utf-8")) == {"é": [1]}


def test_a_table_says_on_what_it_was_measured() -> None:
    assert "cores, Python 3." in machine()
