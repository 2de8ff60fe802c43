"""What is done when memory runs out: one ladder, from the estimate before a load to a gap.

Code that runs out of memory asks here for the next step and takes it: ``workers.admission`` before
a load, ``workers.worker_slot`` and ``workers.pool_state`` after one, ``decoding.segments`` in a
batch, ``workers.retry_policy`` with a segment. docs/reliability.md shows the same table.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum, auto

MAX_HALVINGS = 2
"""Times a batch is halved in one task; after that only a new process helps
(TranscriptionSuite#268)."""


class Event(StrEnum):
    NO_ROOM = auto()
    """The estimate says that a model does not fit now."""
    CANNOT_LOAD = auto()
    """It never fits by the estimate, or its load or first inference failed."""
    LOAD_KILLED = auto()
    """The worker died while it loaded the model."""
    BATCH_FAILED = auto()
    SEGMENT_FAILED = auto()
    """It came back from its worker without a result."""


class Situation(StrEnum):
    LOWER_TYPE_LEFT = auto()
    """The compute type was left open, and a smaller one has not been refused."""
    ROOM_MAY_COME = auto()
    """The job may wait, or workers of ours hold memory there."""
    FEW_DEATHS = auto()
    """Fewer than ``PoolLimits.load_kills_to_fail``."""
    DEVICE_UNSOUND = auto()
    """The device's context is not to be trusted after this error."""
    HALVES_LEFT = auto()
    """Several windows, and fewer than ``MAX_HALVINGS`` so far."""
    FIRST_TIME = auto()
    OTHER_DEVICE_LEFT = auto()
    """There is one, and at most ``PoolLimits.memory_steps`` times it ran out of memory."""
    SEVERAL_WINDOWS = auto()
    OTHERWISE = auto()


class Step(StrEnum):
    LOWER_TYPE = auto()
    WAIT = auto()
    LOAD_ANYWAY = auto()
    REFUSE_MODEL = auto()
    LOAD_AGAIN = auto()
    REFUSE_TYPE = auto()
    END_TASK = auto()
    HALVE_BATCH = auto()
    FAIL_SEGMENTS = auto()
    FRESH_PROCESS = auto()
    OTHER_DEVICE = auto()
    WINDOWS_ALONE = auto()
    GAP = auto()


_S = Situation

LADDER: Mapping[Event, Mapping[Situation, Step]] = {
    Event.NO_ROOM: {
        _S.LOWER_TYPE_LEFT: Step.LOWER_TYPE,
        _S.ROOM_MAY_COME: Step.WAIT,
        # Nobody of ours will ever free anything, and nobody watches who could.
        _S.OTHERWISE: Step.LOAD_ANYWAY,
    },
    Event.CANNOT_LOAD: {
        _S.LOWER_TYPE_LEFT: Step.LOWER_TYPE,
        _S.OTHERWISE: Step.REFUSE_MODEL,
    },
    Event.LOAD_KILLED: {
        _S.FEW_DEATHS: Step.LOAD_AGAIN,
        _S.OTHERWISE: Step.REFUSE_TYPE,
    },
    Event.BATCH_FAILED: {
        _S.DEVICE_UNSOUND: Step.END_TASK,
        _S.HALVES_LEFT: Step.HALVE_BATCH,
        _S.OTHERWISE: Step.FAIL_SEGMENTS,
    },
    Event.SEGMENT_FAILED: {
        _S.FIRST_TIME: Step.FRESH_PROCESS,
        _S.OTHER_DEVICE_LEFT: Step.OTHER_DEVICE,
        _S.SEVERAL_WINDOWS: Step.WINDOWS_ALONE,
        _S.OTHERWISE: Step.GAP,
    },
}
"""The first situation that holds decides."""


def next_step(event: Event, holds: Mapping[Situation, bool]) -> Step:
    """``holds``: for each situation of the event but the last, whether it is so. Raises KeyError
    where an answer is missing."""
    situations = LADDER[event].items()
    return next(step for each, step in situations if each is _S.OTHERWISE or holds[each])
