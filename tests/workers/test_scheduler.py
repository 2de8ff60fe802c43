from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from core.pcm import PcmSpool
from core.pool_job import DecodeRequest, JobSink, PoolJob
from core.types import DecodeOptions, ModelSpec
from tests.workers.conftest import segment
from workers.backend import SlotBackend
from workers.devices import Device
from workers.limits import PoolLimits
from workers.pending import PendingSegment, PoolJobState, Task
from workers.scheduler import Scheduler
from workers.slot_state import SlotState
from workers.worker_slot import WorkerSlot

TINY = ModelSpec("tiny", "/tiny", "int8", "cpu")
BASE = ModelSpec("base", "/base", "int8", "cpu")
LIMITS = PoolLimits()
NOBODY = cast(JobSink, None)
A_WORKER = cast(SlotBackend, object())


def slot(label: str, model: ModelSpec | None = None) -> WorkerSlot:
    device = Device(label, "cpu")
    return WorkerSlot(device, state=SlotState.IDLE, worker=A_WORKER, model=model)


def job(
    scheduler: Scheduler,
    count: int,
    model: ModelSpec = TINY,
    *,
    finished: bool = True,
    windows: int = 1,
    duration_s: float = 10.0,
    **options: Any,
) -> PoolJobState:
    decode = DecodeOptions(**{"language": "en", **options})
    request = DecodeRequest(model=model, options=decode)
    state = PoolJobState(PoolJob(request, PcmSpool(Path("x")), lambda event: None, NOBODY))
    scheduler.enter(state)
    entries = [PendingSegment(segment(i, duration_s, windows)) for i in range(count)]
    scheduler.add(state, entries, now=0.0)
    state.input_finished = finished
    return state


def take(scheduler: Scheduler, worker: WorkerSlot, *others: WorkerSlot, now: float = 0.0) -> Task:
    task = scheduler.choose(worker, [worker, *others], now)
    assert isinstance(task, Task)
    return task


def drain(scheduler: Scheduler, slots: list[WorkerSlot]) -> list[list[int]]:
    """Indices of the tasks in the order they are given, workers taking turns."""
    given: list[list[int]] = []
    while True:
        for worker in slots:
            choice = scheduler.choose(worker, slots, 0.0)
            if not isinstance(choice, Task):
                return given
            given.append(list(choice.open))


def test_tasks_shrink_at_the_tail_so_that_all_workers_end_together() -> None:
    scheduler = Scheduler(LIMITS)
    job(scheduler, 21, batch_size=16)
    sizes = [len(task) for task in drain(scheduler, [slot(f"CPU {i}", TINY) for i in range(4)])]
    assert sizes[:5] == [1, 3, 3, 2, 2]
    assert sizes[-8:] == [1] * 8
    assert sum(sizes) == 21


def test_early_segments_go_first_and_the_longest_first_only_at_the_end() -> None:
    scheduler = Scheduler(LIMITS)
    state = job(scheduler, 0, finished=False, batch_size=1)
    lengths = [10.0, 60.0, 10.0, 20.0, 50.0]
    scheduler.add(
        state, [PendingSegment(segment(i, length)) for i, length in enumerate(lengths)], 0.0
    )
    state.input_finished = True
    assert drain(scheduler, [slot("CPU 0", TINY), slot("CPU 1", TINY)]) == [
        [0],
        [1],
        [4],
        [3],
        [2],
    ]


def test_batch_counts_windows_and_takes_an_oversized_segment_alone() -> None:
    scheduler = Scheduler(LIMITS)
    job(scheduler, 5, windows=3, batch_size=6)
    assert drain(scheduler, [slot("CPU 0", TINY)]) == [[0], [1, 2], [3, 4]]
    job(scheduler, 3, windows=3, batch_size=2)
    assert drain(scheduler, [slot("CPU 0", TINY)]) == [[0], [1], [2]]


def test_busy_workers_get_their_share_while_more_is_to_come() -> None:
    scheduler = Scheduler(LIMITS)
    state = job(scheduler, 9, finished=False, batch_size=8)
    idle, busy = slot("CPU 0", TINY), slot("CPU 1", TINY)
    busy.state, busy.task = SlotState.BUSY, take(scheduler, busy, idle)
    assert len(take(scheduler, idle, busy).open) == 4
    assert len(state.waiting) == 4


