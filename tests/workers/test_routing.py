"""Where a job may go, and what faults of endpoints mean; no processes, no clock."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from core.endpoints import LOCAL, REMOTE, SHARED, Endpoint
from core.errors import (
    DeviceUnavailable,
    EndpointBusy,
    EndpointFailed,
    EndpointRefused,
    SubtitleError,
)
from core.events import Incident, WorkersLoading
from core.pcm import PcmSpool
from core.pool_job import DecodeRequest, PoolEvent, PoolJob
from core.types import DecodeOptions, Task
from tests.workers.conftest import segment
from tests.workers.test_scheduler import A_WORKER, NOBODY, TINY
from workers.admission import LoadAdmission
from workers.devices import Device, endpoint_devices
from workers.endpoint_faults import EndpointFaults
from workers.feasibility import Feasibility
from workers.limits import PoolLimits
from workers.pending import PendingSegment, PoolJobState
from workers.pending import Task as GivenTask
from workers.pool_state import PoolState
from workers.result_handler import ResultHandler
from workers.retry_policy import RetryPolicy
from workers.routing import admits, refusal
from workers.scheduler import Scheduler
from workers.slot_state import SlotState
from workers.worker_slot import WorkerSlot

LIMITS = PoolLimits()
FAILED = EndpointFailed("HTTP 500.")


def server(name: str, **settings: object) -> Endpoint:
    address = f"http://{name}/v1/audio/transcriptions"
    given = {"id": name, "name": name, "api_url": address, "model_name": "m", "kind": "openai"}
    return Endpoint(**{**given, **settings})  # type: ignore[arg-type]


class Set:
    """A CPU and the endpoints, with one job; ``heard``: what its owner was told."""

    def __init__(
        self, *servers: Endpoint, where: str, task: Task = "transcribe", wait: bool = False
    ) -> None:
        devices = [Device("CPU 0", "cpu"), *endpoint_devices(servers)]
        self.slots = [WorkerSlot(d, state=SlotState.IDLE, worker=A_WORKER) for d in devices]
        self.cpu, self.endpoints = self.slots[0], self.slots[1:]
        self.cpu.model = TINY
        self.pool = PoolState(self.slots, replace(LIMITS, endpoints_wait=wait))
        self.heard: list[PoolEvent] = []
        options = DecodeOptions(language="en", task=task)
        request = DecodeRequest(model=TINY, options=options, where=where)
        job = PoolJob(request, PcmSpool(Path("x")), self.heard.append, NOBODY)
        self.state = PoolJobState(job, endpoints_wait=wait)
        self.pool.jobs.append(self.state)
        self.faults = EndpointFaults(self.pool)
        admission = LoadAdmission(self.pool, None, None, patient=False)
        self._feasibility = Feasibility(self.pool, admission, wait=False)

    def admitted(self) -> list[str]:
        found = [slot for slot in self.slots if admits(self.state, slot, self.slots)]
        return [slot.label.removeprefix("Endpoint ") for slot in found if slot.usable]

    def out(self, name: str, error: SubtitleError = FAILED) -> WorkerSlot:
        slot = next(slot for slot in self.endpoints if slot.label == f"Endpoint {name}")
        for _ in range(2):
            self.faults.charge(slot, error, 0.0)
        assert slot.breaker.out
        return slot

    def judge(self) -> list[str]:
        """The new lines of the job's history."""
        known = len(self.heard)
        self._feasibility.judge(self.state)
        return [e.kind if isinstance(e, Incident) else "loading" for e in self.heard[known:]]


A, B, C = server("a", is_default=True), server("b", priority=1), server("c")


def test_who_may_decode_where() -> None:
    assert Set(A, B, where=LOCAL).admitted() == ["CPU 0"]
    # Whatever somebody called a row of the table.
    assert Set(server("local"), where=LOCAL).admitted() == ["CPU 0"]
    assert Set(A, B, where=SHARED).admitted() == ["CPU 0", "a", "b"]
    assert Set(C, B, A, where=REMOTE).admitted() == ["a"]
    assert Set(A, B, where="b").admitted() == ["b"]
    assert Set(A, B, where="gone").admitted() == ["CPU 0"]
    assert Set(A, B, where="gone", wait=True).admitted() == []


