"""Which worker does what next. No processes, no clock of its own: tested alone.

Idle workers pull. Between jobs the one that has been given the least audio goes first, so a
short job is not behind a six-hour one. Within a job the recording's order wins over the longest
first, because people read the first cues while the rest is being done; only the last few
segments, two for each worker, go longest first, so that all workers end together.

A task is as many segments as fill an encoder batch, fewer when that would leave another worker
without work or the end is near, and one alone at the start of a job, so that the first cue is there
early, and on a kind of device whose speed is unknown.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from core.languages import LANGUAGE_SEGMENTS, voting_windows
from core.types import ModelSpec, Window
from gpu.choice import CPU_BATCH
from workers import speed
from workers.limits import PoolLimits
from workers.messages import Decode
from workers.pending import PendingSegment, PoolJobState, Task
from workers.routing import admits
from workers.worker_slot import WorkerSlot

MayLoad = Callable[[WorkerSlot, ModelSpec, float], bool]
"""Whether a model fits into memory for a worker now."""
TAIL = 2.0
"""Windows of its share from which on a worker takes the longest segment instead of the next."""

BatchOf = Callable[[WorkerSlot, PoolJobState], int]
"""Windows a worker decodes at a time for a job."""


def batch_as_asked(slot: WorkerSlot, state: PoolJobState) -> int:
    """What the job asks for, whatever the device has; of an endpoint, as many as it is sent at a
    time."""
    if slot.endpoint is not None:
        return slot.endpoint.parallel
    return state.job.request.options.batch_size or CPU_BATCH


@dataclass(slots=True, eq=False)
class Scheduler:
    limits: PoolLimits
    may_load: MayLoad = lambda slot, model, now: True
    batch_of: BatchOf = batch_as_asked
    jobs: list[PoolJobState] = field(default_factory=list)
    preload: ModelSpec | None = None
    """For workers that no job wants: one that has nothing loaded, or any while ..."""
    preload_pending: bool = False
    """... the preload is waited for. Later it must not push out what the last job used."""
    _task_ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def enter(self, state: PoolJobState) -> None:
        self.jobs.append(state)

    def add(self, state: PoolJobState, entries: Sequence[PendingSegment], now: float) -> None:
        if not state.waiting:
            # A new job starts level with the others, and time without work is not saved up to
            # be taken from them later.
            state.served_s = max(state.served_s, self._least_served())
        for entry in entries:
            state.put(entry)
        if state.first_added_s is None and entries:
            state.first_added_s = now

    def choose(
        self, slot: WorkerSlot, slots: Sequence[WorkerSlot], now: float
    ) -> Task | ModelSpec | None:
        """A task for an idle worker, a model it should load, or nothing."""
        active = [
            s
            for s in self.jobs
            if s.ending is None and not slot.refuses(s.model) and _may_serve(s, slot, slots)
        ]
        active.sort(key=lambda s: s.served_s)
        choices = {id(s): self._choices(s, slot, slots, now) for s in active}
        runnable = [s for s in active if choices[id(s)]]
        mine = [s for s in runnable if slot.has(s.model)]
        model = self._other_model(slot, slots, active, runnable, bool(mine), now)
        if model is not None:
            return model
        if mine:
            mine[0].labels.add(slot.label)
            return self._task(mine[0], choices[id(mine[0])], slot, slots, now)
        return self._model_ahead(slot, slots, active, now)

    def needs(self, slot: WorkerSlot, slots: Sequence[WorkerSlot]) -> bool:
        """Whether a job, or a preload that is waited for, counts on what a worker has."""
        wanted = [s.model for s in self.jobs if s.ending is None and _may_serve(s, slot, slots)]
        if self.preload is not None and self.preload_pending:
            wanted.append(self.preload)
        return any(slot.has(model) for model in wanted)

    def wakeup_s(self, now: float) -> float | None:
        """When next a job becomes runnable by time alone."""
        times = [
            s.first_added_s + self.limits.language_patience_s
            for s in self.jobs
            if s.first_added_s is not None and not s.begun and s.job.language is None
        ]
        return min((time for time in times if time > now), default=None)

    def _least_served(self) -> float:
        return min((s.served_s for s in self.jobs if s.waiting or s.tasks), default=0.0)

    def _other_model(
        self,
        slot: WorkerSlot,
        slots: Sequence[WorkerSlot],
        active: list[PoolJobState],
        runnable: list[PoolJobState],
        has_own_work: bool,
        now: float,
    ) -> ModelSpec | None:
        """A model worth unloading the present one for: another job's work that no worker serves,
        or, for a worker whose own models no job wants any more, any other work."""
        foreign = [s for s in runnable if not slot.has(s.model)]
        wanted: list[PoolJobState] = []
        for state in foreign:
            since = state.unserved_since_s
            patient = since is None or now - since < self.limits.switch_model_s
            unserved = not any(
                other.serves(state.model) and admits(state, other, slots) for other in slots
            )
            if unserved and not (has_own_work and patient):
                wanted.append(state)
        if not any(slot.has(s.model) for s in active):
            wanted += foreign
        models = (state.model for state in wanted)
        return next((m for m in models if self.may_load(slot, m, now)), None)

    def _model_ahead(
        self, slot: WorkerSlot, slots: Sequence[WorkerSlot], active: list[PoolJobState], now: float
    ) -> ModelSpec | None:
        """Load before the first segment is there: for jobs that just began, and on request."""
        if any(slot.has(s.model) for s in active):
            return None
        models = [s.model for s in active]
        # A model that no job uses yet must not take the memory that a job waits for.
        room = not any(s.waits_for_memory for s in self.jobs)
        empty = slot.model is None
        if self.preload is not None and (self.preload_pending or (empty and room)):
            models.append(self.preload)
        models = [m for m in models if not slot.has(m) and not slot.refuses(m)]
        models.sort(key=lambda model: sum(other.serves(model) for other in slots))
        return next((m for m in models if self.may_load(slot, m, now)), None)

    def _choices(
        self, state: PoolJobState, slot: WorkerSlot, slots: Sequence[WorkerSlot], now: float
    ) -> list[PendingSegment]:
        """Segments of a job this worker may take now, in the recording's order."""
        if not state.waiting:
            return []
        if state.job.language is None and (state.detecting or not self._may_detect(state, now)):
            return []
        elsewhere = others(state, slot, slots)
        better = {other.label for other in elsewhere if other.alive and other.has(state.model)}
        promised = {other.label for other in elsewhere}
        free = [
            entry
            for entry in state.waiting
            if (slot.label not in entry.avoid or not better - entry.avoid)
            and (entry.bound is None or entry.bound == slot.label or entry.bound not in promised)
        ]
        return self._worth(state, free, slot, slots, now)

    def _worth(
        self,
        state: PoolJobState,
        entries: list[PendingSegment],
        slot: WorkerSlot,
        slots: Sequence[WorkerSlot],
        now: float,
    ) -> list[PendingSegment]:
        """Without those that the other slots are done with before this one would be."""
        if not entries:
            return entries
        crew = self._crew(state, slots, now)
        rate, rivals = crew.rates.of(slot), crew.rivals_of(slot)
        if rate is None or not rivals:
            return entries
        shares = speed.Shares(slot, rate, rivals, self._left_s(state))
        return [e for e in entries if shares.worth(e.speech_s, e.avoid)]

    def given_back(self, slots: Sequence[WorkerSlot], now: float) -> list[WorkerSlot]:
        """Slots whose task is to be taken back, because others are much sooner done with it."""
        found: list[WorkerSlot] = []
        crews: dict[int, speed.Crew] = {}
        for slot in slots:
            task = slot.task
            if task is None or task.cancel_by_s is not None or task.command.language_windows:
                continue
            state = task.state
            if state.ending is not None or not state.input_finished:
                continue
            crew = crews.get(id(state))
            if crew is None:
                crew = crews[id(state)] = self._crew(state, slots, now)
            rivals = crew.rivals_of(slot)
            if not rivals:
                continue
            own_s = sum(entry.speech_s for entry in task.open.values())
            work_s = self._left_s(state, own_s)
            if speed.should_give_back(slot, task, crew.rates.of(slot), rivals, work_s, now):
                found.append(slot)
        return found

    def _crew(self, state: PoolJobState, slots: Sequence[WorkerSlot], now: float) -> speed.Crew:
        serving = [s for s in slots if s.has(state.model) and _may_serve(state, s, slots)]
        return speed.Crew(state.model, slots, serving, now)

    def _left_s(self, state: PoolJobState, more_s: float = 0.0) -> float:
        """Speech that is done before the job is, seconds: jobs take turns, and while this one's is
        done, as much of each other one's."""
        waiting_s = sum(entry.speech_s for entry in state.waiting)
        sharing = sum(bool(s.waiting) for s in self.jobs if s is not state and s.ending is None)
        return (waiting_s + more_s) * (1 + sharing)

    def _may_detect(self, state: PoolJobState, now: float) -> bool:
        if state.input_finished or len(state.waiting) >= LANGUAGE_SEGMENTS:
            return True
        added = state.first_added_s
        return added is not None and now >= added + self.limits.language_patience_s

    def _task(
        self,
        state: PoolJobState,
        choices: list[PendingSegment],
        slot: WorkerSlot,
        slots: Sequence[WorkerSlot],
        now: float,
    ) -> Task:
        job, batch_size = state.job, self.batch_of(slot, state)
        language_windows: tuple[Window, ...] = ()
        if job.language is None:
            chosen = choices[:1]
            language_windows = voting_windows([entry.segment for entry in state.waiting])
            state.detecting = True
        elif speed.on_trial(slot):
            chosen = [_first_piece(state, choices, slot)]
        elif not state.begun or choices[0].alone:
            chosen = choices[:1]
        else:
            sharers = [s for s in slots if _may_serve(state, s, slots)]
            rates = speed.Rates(state.model, sharers)
            if rates.differ and rates.of(slot) is None:
                # It shows with one how fast it is.
                chosen = choices[:1]
            else:
                chosen = _batch(state, choices, slot, sharers, rates, batch_size)
        state.begun = True
        state.tasks += 1
        for entry in chosen:
            entry.attempts += 1
            entry.bound = None
            state.waiting.remove(entry)
            state.served_s += entry.segment.duration_s
        options = replace(job.request.options, language=job.language, batch_size=batch_size)
        command = Decode(
            next(self._task_ids),
            replace(job.request, model=slot.local(state.model), options=options),
            job.spool,
            tuple(entry.segment for entry in chosen),
            language_windows,
        )
        return Task(command, state, {entry.index: entry for entry in chosen}, now, now)