def test_a_lone_worker_takes_full_batches_to_the_end() -> None:
    scheduler = Scheduler(LIMITS)
    job(scheduler, 20, batch_size=8)
    given = drain(scheduler, [slot("CPU 0", TINY)])
    assert [len(task) for task in given] == [1, 8, 8, 3]


def turns(scheduler: Scheduler, worker: WorkerSlot, count: int) -> list[PoolJobState]:
    return [take(scheduler, worker).state for _ in range(count)]


def test_jobs_share_by_audio_and_not_by_tasks() -> None:
    scheduler, worker = Scheduler(LIMITS), slot("CPU 0", TINY)
    job(scheduler, 40, duration_s=60.0, batch_size=1)
    short = job(scheduler, 40, duration_s=10.0, batch_size=1)
    assert 11 <= turns(scheduler, worker, 14).count(short) <= 12


def test_new_job_starts_level_with_the_others() -> None:
    scheduler, worker = Scheduler(LIMITS), slot("CPU 0", TINY)
    job(scheduler, 40, batch_size=1)
    turns(scheduler, worker, 10)
    new = job(scheduler, 40, batch_size=1)
    assert turns(scheduler, worker, 6).count(new) == 3


def test_time_without_work_is_not_saved_up() -> None:
    scheduler, worker = Scheduler(LIMITS), slot("CPU 0", TINY)
    slow = job(scheduler, 0, finished=False, batch_size=1)
    job(scheduler, 40, batch_size=1)
    turns(scheduler, worker, 10)
    scheduler.add(slow, [PendingSegment(segment(i)) for i in range(10)], 0.0)
    assert turns(scheduler, worker, 6).count(slow) == 3


def test_segment_that_failed_waits_for_another_worker_but_not_for_ever() -> None:
    scheduler = Scheduler(LIMITS)
    first, second = slot("CPU 0", TINY), slot("CPU 1", TINY)
    state = job(scheduler, 1)
    state.waiting[0].avoid.add("CPU 0")
    assert scheduler.choose(first, [first, second], 0.0) is None
    second.worker = None
    assert list(take(scheduler, first, second).open) == [0]


def test_suspect_goes_alone_and_in_no_batch() -> None:
    scheduler = Scheduler(LIMITS)
    state = job(scheduler, 7, batch_size=8)
    state.waiting[2].alone = True
    assert drain(scheduler, [slot("CPU 0", TINY)]) == [[0], [1, 3, 4, 5, 6], [2]]


def test_language_waits_for_three_segments_the_end_or_its_patience() -> None:
    worker = slot("CPU 0", TINY)
    for count, finished, now, runs in [
        (2, False, 0.0, False),
        (3, False, 0.0, True),
        (1, True, 0.0, True),
        (1, False, LIMITS.language_patience_s, True),
    ]:
        scheduler = Scheduler(LIMITS)
        job(scheduler, count, finished=finished, language=None)
        assert isinstance(scheduler.choose(worker, [worker], now), Task) is runs
        assert scheduler.wakeup_s(0.0) == (None if runs else LIMITS.language_patience_s) or runs


def test_other_segments_wait_until_the_language_is_known() -> None:
    scheduler = Scheduler(LIMITS)
    first, second = slot("CPU 0", TINY), slot("CPU 1", TINY)
    state = job(scheduler, 8, language=None)
    task = take(scheduler, first, second)
    assert list(task.open) == [0]
    assert [window.start_s for window in task.command.language_windows] == [0.0, 60.0, 120.0]
    assert scheduler.choose(second, [first, second], 0.0) is None
    state.job.language = "en"
    assert not take(scheduler, second, first).command.language_windows


def test_idle_workers_load_the_model_before_the_first_segment_is_there() -> None:
    scheduler = Scheduler(LIMITS)
    job(scheduler, 0, finished=False)
    worker = slot("CPU 0")
    assert scheduler.choose(worker, [worker], 0.0) == TINY


def test_two_models_get_a_worker_each() -> None:
    scheduler = Scheduler(LIMITS)
    slots = [slot("CPU 0"), slot("CPU 1")]
    job(scheduler, 9, TINY)
    job(scheduler, 9, BASE)
    for worker in slots:
        choice = scheduler.choose(worker, slots, 0.0)
        assert isinstance(choice, ModelSpec)
        worker.loading = choice
    assert {worker.loading for worker in slots} == {TINY, BASE}


