"""Slots of different speed share a recording: a simulation, whose clock is a number."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import pytest

from core.endpoints import SHARED, Endpoint
from core.pcm import PcmSpool
from core.pool_job import DecodeRequest, PoolJob
from core.types import DecodeOptions
from tests.workers.conftest import segment
from tests.workers.test_scheduler import A_WORKER, LIMITS, NOBODY, TINY
from workers.devices import Device, endpoint_devices
from workers.pending import PendingSegment, PoolJobState, Task
from workers.scheduler import Scheduler
from workers.slot_state import SlotState
from workers.speed import Rival, soonest_s, together_s
from workers.worker_slot import WorkerSlot

CANCEL_S = 0.05
"""Time a simulated worker takes to give a task back."""


def here(number: int, name: str = "") -> WorkerSlot:
    device = Device(f"CPU {number}", "cpu", name=name)
    return WorkerSlot(device, state=SlotState.IDLE, worker=A_WORKER, model=TINY)


def remote(number: int = 0, parallel: int = 2) -> WorkerSlot:
    endpoint = Endpoint(
        id=f"e{number}",
        name=f"E{number}",
        api_url="http://127.0.0.1/asr",
        model_name="",
        kind="asr",
        parallel=parallel,
    )
    return WorkerSlot(endpoint_devices([endpoint])[0], state=SlotState.IDLE, worker=A_WORKER)


def shared_job(scheduler: Scheduler, lengths: Sequence[float], **options: int) -> PoolJobState:
    decode = DecodeOptions(language="en", **options)  # type: ignore[arg-type]
    request = DecodeRequest(model=TINY, options=decode, where=SHARED)
    state = PoolJobState(PoolJob(request, PcmSpool(Path("x")), lambda event: None, NOBODY))
    scheduler.enter(state)
    entries = [PendingSegment(segment(i, length)) for i, length in enumerate(lengths)]
    scheduler.add(state, entries, now=0.0)
    state.input_finished = True
    return state


class Simulation:
    """Slots with true speeds (× real time) work through what a scheduler gives them."""

    def __init__(self, speeds: dict[WorkerSlot, float]) -> None:
        self.speeds, self.slots = speeds, list(speeds)
        self.scheduler = Scheduler(LIMITS)
        self.done: dict[str, list[int]] = {slot.label: [] for slot in self.slots}
        self.now = 0.0
        self.taken_back = self._order = 0
        self._ends: list[tuple[float, int, WorkerSlot, Task]] = []

    def run(self, state: PoolJobState) -> float:
        """To the last segment; when that is, in seconds."""
        for _ in range(10_000):
            self._turn()
            if not state.waiting and not state.tasks:
                return self.now
            # The supervisor looks at the clock at least once a second.
            self.now = min(self.now + 1.0, self._ends[0][0] if self._ends else self.now + 1.0)
            while self._ends and self._ends[0][0] <= self.now:
                _, _, slot, task = heapq.heappop(self._ends)
                if slot.task is task:
                    self._end(slot, task)
        raise AssertionError(f"{len(state.waiting)} segments are never done")

    def _turn(self) -> None:
        for slot in self.slots:
            if slot.task is None:
                choice = self.scheduler.choose(slot, self.slots, self.now)
                if isinstance(choice, Task):
                    slot.task, slot.state = choice, SlotState.BUSY
                    self._ends_in(slot, choice, choice.command.speech_s / self.speeds[slot])
        for slot in self.scheduler.given_back(self.slots, self.now):
            task = slot.task
            assert task is not None
            slot.too_slow(task, self.now - task.given_s)
            for entry in task.open.values():
                entry.avoid.add(slot.label)
            task.cancel_by_s = self.now
            self.taken_back += 1
            self._ends_in(slot, task, CANCEL_S)

    def _ends_in(self, slot: WorkerSlot, task: Task, seconds: float) -> None:
        self._order += 1
        heapq.heappush(self._ends, (self.now + seconds, self._order, slot, task))

    def _end(self, slot: WorkerSlot, task: Task) -> None:
        if task.cancel_by_s is None:
            slot.measure(task, self.now - task.given_s)
            self.done[slot.label] += task.open
        else:
            for entry in task.open.values():
                task.state.put(entry)
        task.state.tasks -= 1
        slot.task, slot.state = None, SlotState.IDLE


LENGTHS = [30.0, 12.0, 25.0, 40.0, 18.0, 33.0, 10.0, 28.0] * 16
SPEECH_S = sum(LENGTHS)


@pytest.mark.parametrize("speed", [4.0, 10.0, 30.0, 100.0])
@pytest.mark.parametrize("batch_size", [1, 8])
def test_two_devices_and_an_endpoint_are_as_fast_as_all_of_them(
    speed: float, batch_size: int
) -> None:
    run = Simulation({here(0): 10.0, here(1): 10.0, remote(): speed})
    state = shared_job(run.scheduler, LENGTHS, batch_size=batch_size)
    # The speeds are known: the first pieces, from which they are learned, are another test's.
    for slot, true in run.speeds.items():
        slot.rates[TINY if slot.endpoint is None else None] = 1 / true
    assert run.run(state) <= 1.05 * SPEECH_S / (20.0 + speed)
    assert sorted(chain(*run.done.values())) == list(range(len(LENGTHS)))


@pytest.mark.parametrize("speed", [0.01, 0.2, 1.0])
@pytest.mark.parametrize("known", [True, False])
def test_a_very_slow_endpoint_costs_next_to_nothing(speed: float, known: bool) -> None:
    run = Simulation({here(0): 10.0, here(1): 10.0, (slow := remote()): speed})
    if known:
        slow.rates[None] = 1 / speed
    assert run.run(shared_job(run.scheduler, LENGTHS)) <= 1.05 * SPEECH_S / 20.0
    assert sorted(chain(*run.done.values())) == list(range(len(LENGTHS)))
    assert run.taken_back <= 3


def test_an_endpoint_shows_what_it_can_with_one_small_piece() -> None:
    scheduler, endpoint, other = Scheduler(LIMITS), remote(parallel=4), here(0)
    state = shared_job(scheduler, [30.0, 20.0, 10.0, 40.0, 10.0, 30.0])
    first = scheduler.choose(endpoint, [endpoint, other], 0.0)
    assert isinstance(first, Task)
    assert list(first.open) == [2]
    endpoint.measure(first, 1.0)
    assert endpoint.rates == {None: 0.1}
    state.input_finished = False
    then = scheduler.choose(endpoint, [endpoint, other], 1.0)
    assert isinstance(then, Task)
    assert len(then.open) > 1


def test_mixed_cards_end_together_and_equal_ones_share_as_ever() -> None:
    big, small = here(0, "big"), here(1, "small")
    run = Simulation({big: 40.0, small: 2.0})
    big.rates[TINY], small.rates[TINY] = 1 / 40.0, 1 / 2.0
    assert run.run(shared_job(run.scheduler, LENGTHS, batch_size=8)) <= 1.05 * SPEECH_S / 42.0
    same = Simulation({here(0): 10.0, here(1): 10.0})
    # What was measured on one of two alike is chance, however far apart they are.
    same.slots[0].rates[TINY], same.slots[1].rates[TINY] = 0.01, 1.0
    same.run(shared_job(same.scheduler, [30.0] * 9, batch_size=1))
    assert same.taken_back == 0
    assert {len(done) for done in same.done.values()} == {4, 5}


def test_a_task_stays_with_a_device_that_is_overdue() -> None:
    """A machine's own devices are watched for hangs; only endpoints may be left waiting for."""
    scheduler, fast, slow = Scheduler(LIMITS), here(0, "big"), here(1, "small")
    fast.rates[TINY], slow.rates[TINY] = 0.01, 0.1
    shared_job(scheduler, [30.0])
    task = scheduler.choose(slow, [slow], 0.0)
    assert isinstance(task, Task)
    slow.task, slow.state = task, SlotState.BUSY
    assert scheduler.given_back([slow, fast], 0.1) == [slow]
    assert scheduler.given_back([slow, fast], 100.0) == []