def test_two_defaults_are_asked_in_the_same_order_however_they_come() -> None:
    first, second = server("x", is_default=True), server("y", is_default=True)
    assert Set(second, first, where=REMOTE).admitted() == ["x"]
    assert Set(first, second, where=REMOTE).admitted() == ["x"]


def test_what_cannot_translate_is_never_asked_to() -> None:
    funasr = server("f", kind="funasr", is_default=True)
    assert Set(funasr, B, where=REMOTE, task="translate").admitted() == ["b"]
    assert Set(funasr, where=SHARED, task="translate").admitted() == ["CPU 0"]
    alone = Set(funasr, where="f", task="translate", wait=True)
    alone.judge()
    assert "cannot translate" in str(alone.state.ending)


def test_the_next_is_asked_only_while_those_before_it_are_out() -> None:
    case = Set(A, B, C, where=REMOTE)
    a = case.out("a")
    assert case.admitted() == ["b"]
    # On trial it gets work, and who took its place goes on.
    a.breaker.let_in(15.0)
    assert case.admitted() == ["a", "b"]
    b = case.out("b")
    assert case.admitted() == ["a", "c"]
    a.breaker.succeeded()
    assert case.admitted() == ["a"]
    b.removed = True
    case.out("a")
    case.out("c")
    assert case.admitted() == ["CPU 0"]


def test_each_step_is_told_once() -> None:
    case = Set(A, B, where=REMOTE)
    assert case.judge() == []
    a = case.out("a")
    assert case.judge() == ["failover"]
    assert case.judge() == []
    b = case.out("b")
    assert case.judge() == ["failover"]
    b.breaker.let_in(15.0)
    assert case.judge() == []
    b.breaker.succeeded()
    a.breaker.succeeded()
    assert case.judge() == ["failover"]
    assert [e.text for e in case.heard if isinstance(e, Incident) and e.kind == "failover"] == [
        "The job goes on with Endpoint b. Endpoint a: it failed 2 times: HTTP 500.",
        "No endpoint is left; the job goes on on this machine. Endpoint a: it failed 2 times: HTTP"
        " 500; Endpoint b: it failed 2 times: HTTP 500.",
        "The job goes on with Endpoint a again.",
    ]
    assert case.pool.counters["failover"] == 3


def test_a_job_that_waits_says_for_what() -> None:
    case = Set(A, where=REMOTE, wait=True)
    a = case.out("a")
    assert case.judge() == ["endpoint_wait", "loading"]
    loading = case.heard[-1]
    assert isinstance(loading, WorkersLoading)
    assert loading.text == "Waiting for an endpoint: Endpoint a: it failed 2 times: HTTP 500."
    assert case.judge() == []
    a.breaker.succeeded()
    assert case.judge() == ["failover"]
    assert case.state.ending is None


def test_a_local_job_does_not_hope_for_endpoints_and_a_shared_one_does() -> None:
    for where, ends in [(LOCAL, True), (SHARED, False), (REMOTE, False)]:
        case = Set(A, where=where)
        case.cpu.breaker.condemn(DeviceUnavailable("gone"), 0.0, LIMITS)
        case.judge()
        assert (case.state.ending is not None) is ends, where


@pytest.mark.parametrize(("where", "ends"), [(SHARED, False), (REMOTE, True), ("a", True)])
def test_a_refusal_ends_the_job_it_was_meant_for_and_is_final(where: str, ends: bool) -> None:
    case = Set(A, B, where=where)
    a = case.out("a", EndpointRefused("wrong key"))
    assert a.breaker.out_until_s == math.inf
    assert not a.breaker.let_in(1e12)
    assert (refusal(case.state, case.slots) is not None) is ends
    case.judge()
    assert (case.state.ending is not None) is ends


def test_what_one_refused_is_not_sent_to_the_next() -> None:
    case = Set(A, B, where=SHARED)
    entry = PendingSegment(segment(0))
    error = EndpointRefused("HTTP 413")
    case.state.put(entry)
    scheduler = Scheduler(LIMITS, jobs=case.pool.jobs)
    task = scheduler.choose(case.endpoints[0], case.slots, 0.0)
    assert isinstance(task, GivenTask)
    assert case.faults.raised(case.endpoints[0], task, [(entry, error)], 0.0) == []
    case.state.begun = case.state.input_finished = True
    assert scheduler.choose(case.endpoints[1], case.slots, 0.0) is None
    assert scheduler.choose(case.cpu, case.slots, 0.0) is not None