def others(state: PoolJobState, slot: WorkerSlot, slots: Sequence[WorkerSlot]) -> list[WorkerSlot]:
    """The other slots that may take the job's segments, now or when they have its model."""
    return [
        other
        for other in slots
        if other is not slot and other.may_serve(state.model) and _may_serve(state, other, slots)
    ]


def _may_serve(state: PoolJobState, slot: WorkerSlot, slots: Sequence[WorkerSlot]) -> bool:
    """Whether the job may be decoded there, and its limit of workers leaves room for this one.

    Those that have worked on it come first; before any has, those that have its model.
    """
    if not admits(state, slot, slots):
        return False
    limit = state.job.request.max_workers
    if limit is None or slot.label in state.labels:
        return True
    ahead = [
        other
        for other in slots
        if other is not slot
        and other.may_serve(state.model)
        and admits(state, other, slots)
        and (
            other.label in state.labels or (not slot.has(state.model) and other.serves(state.model))
        )
    ]
    return len(ahead) < limit


def _first_piece(
    state: PoolJobState, choices: list[PendingSegment], slot: WorkerSlot
) -> PendingSegment:
    """For an endpoint that has to show what it can: nothing that it failed with before, and where
    others could do it meanwhile, little."""
    fresh = [entry for entry in choices if slot.label not in entry.avoid] or choices
    return fresh[0] if state.sent else min(fresh, key=lambda entry: entry.speech_s)


def _batch(
    state: PoolJobState,
    choices: list[PendingSegment],
    slot: WorkerSlot,
    slots: Sequence[WorkerSlot],
    rates: speed.Rates,
    batch_size: int,
) -> list[PendingSegment]:
    """Segments for one encoder batch, leaving their share to the other workers, by their speed
    where it is known.

    A worker takes half of its own share at a time, so that a wrong guess of its speed can be made
    good; and in the end the longest segment that is worth it.
    """
    ready = [entry for entry in choices if not entry.alone]
    sharers = [s for s in slots if s.serves(state.model)]
    share = sum(entry.windows for entry in ready) * rates.part_of(slot, sharers)
    limit = batch_size
    if len(sharers) > 1:
        if state.input_finished and share <= TAIL:
            return [max(ready, key=lambda entry: entry.speech_s)]
        limit = min(limit, math.ceil(share / 2 if state.input_finished else share))
    chosen: list[PendingSegment] = []
    windows = 0
    for entry in ready:
        if chosen and windows + entry.windows > limit:
            break
        chosen.append(entry)
        windows += entry.windows
    return chosen
