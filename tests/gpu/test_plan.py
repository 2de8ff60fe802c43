"""A plan for a card: one answer for every front."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.errors import InvalidOption, ModelError
from gpu.nvml import GpuProcess
from gpu.plan import PlanQuery, card_of_size, fitting_models, plan_memory

EIGHT = card_of_size(8, "GPU 0")


def test_the_guides_question_is_answered_with_every_number() -> None:
    plan = plan_memory(PlanQuery(model="large-v3", compute_type="int8", batch_size=8), EIGHT)
    assert plan.fits
    assert plan.verdict == "large-v3 (int8, batch 8) fits GPU 0: 3,515 MiB are left."
    assert plan.tasks_at_once == 1
    assert [setup.model for setup in plan.beside] == [
        "large-v3-turbo", "medium", "small", "base", "tiny",
    ]  # fmt: skip
    assert plan.advice == ()


def test_everything_left_open_is_chosen() -> None:
    plan = plan_memory(PlanQuery(), EIGHT)
    assert (plan.setup.model, plan.setup.compute_type, plan.setup.batch_size) == (
        "large-v3-turbo",
        "float16",
        12,
    )
    assert plan_memory(PlanQuery(task="translate"), EIGHT).setup.model == "large-v3"


def test_what_does_not_fit_is_told_with_what_would() -> None:
    holder = GpuProcess(pid=7, name="blender", used_mib=4000)
    busy = replace(EIGHT, free_mib=4192.0, holders=(holder,))
    plan = plan_memory(PlanQuery(model="large-v3", compute_type="float16", batch_size=8), busy)
    assert not plan.fits
    assert not plan.may_fit
    assert plan.verdict == "large-v3 (float16, batch 8) does not fit GPU 0: 2,057 MiB are missing."
    assert [advice.kind for advice in plan.advice] == ["precision", "model", "others", "cpu"]


def test_within_the_bar_it_only_may_fit() -> None:
    plan = plan_memory(
        PlanQuery(model="large-v3", compute_type="float16", batch_size=8),
        replace(EIGHT, free_mib=6400.0),
    )
    assert (plan.fits, plan.may_fit) == (False, True)
    assert "may fit GPU 0, within the error bar" in plan.verdict


def test_several_at_once_need_room_each() -> None:
    plan = plan_memory(PlanQuery(model="medium", tasks=3), card_of_size(24))
    assert plan.fits
    assert plan.estimate.high_mib * 3 <= 24 * 1024
    assert plan_memory(PlanQuery(tasks=4, model="large-v3", batch_size=8), EIGHT).fits is False


@pytest.mark.parametrize(
    ("question", "error", "says"),
    [
        (PlanQuery(model="huge"), ModelError, "Unknown model"),
        (PlanQuery(model="turbo", task="translate"), ModelError, "cannot translate"),
        (PlanQuery(compute_type="float8"), InvalidOption, "Unknown compute type"),
        (PlanQuery(batch_size=-1), InvalidOption, "batch size of -1"),
        (PlanQuery(beam_size=0), InvalidOption, "beam size of 0"),
        (PlanQuery(tasks=0), InvalidOption, "number of tasks of 0"),
    ],
)
def test_wrong_questions_are_told(question: PlanQuery, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        plan_memory(question, EIGHT)


def test_compute_type_the_card_cannot_do_is_told() -> None:
    pascal = replace(EIGHT, capability=(6, 1))
    with pytest.raises(InvalidOption, match="float16 needs compute capability") as caught:
        plan_memory(PlanQuery(compute_type="float16"), pascal)
    assert caught.value.hint == "It can do: int8_float32, int8, float32."


@pytest.mark.parametrize("gigabytes", [0, -8, 5000, float("nan")])
def test_no_card_has_such_a_size(gigabytes: float) -> None:
    with pytest.raises(InvalidOption, match="is not between 0 and 1,024 GB"):
        card_of_size(gigabytes)


def test_models_are_marked_by_what_the_cards_are() -> None:
    cards = [card_of_size(8, "GPU 0"), card_of_size(2, "GPU 1")]
    marks = fitting_models(cards)
    assert marks["tiny"] == ""
    assert marks["large-v3"] == "too large for GPU 1"
    assert marks["large-v3-turbo"] == "int8_float16 on GPU 1"
    assert set(fitting_models([card_of_size(0.3)]).values()) == {"too large"}
    # What others hold at the moment does not make a model too large.
    assert fitting_models([replace(cards[0], free_mib=100.0)])["large-v3"] == ""
