"""One slot through the life of the pool: its current worker, and what earlier ones died of."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from core.endpoints import Endpoint
from core.errors import ComputeTypeUnsupported, OutOfMemory, SubtitleError, WorkerCrashed
from core.memory_ladder import Event, Situation, Step, next_step
from core.models import AUTO
from core.types import WINDOW_S, ModelSpec
from gpu.support import preferred
from workers.backend import SlotBackend
from workers.breaker import Breaker
from workers.devices import Device
from workers.limits import PoolLimits
from workers.messages import CancelTask, Command, LoadModel, Stop
from workers.pending import Task
from workers.slot_state import SlotEvent, SlotState, after

STUCK_S = 5.0
"""A killed worker that has not ended by then is stuck, for example in a driver's uninterruptible
wait; nothing more can be done about it, and its slot goes on without it."""

PIPE_GRACE_S = 1.0
"""A dying process closes its pipe a moment before it is gone; longer than this it is not dying."""

REMOTE_TYPE = "remote"
"""Compute type of a model that a remote endpoint has."""

MIN_SPEECH_S = 0.1
"""A task without speech is no measure of speed."""

Shown = Literal["starting", "loading", "idle", "busy", "dead", "retired"]
"""A slot's state in words for health checks and people."""

SHOWN: dict[SlotState, Shown] = {
    SlotState.DORMANT: "dead",
    SlotState.EMPTY: "dead",
    SlotState.IDLE: "idle",
    SlotState.LOADING: "loading",
    SlotState.BUSY: "busy",
}
AT_WORK = (SlotState.IDLE, SlotState.LOADING, SlotState.BUSY)
ASLEEP = (SlotState.DORMANT, SlotState.DISMISSED)
EXCUSED = (SlotState.LEAVING, SlotState.DISMISSED)
"""A worker that ends in one of these does not count against its slot."""
ENDING = (*EXCUSED, SlotState.HUNG, SlotState.FAILING)


class Deadline(NamedTuple):
    """When a worker is to be killed unless something happens."""

    at_s: float
    reason: str
    event: SlotEvent = SlotEvent.OVERDUE


