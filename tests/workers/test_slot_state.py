"""The table of a slot's states: documented, complete, and checked at every change."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.workers.conftest import QUICK
from workers.devices import Device
from workers.slot_state import TRANSITIONS, SlotEvent, SlotState
from workers.worker_slot import ENDING, WorkerSlot

S, E = SlotState, SlotEvent


def test_the_documentation_shows_the_table(root: Path) -> None:
    text = (root / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = text.split("## A slot and its worker\n")[1].split("\n## ")[0]
    shown = {
        state: re.findall(r"(\w+) → `(\w+)`", changes)
        for state, changes in re.findall(r"^\| `(\w+)` \|[^|]*\|([^|]*)\|$", section, re.MULTILINE)
    }
    assert shown == {
        state.value: [(event.value, following.value) for event, following in changes.items()]
        for state, changes in TRANSITIONS.items()
    }


def test_every_state_can_be_reached_and_left_and_every_event_can_come() -> None:
    assert set(TRANSITIONS) == set(S)
    assert {event for changes in TRANSITIONS.values() for event in changes} == set(E)
    reached = {S.EMPTY}
    while more := {n for state in reached for n in TRANSITIONS[state].values()} - reached:
        reached |= more
    assert reached == set(S)
    assert all(set(changes.values()) - {state} for state, changes in TRANSITIONS.items())


def test_no_worker_is_lost_sight_of() -> None:
    """Its death is heard in every state that has one, and leads to a state that has none."""
    without = {S.EMPTY, S.DORMANT}
    assert {s for s, changes in TRANSITIONS.items() if E.DIED not in changes} == without
    assert {changes[E.DIED] for s, changes in TRANSITIONS.items() if s not in without} == without


def test_an_ending_worker_gets_no_more_work_and_does_not_come_back() -> None:
    for state in ENDING:
        assert not {E.TASK_GIVEN, E.LOAD_GIVEN} & set(TRANSITIONS[state])
        assert set(TRANSITIONS[state].values()) <= {*ENDING, S.EMPTY, S.DORMANT}


@pytest.mark.parametrize("state", [S.EMPTY, S.LOADING, S.BUSY])
def test_an_impossible_event_is_logged_and_changes_nothing(
    state: SlotState, impossible: list[str]
) -> None:
    slot = WorkerSlot(Device("CPU 0", "cpu"), state=state)
    slot.on(E.TASK_GIVEN)
    assert slot.state is state
    assert impossible == [f"[CPU 0] impossible: task_given while {state}"]
    impossible.clear()


@pytest.mark.parametrize(
    ("state", "deaths", "following"),
    [
        (S.BUSY, 1, S.EMPTY),
        (S.HUNG, 1, S.EMPTY),
        (S.FAILING, 1, S.EMPTY),
        (S.LEAVING, 0, S.EMPTY),
        (S.DISMISSED, 0, S.DORMANT),
    ],
)
def test_only_deaths_that_nobody_wanted_count(
    state: SlotState, deaths: int, following: SlotState
) -> None:
    slot = WorkerSlot(Device("CPU 0", "cpu"), state=state)
    slot.bury("SIGKILL", 0.0, QUICK)
    assert (slot.breaker.deaths, slot.state) == (deaths, following)
