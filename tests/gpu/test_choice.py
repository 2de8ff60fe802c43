"""What is chosen when nobody says, and what is advised when something does not fit."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu import support
from gpu.advice import advise
from gpu.choice import Card, best_batch, candidates, choose, fits, judge
from gpu.nvml import GpuProcess
from gpu.physical import Setup

AMPERE = (8, 6)


def card(free_mib: float, capability: tuple[int, int] | None = AMPERE) -> Card:
    return Card(label="GPU 0", free_mib=free_mib, total_mib=free_mib, capability=capability)


def chosen(free_gb: float, task: str = "transcribe", **options: object) -> tuple[str, str, int]:
    found = choose(card(free_gb * 1024), candidates(task), **options)  # type: ignore[arg-type]
    assert found is not None
    return found.setup.model, found.setup.compute_type, found.setup.batch_size


@pytest.mark.parametrize(
    ("free_gb", "task", "expected"),
    [
        (24, "transcribe", ("large-v3-turbo", "float16", 16)),
        (8, "transcribe", ("large-v3-turbo", "float16", 12)),
        (4, "transcribe", ("large-v3-turbo", "float16", 4)),
        (2, "transcribe", ("large-v3-turbo", "int8_float16", 1)),
        (1.3, "transcribe", ("small", "int8_float16", 2)),
        (24, "translate", ("large-v3", "float16", 16)),
        (6, "translate", ("large-v3", "float16", 4)),
        (4, "translate", ("large-v3", "int8_float16", 4)),
    ],
)
def test_best_model_that_fits_in_its_best_precision(
    free_gb: float, task: str, expected: tuple[str, str, int]
) -> None:
    assert chosen(free_gb, task) == expected


def test_nothing_is_chosen_where_nothing_fits() -> None:
    assert choose(card(300), candidates()) is None
    assert best_batch(Setup(model="large-v3"), card(3000)) is None


def test_what_was_asked_for_is_kept() -> None:
    assert chosen(24, compute_type="int8_float16", batch_size=2) == (
        "large-v3-turbo",
        "int8_float16",
        2,
    )


def test_task_and_language_decide_who_is_asked() -> None:
    assert candidates()[0] == "large-v3-turbo"
    assert "large-v3-turbo" not in candidates("translate")
    assert "base" not in candidates(language="yue")
    assert candidates(language="yue")[0] == "large-v3-turbo"
    assert candidates(language="en", available=["tiny.en"]) == ("tiny.en",)
    assert candidates(available=["tiny.en", "base"]) == ("base",)


@pytest.mark.parametrize(
    ("capability", "types", "best"),
    [
        ((5, 2), {"float32"}, "float32"),
        ((6, 0), {"float32"}, "float32"),
        ((6, 1), {"float32", "int8", "int8_float32"}, "int8_float32"),
        ((7, 0), {"float32", "int8", "int8_float32", "float16", "int8_float16"}, "float16"),
        ((8, 0), set(support.COMPUTE_TYPES), "float16"),
        ((12, 0), set(support.COMPUTE_TYPES), "float16"),
        (None, set(support.COMPUTE_TYPES), "float16"),
    ],
)
def test_compute_types_follow_the_capability(
    capability: tuple[int, int] | None, types: set[str], best: str
) -> None:
    assert set(support.compute_types(capability)) == types
    assert support.preferred(capability)[0] == best


def test_old_cards_take_what_they_can() -> None:
    found = choose(card(8192, (6, 1)), candidates())
    assert found is not None
    assert found.setup.compute_type == "int8_float32"
    assert "7.0 or newer; this card has 6.1" in support.why_not((6, 1), "float16")
    assert "6.1, or 7.0 and newer; this card has 6.0" in support.why_not((6, 0), "int8_float32")
    assert "8.0 or newer" in support.why_not((7, 5), "bfloat16")


LARGE = Setup(model="large-v3", compute_type="float16", batch_size=16)


def test_advice_goes_from_least_to_most_harm() -> None:
    found = advise(LARGE, card(7 * 1024), tasks=2)
    assert [advice.kind for advice in found] == ["precision", "model", "cpu"]
    found = advise(LARGE, card(8 * 1024))
    assert [advice.kind for advice in found] == ["batch", "precision", "model", "cpu"]
    assert found[0].text == "Use a batch of 8 instead of 16: about 6,249 MiB (±10%)."
    found = advise(replace(LARGE, batch_size=1), card(12 * 1024), tasks=3)
    assert "tasks" in [advice.kind for advice in found]
    assert "Run 2 at once instead of 3" in " ".join(advice.text for advice in found)


def test_main_memory_has_advice_of_its_own() -> None:
    room = Card(label="the CPU", free_mib=3000, total_mib=3000, kind="cpu")
    setup = Setup(model="large-v3", compute_type="float32", batch_size=8)
    found = advise(setup, room)
    assert [advice.kind for advice in found] == ["precision", "model"]
    assert found[0].text.startswith("Use int8 instead of float32")


def test_who_holds_the_memory_is_named_where_that_would_help() -> None:
    holder = GpuProcess(pid=4321, name="python", used_mib=6500)
    texts = [a.text for a in advise(LARGE, replace(card(8 * 1024), holders=(holder,)))]
    assert (
        "Stop or move the programs that hold memory of GPU 0: python (pid 4321, 6,500 MiB)."
        in texts
    )
    small = GpuProcess(pid=1, name="Xorg", used_mib=50)
    found = advise(LARGE, replace(card(8 * 1024), holders=(small,)))
    assert not any("Xorg" in a.text for a in found)


def test_a_model_that_cannot_do_the_task_is_not_advised() -> None:
    texts = " ".join(a.text for a in advise(LARGE, card(2900), task="translate"))
    assert "turbo" not in texts
    assert "medium" in texts


@given(
    free=st.integers(500, 40_000),
    batch=st.integers(1, 32),
    tasks=st.integers(1, 4),
    model=st.sampled_from(["large-v3", "large-v3-turbo", "medium", "small"]),
)
def test_everything_that_is_advised_fits(free: int, batch: int, tasks: int, model: str) -> None:
    room = card(free)
    for advice in advise(Setup(model=model, batch_size=batch), room, tasks=tasks):
        if advice.setup is None:
            continue
        wanted = advice.tasks if advice.kind == "tasks" else tasks
        each = replace(room, free_mib=free / wanted)
        assert fits(each, judge(each, None)(advice.setup))