def test_busy_model_is_given_up_for_another_only_after_a_while() -> None:
    scheduler = Scheduler(LIMITS)
    worker = slot("CPU 0", TINY)
    job(scheduler, 50, TINY, batch_size=1)
    other = job(scheduler, 9, BASE)
    other.unserved_since_s = 0.0
    assert isinstance(scheduler.choose(worker, [worker], 1.0), Task)
    assert scheduler.choose(worker, [worker], LIMITS.switch_model_s) == BASE


def test_worker_without_work_helps_with_another_model() -> None:
    scheduler = Scheduler(LIMITS)
    idle, busy = slot("CPU 0", TINY), slot("CPU 1", BASE)
    job(scheduler, 9, BASE)
    assert scheduler.choose(idle, [idle, busy], 0.0) == BASE


def test_preload_is_for_empty_workers_and_for_all_only_while_somebody_waits() -> None:
    scheduler = Scheduler(LIMITS)
    scheduler.preload = TINY
    empty, used = slot("CPU 0"), slot("CPU 1", BASE)
    assert scheduler.choose(empty, [empty, used], 0.0) == TINY
    assert scheduler.choose(used, [empty, used], 0.0) is None
    scheduler.preload_pending = True
    assert scheduler.choose(used, [empty, used], 0.0) == TINY


def test_refused_model_is_not_asked_for_again() -> None:
    scheduler = Scheduler(LIMITS)
    worker = slot("CPU 0")
    worker.refused[TINY] = cast(Any, "damaged")
    job(scheduler, 3)
    scheduler.preload = TINY
    assert scheduler.choose(worker, [worker], 0.0) is None


def test_back_off_doubles_until_the_slot_is_taken_out() -> None:
    limits = PoolLimits(deaths_to_retire=5, backoff_first_s=0.5)
    worker = slot("CPU 0")
    waits, outs = [], []
    for _ in range(5):
        worker.state, worker.worker = SlotState.STARTING, None
        outs.append(worker.bury("SIGKILL", 100.0, limits))
        waits.append(worker.respawn_s - 100.0)
    assert waits[:4] == [0.0, 0.5, 1.0, 2.0]
    assert outs == [False, False, False, False, True]
    assert worker.shown == "retired"


def test_a_job_limited_to_one_worker_stays_on_it() -> None:
    scheduler = Scheduler(LIMITS)
    limited = job(scheduler, 6, batch_size=1)
    limited.job.request = replace(limited.job.request, max_workers=1)
    slots = [slot("CPU 0", TINY), slot("CPU 1", TINY)]
    assert list(take(scheduler, slots[1], slots[0]).open) == [0]
    assert scheduler.choose(slots[0], slots, 0.0) is None
    free = job(scheduler, 1)
    assert take(scheduler, slots[0], slots[1]).state is free
    assert take(scheduler, slots[1], slots[0]).state is limited


def test_only_as_many_workers_load_the_model_as_the_job_may_use() -> None:
    scheduler = Scheduler(LIMITS)
    limited = job(scheduler, 0, finished=False)
    limited.job.request = replace(limited.job.request, max_workers=1)
    slots = [slot("CPU 0"), slot("CPU 1")]
    assert scheduler.choose(slots[0], slots, 0.0) == TINY
    slots[0].loading = TINY
    assert scheduler.choose(slots[1], slots, 0.0) is None


def test_another_worker_takes_a_limited_job_over_when_its_own_is_given_up() -> None:
    scheduler = Scheduler(LIMITS)
    limited = job(scheduler, 2, batch_size=1)
    limited.job.request = replace(limited.job.request, max_workers=1)
    slots = [slot("CPU 0", TINY), slot("CPU 1", TINY)]
    take(scheduler, slots[0], slots[1])
    # Where it went wrong is avoided only if there is another that may take it.
    limited.waiting[0].avoid.add("CPU 0")
    assert scheduler.choose(slots[1], slots, 0.0) is None
    assert list(take(scheduler, slots[0], slots[1]).open) == [1]
    scheduler.add(limited, [PendingSegment(segment(2))], 0.0)
    slots[0].breaker.out_until_s, slots[0].worker = 300.0, None
    assert list(take(scheduler, slots[1], slots[0]).open) == [2]
