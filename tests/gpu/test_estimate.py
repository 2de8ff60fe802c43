"""Estimates learn: the more was measured on a card, the nearer they are and the smaller the bar."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gpu.estimate import CONTEXT, estimate
from gpu.peaks import Peak, Peaks
from gpu.physical import Setup

CARD = "NVIDIA L4"
TURBO = Setup(model="large-v3-turbo", compute_type="float16", batch_size=8)


def peak(setup: Setup, mib: float, device: str = CARD) -> Peak:
    return Peak(device=device, **setup.key._asdict(), peak_mib=mib)


def test_without_measurements_it_says_that_it_is_calculated() -> None:
    found = estimate(TURBO, Peaks(), CARD)
    assert found.source == "calculated"
    assert found == estimate(TURBO)
    assert found.error == 0.10


def test_bar_is_wider_where_nobody_published_anything() -> None:
    assert estimate(replace(TURBO, model="medium")).error == 0.15
    assert estimate(replace(TURBO, beam_size=1)).error == 0.15
    assert estimate(replace(TURBO, batch_size=32)).error == 0.20


def test_measured_set_up_is_taken_as_it_was_measured() -> None:
    peaks = Peaks()
    peaks.add(peak(TURBO, 5000))
    peaks.add(peak(TURBO, 5100))
    peaks.add(peak(TURBO, 5050))
    found = estimate(TURBO, peaks, CARD)
    assert found.total_mib == pytest.approx(5100)
    assert sum(found.parts.values()) == pytest.approx(5100)
    assert found.source == "measured here 3 times"
    assert found.error == 0.03


def test_other_batches_of_the_model_are_corrected_by_the_nearest() -> None:
    plain = estimate(TURBO).total_mib
    peaks = Peaks()
    peaks.add(peak(TURBO, plain + 300))
    peaks.add(peak(replace(TURBO, batch_size=1), estimate(replace(TURBO, batch_size=1)).total_mib))
    wider = replace(TURBO, batch_size=12)
    found = estimate(wider, peaks, CARD)
    assert found.total_mib == pytest.approx(estimate(wider).total_mib + 300)
    assert found.source == "calculated, corrected by batches of 8 measured here"
    assert found.error == 0.06
    assert estimate(replace(TURBO, batch_size=2), peaks, CARD).total_mib == pytest.approx(
        estimate(replace(TURBO, batch_size=2)).total_mib
    )


def test_other_models_are_corrected_by_what_is_common_to_the_card() -> None:
    peaks = Peaks()
    for model, more in (("tiny", 100), ("base", 150), ("small", 400)):
        setup = Setup(model=model)
        peaks.add(peak(setup, estimate(setup).total_mib + more))
    medium = Setup(model="medium")
    found = estimate(medium, peaks, CARD)
    assert found.total_mib == pytest.approx(estimate(medium).total_mib + 150)
    assert found.error == 0.10 < estimate(medium).error
    assert found.parts[CONTEXT] == pytest.approx(estimate(medium).parts[CONTEXT] + 150)


def test_models_outside_the_table_teach_nothing_about_others() -> None:
    peaks = Peaks()
    peaks.add(peak(Setup(model="mine"), 900))
    assert estimate(TURBO, peaks, CARD) == estimate(TURBO)


def test_other_cards_teach_nothing() -> None:
    peaks = Peaks()
    peaks.add(peak(TURBO, 9999, device="NVIDIA A100"))
    assert estimate(TURBO, peaks, CARD) == estimate(TURBO)


def test_much_less_than_calculated_leaves_no_negative_part() -> None:
    peaks = Peaks()
    peaks.add(peak(TURBO, 700))
    found = estimate(TURBO, peaks, CARD)
    assert found.total_mib == pytest.approx(700)
    assert min(found.parts.values()) >= 0


def test_what_was_kept_may_be_known_already() -> None:
    peaks = Peaks()
    told: list[Peak] = []
    end = peaks.listen(told.append)
    peaks.add(peak(TURBO, 5000))
    peaks.load([replace(peak(TURBO, 5200), runs=4), replace(peak(TURBO, 5200), runs=4)])
    assert peaks.all() == [replace(peak(TURBO, 5200), runs=4)]
    end()
    peaks.add(peak(TURBO, 1))
    assert told == [peak(TURBO, 5000)]