@dataclass(slots=True, eq=False)
class WorkerSlot:
    device: Device
    threads: int = 1
    """CPU threads of a model that was meant for a GPU."""
    reserve: bool = False
    """A CPU slot that works only while no GPU can."""
    state: SlotState = SlotState.EMPTY
    """Changes by ``on`` alone."""
    starts: int = 0
    """Workers that were started here."""
    loads: int = 0
    """Models that were loaded here."""
    worker: SlotBackend | None = None
    model: ModelSpec | None = None
    """Loaded and warmed up, in one of its ``variants``."""
    loading: ModelSpec | None = None
    loading_since_s: float = 0.0
    task: Task | None = None
    idle_since_s: float | None = None
    """Since when no job has needed the model it has."""
    unloaded: bool = False
    """Its model was given back, and it has not tried to load one since."""
    respawn_s: float = 0.0
    """Not before this time; the back-off after deaths."""
    breaker: Breaker = field(default_factory=Breaker)
    stop_by_s: float | None = None
    """The worker was asked to leave, and is killed then."""
    refused: dict[ModelSpec, SubtitleError] = field(default_factory=dict)
    """Models that could not be loaded here."""
    chosen: dict[ModelSpec, ModelSpec] = field(default_factory=dict)
    """As what a model is loaded whose compute type was left open, where memory decided."""
    batches: dict[ModelSpec, int] = field(default_factory=dict)
    """Windows at a time after memory ran out; no batch here is larger again."""
    load_kills: dict[ModelSpec, int] = field(default_factory=dict)
    pace: dict[ModelSpec, float] = field(default_factory=dict)
    """Seconds of work for a second of window, measured; pessimistic, to know what hangs."""
    rates: dict[ModelSpec | None, float] = field(default_factory=dict)
    """Seconds of work for a second of speech, measured; to share work out (``workers.speed``)."""
    finished: int = 0
    """Segments that were finished here."""
    removed: bool = False
    """Its endpoint was switched off or changed, or its machine has left the cluster; the slot
    goes when its worker has ended."""

    @property
    def label(self) -> str:
        return self.device.label

    @property
    def endpoint(self) -> Endpoint | None:
        """The remote server behind it; None: a device of this machine."""
        return self.device.endpoint

    @property
    def alive(self) -> bool:
        return self.worker is not None

    @property
    def usable(self) -> bool:
        """It has a worker or will have one in a moment."""
        return not self.breaker.out and not self.removed and self.state not in ASLEEP

    @property
    def idle(self) -> bool:
        return self.state is SlotState.IDLE

    @property
    def hung(self) -> bool:
        return self.state is SlotState.HUNG

    @property
    def shown(self) -> Shown:
        """An ending worker is shown at its work, or as the next one that is to start."""
        if self.breaker.out:
            return "retired"
        if self.state in ENDING and self.task is not None:
            return "busy"
        if self.state in ENDING and self.loading is not None:
            return "loading"
        return SHOWN.get(self.state, "starting")

    @property
    def reason(self) -> str:
        """What is wrong with it; empty when nothing is known."""
        if self.breaker.reason:
            return self.breaker.reason
        return next((error.explain() for error in reversed(self.refused.values())), "")

    def variants(self, model: ModelSpec) -> tuple[ModelSpec, ...]:
        """The model as this slot may run it, best first: in every compute type the card is good at
        where that was left open, and a GPU's model on the CPU in int8, its fastest type."""
        if self.endpoint is not None:
            threads = self.threads if model.device == "cuda" else model.threads
            return (replace(model, device="cpu", compute_type=REMOTE_TYPE, threads=threads),)
        if self.device.kind == "cpu" and model.device == "cuda":
            local = replace(model, device="cpu", compute_type="int8", threads=self.threads)
            return (local,)
        if self.device.kind == "cuda" and model.device == "cpu":
            # A GPU of the cluster beside the CPUs of this machine, whose usual type says nothing.
            left_open = AUTO if model.compute_type == "int8" else model.compute_type
            model = replace(model, device="cuda", compute_type=left_open)
        if model.compute_type != AUTO:
            return (model,)
        types = preferred(self.device.capability) if self.device.kind == "cuda" else ("int8",)
        return tuple(replace(model, compute_type=name) for name in types)

    def local(self, model: ModelSpec) -> ModelSpec:
        """The model as this slot runs it: what is loaded, else what was chosen, else the best."""
        variants = self.variants(model)
        for variant in variants:
            if variant in (self.model, self.loading):
                return variant
        chosen = self.chosen.get(model)
        if chosen is not None and chosen not in self.refused:
            return chosen
        return next(iter(self.left(model)), variants[0])

    def refuse(self, model: ModelSpec, error: SubtitleError) -> None:
        """Remember what cannot be loaded. Where it is not memory or the compute type, no other
        compute type will help."""
        self.refused[model] = error
        if not isinstance(error, OutOfMemory | ComputeTypeUnsupported):
            for variant in self.variants(replace(model, compute_type=AUTO)):
                self.refused.setdefault(variant, error)

    def has(self, model: ModelSpec) -> bool:
        if self.endpoint is not None:
            # Nothing has to be loaded here before its first task.
            return self.alive
        return self.local(model) == self.model

    def serves(self, model: ModelSpec) -> bool:
        """Has the model, or will have it in a moment."""
        return self.alive and (self.has(model) or self.local(model) == self.loading)

    def left(self, model: ModelSpec) -> list[ModelSpec]:
        """The variants that have not been refused, best first."""
        return [variant for variant in self.variants(model) if variant not in self.refused]

    def refuses(self, model: ModelSpec) -> bool:
        return not self.left(model)

    def may_serve(self, model: ModelSpec) -> bool:
        """Has the model or may load it some time."""
        return self.usable and not self.refuses(model)

    def on(self, event: SlotEvent) -> None:
        self.state = after(self.state, event, self.label)

    def load(self, model: ModelSpec, now: float) -> None:
        """Tell the idle worker to load a model, in one of its ``variants``."""
        self.on(SlotEvent.LOAD_GIVEN)
        self.loading, self.loading_since_s = model, now
        self._send(LoadModel(model))

    def load_ended(self, model: ModelSpec | None) -> None:
        """``model``: what is in memory now; None: it failed."""
        self.on(SlotEvent.LOAD_ENDED)
        self.loading, self.model, self.unloaded = None, model, False

    def give(self, task: Task) -> None:
        self.on(SlotEvent.TASK_GIVEN)
        self.task = task
        self._send(task.command)

    def end_task(self) -> None:
        self.on(SlotEvent.TASK_ENDED)
        self.task = None

    def recall(self, task: Task, by_s: float) -> None:
        """Ask for a task back; the worker is killed when it still has it then."""
        task.cancel_by_s = by_s
        self._send(CancelTask(task.command.task_id))

    def leave(self, event: SlotEvent, by_s: float) -> None:
        """Ask the worker to end by itself."""
        self.on(event)
        self.stop_by_s = by_s
        self._send(Stop())

    def replace(self, reason: str) -> None:
        """End the worker for a reason that does not count against the slot."""
        if self.worker is not None and self.worker.killed_s is None:
            self.on(SlotEvent.LET_GO)
            self.worker.kill(reason)

    def _send(self, command: Command) -> None:
        if self.worker is not None:
            self.worker.send(command)

    def deadline(self, limits: PoolLimits) -> Deadline | None:
        worker = self.worker
        if worker is None:
            return None
        # A task that has to be cancelled by force does not count against its slot.
        cancelled = self.task is not None and self.task.cancel_by_s is not None
        event = SlotEvent.LET_GO if cancelled else SlotEvent.OVERDUE
        if worker.killed_s is not None:
            return Deadline(worker.killed_s + STUCK_S, "does not end")
        if self.stop_by_s is not None:
            return Deadline(self.stop_by_s, "no longer needed")
        if worker.closed_s is not None:
            return Deadline(worker.closed_s + PIPE_GRACE_S, "closed its pipe", event)
        if self.state is SlotState.STARTING:
            return Deadline(worker.spawned_s + limits.start_deadline_s, "did not start in time")
        if self.task is not None and self.task.cancel_by_s is not None:
            return Deadline(self.task.cancel_by_s, "did not stop a cancelled task", event)
        silence_s = limits.silence_s if self.loading is None else limits.silence_loading_s
        found = Deadline(
            worker.heard_s + silence_s, f"no sign of life for {silence_s:.0f} s", SlotEvent.HANGS
        )
        if self.task is not None:
            hang_s = self.hang_s(self.task, limits)
            reason = f"no progress for {hang_s:.0f} s"
            found = min(found, Deadline(self.task.heard_s + hang_s, reason, SlotEvent.HANGS))
        elif self.loading is not None:
            by_s = self.loading_since_s + limits.load_deadline_s
            found = min(found, Deadline(by_s, "did not load in time"))
        return found

    def hang_s(self, task: Task, limits: PoolLimits) -> float:
        """When silence in a task becomes a hang, from the audio of one batch."""
        batch_s = WINDOW_S * task.batch
        if self.endpoint is not None:
            # Its engine gives up by itself; this is for one that does not.
            clip_s = min(batch_s, self.endpoint.max_clip_s)
            patience_s = self.endpoint.timeout_s + self.endpoint.timeout_per_audio_s * clip_s
            return limits.hang_pace_floor_s + patience_s
        pace = self.pace.get(task.model)
        if pace is not None:
            return limits.hang_pace_floor_s + limits.hang_pace * pace * batch_s
        gpu = self.device.kind == "cuda"
        return (
            limits.hang_floor_s + (limits.hang_factor_gpu if gpu else limits.hang_factor) * batch_s
        )

    def measure(self, task: Task, elapsed_s: float) -> None:
        """Learn from a finished task; a slower one counts at once, faster ones gradually."""
        pace = elapsed_s / (WINDOW_S * task.command.windows)
        self.pace[task.model] = max(pace, (self.pace.get(task.model, pace) + pace) / 2)
        rate = elapsed_s / max(MIN_SPEECH_S, task.speech_s)
        self.rates[self._rate_key(task.model)] = ((self.rate(task.model) or rate) + rate) / 2

    def too_slow(self, task: Task, elapsed_s: float) -> None:
        """Learn from a task that was taken back: it would have taken longer still."""
        rate = elapsed_s / max(MIN_SPEECH_S, task.speech_s)
        self.rates[self._rate_key(task.model)] = max(rate, self.rate(task.model) or rate)

    def rate(self, model: ModelSpec) -> float | None:
        """Seconds of work for a second of speech; None: not measured."""
        return self.rates.get(self._rate_key(model))

    def _rate_key(self, model: ModelSpec) -> ModelSpec | None:
        """What an endpoint decodes with does not depend on what a job's model is called here."""
        return model if self.endpoint is None else None

    def bury(self, reason: str, now: float, limits: PoolLimits, *, excused: bool = False) -> bool:
        """The worker is gone: forget it, and decide when there is another. ``excused``: its death
        does not count against the slot. True: the slot is taken out by this."""
        loading, task = self.loading, self.task
        excused = excused or self.state in EXCUSED
        if self.worker is not None and now - self.worker.spawned_s >= limits.stable_s:
            self.breaker.deaths = 0
        if self.hung and task is not None and task.model in self.pace:
            self.pace[task.model] *= limits.hang_slower
        self.worker = self.model = self.loading = self.task = None
        self.stop_by_s, self.respawn_s = None, now
        self.on(SlotEvent.DIED)
        if excused or self.breaker.out:
            return False
        self.unloaded = False
        if loading is not None and not self.breaker.trial:
            self._count_load_kill(loading, reason, limits)
            return False
        if self.breaker.died(reason, now, limits):
            return True
        if self.breaker.deaths > 1:
            doublings = self.breaker.deaths - 2
            wait_s = min(limits.backoff_max_s, limits.backoff_first_s * 2**doublings)
            self.respawn_s = now + wait_s
        return False

    def _count_load_kill(self, model: ModelSpec, reason: str, limits: PoolLimits) -> None:
        kills = self.load_kills[model] = self.load_kills.get(model, 0) + 1
        few = {Situation.FEW_DEATHS: kills < limits.load_kills_to_fail}
        if next_step(Event.LOAD_KILLED, few) is Step.REFUSE_TYPE:
            error = WorkerCrashed(
                f"Loading model {model.name} on {self.label} killed {kills} workers ({reason}).",
                hint="SIGKILL mostly means that memory ran out: choose a smaller model.",
            )
            self.refuse(model, error)

    def forget_failures(self, model: ModelSpec) -> None:
        """A new request for a model is a new try."""
        self.chosen.pop(model, None)
        for variant in self.variants(model):
            self.refused.pop(variant, None)
            self.load_kills.pop(variant, None)
