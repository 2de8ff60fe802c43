"""The ladder of memory: documented, complete, and climbed in its order."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from core.memory_ladder import LADDER, Event, Situation, Step, next_step

S = Situation


def test_the_documentation_shows_the_ladder(root: Path) -> None:
    text = (root / "docs" / "reliability.md").read_text(encoding="utf-8")
    section = text.split("### When memory runs out\n")[1].split("\n## ")[0]
    row = re.compile(r"^\| (\w+)[^|]*\| (\w+) \| (\w+) \| [^|]+ \|$", re.MULTILINE)
    assert row.findall(section)[1:] == [
        (event.value, situation.value, step.value)
        for event, steps in LADDER.items()
        for situation, step in steps.items()
    ]


def test_every_event_has_a_last_step_and_every_step_is_taken() -> None:
    assert list(LADDER) == list(Event)
    assert all(list(steps)[-1] is S.OTHERWISE for steps in LADDER.values())
    assert {situation for steps in LADDER.values() for situation in steps} == set(Situation)
    assert {step for steps in LADDER.values() for step in steps.values()} == set(Step)


@pytest.mark.parametrize("event", Event)
def test_the_first_situation_that_holds_decides(event: Event) -> None:
    situations: list[S] = [each for each in LADDER[event] if each is not S.OTHERWISE]
    for place, first in enumerate(situations):
        holds = {each: index >= place for index, each in enumerate(situations)}
        assert next_step(event, holds) is LADDER[event][first]
    nothing = dict.fromkeys(situations, False)
    assert next_step(event, nothing) is LADDER[event][S.OTHERWISE]
    with pytest.raises(KeyError):
        next_step(event, {})