def test_out_after_two_in_a_row_and_asked_again_in_15_seconds_to_10_minutes() -> None:
    case = Set(A, where=REMOTE)
    slot, now, waits = case.endpoints[0], 0.0, []
    case.faults.charge(slot, FAILED, now)
    assert not slot.breaker.out
    for _ in range(8):
        case.faults.charge(slot, FAILED, now)
        assert slot.breaker.out_until_s is not None
        waits.append(slot.breaker.out_until_s - now)
        now = slot.breaker.out_until_s
        assert slot.breaker.let_in(now)
    assert waits == [15.0, 30.0, 60.0, 120.0, 240.0, 480.0, 600.0, 600.0]
    assert [e.kind for e in case.heard if isinstance(e, Incident)] == ["device_out"]


def test_busy_is_no_failure_and_ends_without_a_trial() -> None:
    case = Set(A, where=REMOTE)
    slot = case.endpoints[0]
    case.faults.charge(slot, FAILED, 0.0)
    case.faults.charge(slot, EndpointBusy("HTTP 429.", retry_after_s=7.0), 0.0)
    assert slot.breaker.out_until_s == 7.0
    assert slot.breaker.let_in(7.0)
    assert not slot.breaker.trial
    assert slot.breaker.errors == 1
    case.faults.charge(slot, EndpointBusy("HTTP 429."), 10.0)
    assert slot.breaker.out_until_s == 10.0 + LIMITS.endpoint_busy_s
    assert slot.breaker.let_in(100.0)
    assert not slot.breaker.succeeded()
    # Once until it worked again, however often it says so.
    assert case.pool.counters["endpoint_busy"] == 1


def test_faults_of_endpoints_leave_a_segment_unsuspected() -> None:
    case = Set(A, B, where=SHARED)
    slot, entry = case.endpoints[0], PendingSegment(segment(0, 60.0, 3))
    policy = RetryPolicy(case.pool, case.faults)
    scheduler = Scheduler(LIMITS, jobs=case.pool.jobs)
    case.state.put(entry)
    task = scheduler.choose(slot, case.slots, 0.0)
    assert isinstance(task, GivenTask)
    for _ in range(20):
        assert case.faults.raised(slot, task, [(entry, FAILED)], 0.0) == []
        assert not policy.killed(slot, case.state, entry, "SIGSEGV")
    assert (entry.errors, entry.kills, entry.alone, entry.split) == (0, 0, False, None)
    assert {waiting.index for waiting in case.state.waiting} == {0}


def test_what_was_taken_back_by_force_is_not_held_against_the_segment() -> None:
    case = Set(A, where=SHARED)
    entry = PendingSegment(segment(0, 60.0, 3))
    case.state.put(entry)
    task = Scheduler(LIMITS, jobs=case.pool.jobs).choose(case.cpu, case.slots, 0.0)
    assert isinstance(task, GivenTask)
    task.cancel_by_s = 1.0
    results = ResultHandler(case.pool, RetryPolicy(case.pool, case.faults))
    for _ in range(LIMITS.kills_to_fail):
        results.worker_lost(case.cpu, task, "did not stop a cancelled task", 2.0)
        task.open[0] = case.state.waiting.pop()
    assert (entry.kills, entry.alone, case.heard) == (0, False, [])


def test_labels_tell_apart_what_has_one_name() -> None:
    twin = replace(server("b"), name="a")
    assert [d.label for d in endpoint_devices([A, twin, C])] == [
        "Endpoint a (a)",
        "Endpoint a (b)",
        "Endpoint c",
    ]


def test_one_whole_time_out_is_enough() -> None:
    case = Set(A, where=REMOTE)
    slot, entry = case.endpoints[0], PendingSegment(segment(0))
    case.state.put(entry)
    task = Scheduler(LIMITS, jobs=case.pool.jobs).choose(slot, case.slots, 0.0)
    assert isinstance(task, GivenTask)
    case.faults.raised(slot, task, [(entry, FAILED)], A.timeout_s - 1.0)
    assert not slot.breaker.out
    slot.breaker.succeeded()
    case.faults.raised(slot, task, [(entry, FAILED)], A.timeout_s)
    assert slot.breaker.out_until_s == A.timeout_s + 15.0