def test_an_endpoint_nobody_heard_of_again_gives_its_task_back() -> None:
    scheduler, fast, silent = Scheduler(LIMITS), here(0), remote()
    fast.rates[TINY] = 0.1
    shared_job(scheduler, [30.0])
    task = scheduler.choose(silent, [silent, fast], 0.0)
    assert isinstance(task, Task)
    silent.task, silent.state = task, SlotState.BUSY
    assert scheduler.given_back([silent, fast], 3.0) == []
    assert scheduler.given_back([silent, fast], 6.0) == [silent]
    # Without anybody who could do it, it is waited for.
    next(iter(task.open.values())).avoid.add(fast.label)
    assert scheduler.given_back([silent, fast], 6.0) == []


def test_a_segment_that_the_faster_one_failed_with_is_not_left_to_it() -> None:
    scheduler, fast, slow = Scheduler(LIMITS), here(0), remote()
    fast.rates[TINY], slow.rates[None] = 0.01, 10.0
    state = shared_job(scheduler, [30.0])
    assert scheduler.choose(slow, [slow, fast], 0.0) is None
    state.waiting[0].avoid.add(fast.label)
    assert isinstance(scheduler.choose(slow, [slow, fast], 0.0), Task)


def test_a_new_kind_of_device_shows_what_it_can_with_one_piece() -> None:
    scheduler, old, new = Scheduler(LIMITS), here(0, "big"), here(1, "small")
    state = shared_job(scheduler, [30.0] * 40, batch_size=8)
    state.begun = True
    old.rates[TINY] = 0.1
    first = scheduler.choose(new, [new, old], 0.0)
    assert isinstance(first, Task)
    assert list(first.open) == [0]
    new.measure(first, 12.0)
    then = scheduler.choose(new, [new, old], 12.0)
    assert isinstance(then, Task)
    assert len(then.open) > 1
    # One more of a kind that was measured shows nothing new.
    third = here(2, "small")
    at_once = scheduler.choose(third, [old, new, third], 12.0)
    assert isinstance(at_once, Task)
    assert len(at_once.open) > 1


