"""One slot through the life of the pool: its present worker, and what earlier ones died of."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Literal

from core.errors import SubtitleError, WorkerCrashed
from core.types import ModelSpec
from workers.devices import Slot
from workers.limits import PoolLimits
from workers.tasks import Task
from workers.worker import STUCK_S, Worker

log = logging.getLogger(__name__)

PIPE_GRACE_S = 1.0
"""A dying process closes its pipe a moment before it is gone; longer than this it is not dying."""

State = Literal["starting", "loading", "idle", "busy", "dead", "retired"]


@dataclass(slots=True, eq=False)
class Seat:
    slot: Slot
    worker: Worker | None = None
    ready: bool = False
    models: tuple[ModelSpec, ...] = ()
    """Loaded and warmed up."""
    loading: ModelSpec | None = None
    loading_since_s: float = 0.0
    task: Task | None = None
    respawn_s: float = 0.0
    """Not before this time; the back-off after deaths."""
    deaths: int = 0
    """In a row, without one finished segment between."""
    retired: bool = False
    last_death: str = ""
    forgiven: bool = False
    """The worker is killed for a reason that says nothing against its slot."""
    recycle: bool = False
    """The process is to be replaced when its task is done."""
    stop_by_s: float | None = None
    """The pool closes."""
    refused: dict[ModelSpec, SubtitleError] = field(default_factory=dict)
    """Models that could not be loaded here."""
    load_kills: dict[ModelSpec, int] = field(default_factory=dict)

    @property
    def label(self) -> str:
        return self.slot.label

    @property
    def alive(self) -> bool:
        return self.worker is not None

    @property
    def idle(self) -> bool:
        return self.ready and self.loading is None and self.task is None

    @property
    def state(self) -> State:
        if self.retired:
            return "retired"
        if self.worker is None:
            return "dead"
        if not self.ready:
            return "starting"
        if self.task is not None:
            return "busy"
        return "loading" if self.loading is not None else "idle"

    def serves(self, model: ModelSpec) -> bool:
        """Has the model, or will have it in a moment."""
        return self.alive and (model in self.models or model == self.loading)

    def deadline(self, limits: PoolLimits) -> tuple[float, str] | None:
        """When the present worker is to be killed unless something happens, and why."""
        worker = self.worker
        if worker is None:
            return None
        if worker.killed_s is not None:
            return worker.killed_s + STUCK_S, "does not end"
        if self.stop_by_s is not None:
            return self.stop_by_s, "pool closed"
        if worker.closed_s is not None:
            return worker.closed_s + PIPE_GRACE_S, "closed its pipe"
        if not self.ready:
            return worker.spawned_s + limits.start_deadline_s, "did not start in time"
        if self.task is not None:
            if self.task.cancel_by_s is not None:
                return self.task.cancel_by_s, "did not stop a cancelled task"
            hang_s = self.task.silent_until_s(limits)
            return hang_s, f"no progress for {hang_s - self.task.heard_s:.0f} s"
        if self.loading is not None:
            return self.loading_since_s + limits.load_deadline_s, "did not load in time"
        return None

    def bury(self, reason: str, now: float, limits: PoolLimits) -> None:
        """The worker is gone: forget it, and decide when or whether there is another."""
        loading = self.loading
        if self.worker is not None and now - self.worker.spawned_s >= limits.stable_s:
            self.deaths = 0
        self.worker, self.ready, self.models, self.loading, self.task = None, False, (), None, None
        self.recycle = False
        self.last_death = reason
        self.respawn_s = now
        if self.forgiven:
            self.forgiven = False
            return
        if loading is not None:
            self._count_load_kill(loading, reason, limits)
            return
        self.deaths += 1
        if self.deaths >= limits.deaths_to_retire:
            self.retired = True
            log.error(
                "[%s] retired: %d workers in a row died before finishing a segment, the last of"
                " %s. The others go on without it.",
                self.label,
                self.deaths,
                reason,
            )
        elif self.deaths > 1:
            wait_s = min(limits.backoff_max_s, limits.backoff_first_s * 2 ** (self.deaths - 2))
            self.respawn_s = now + wait_s

    def _count_load_kill(self, model: ModelSpec, reason: str, limits: PoolLimits) -> None:
        kills = self.load_kills[model] = self.load_kills.get(model, 0) + 1
        if kills >= limits.load_kills_to_fail:
            self.refused[model] = WorkerCrashed(
                f"Loading model {model.name} on {self.label} killed {kills} workers ({reason}).",
                hint="SIGKILL mostly means that memory ran out: choose a smaller model.",
            )

    def forget_failures(self, model: ModelSpec) -> None:
        """A new request for a model is a new try."""
        self.refused.pop(model, None)
        self.load_kills.pop(model, None)