def test_a_slow_slot_leaves_what_the_fast_one_that_is_free_could_do_before_the_end_is_known() -> (
    None
):
    scheduler, fast, slow = Scheduler(LIMITS), here(0, "big"), here(1, "small")
    fast.rates[TINY], slow.rates[TINY] = 1 / 40, 1 / 4
    state = shared_job(scheduler, [30.0])
    state.input_finished = False
    assert scheduler.choose(slow, [slow, fast], 0.0) is None
    assert isinstance(scheduler.choose(fast, [slow, fast], 0.0), Task)


def test_pieces_that_many_share_are_left_to_nobody_else() -> None:
    """Slots of many machines, each measured a little differently: none waits for the best,
    which comes last."""
    slots = [
        WorkerSlot(
            Device(f"CPU {n}", "cpu", node=f"node {n}"),
            state=SlotState.IDLE, worker=A_WORKER, model=TINY, rates={TINY: 0.12 - 0.002 * n},
        )
        for n in range(8)
    ]  # fmt: skip
    scheduler = Scheduler(LIMITS)
    shared_job(scheduler, [20.0] * 8, batch_size=8)
    for slot in slots:
        task = scheduler.choose(slot, slots, 0.0)
        assert isinstance(task, Task)
        slot.task, slot.state = task, SlotState.BUSY


def test_when_others_are_done_with_all_that_is_left() -> None:
    fast, slow = Rival(here(0), 4.0, 0.1), Rival(here(1), 0.0, 0.3)
    assert together_s([fast], 100.0) == pytest.approx(14.0)
    assert together_s([slow], 10.0) == pytest.approx(3.0)
    # The slow one has done 13.3 s of speech when the fast one begins.
    both = [fast, slow]
    assert together_s(both, 93.33) == pytest.approx(4.0 + 80.0 / (10.0 + 1 / 0.3), 1e-3)
    assert soonest_s(both, 30.0) == pytest.approx(7.0)
