"""The life of a slot as a table: in which state which event may come, and what follows.

docs/architecture.md shows the same table. Whether the slot's device can be trusted is the other
half, ``workers.breaker``: a slot that is out runs through the same states until its worker is gone.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from enum import StrEnum, auto

log = logging.getLogger(__name__)


class SlotState(StrEnum):
    DORMANT = auto()
    """A CPU slot in reserve that is not wanted now."""
    EMPTY = auto()
    """No worker; one is started as soon as the back-off is over."""
    STARTING = auto()
    IDLE = auto()
    LOADING = auto()
    BUSY = auto()
    LEAVING = auto()
    """The worker was asked or made to end, for a reason that does not count against the slot."""
    DISMISSED = auto()
    """The same in a CPU slot in reserve, which then sleeps."""
    HUNG = auto()
    """The worker is killed because its work hangs."""
    FAILING = auto()
    """The worker is killed because it did not start, load or keep its pipe open."""


class SlotEvent(StrEnum):
    CALLED_IN = auto()
    """No GPU is left: the reserve is wanted."""
    DISMISSED = auto()
    """A GPU works again."""
    STARTED = auto()
    READY = auto()
    LOAD_GIVEN = auto()
    LOAD_ENDED = auto()
    """With a model or without."""
    TASK_GIVEN = auto()
    TASK_ENDED = auto()
    LET_GO = auto()
    """The worker is to end, for no fault of the slot."""
    HANGS = auto()
    OVERDUE = auto()
    """Something else than work did not happen in time."""
    DIED = auto()
    """The worker is gone, for whatever reason, or could not be started."""


_S, _E = SlotState, SlotEvent

_LATE_MESSAGES = (_E.READY, _E.LOAD_ENDED, _E.TASK_ENDED)
"""What a worker sent before its end was decided still arrives, and changes nothing."""

TRANSITIONS: Mapping[SlotState, Mapping[SlotEvent, SlotState]] = {
    _S.DORMANT: {_E.CALLED_IN: _S.EMPTY},
    _S.EMPTY: {_E.STARTED: _S.STARTING, _E.DISMISSED: _S.DORMANT},
    _S.STARTING: {
        _E.READY: _S.IDLE,
        _E.DISMISSED: _S.DISMISSED,
        _E.LET_GO: _S.LEAVING,
        _E.OVERDUE: _S.FAILING,
        _E.DIED: _S.EMPTY,
    },
    _S.IDLE: {
        _E.LOAD_GIVEN: _S.LOADING,
        _E.TASK_GIVEN: _S.BUSY,
        _E.DISMISSED: _S.DISMISSED,
        _E.LET_GO: _S.LEAVING,
        _E.HANGS: _S.HUNG,
        _E.OVERDUE: _S.FAILING,
        _E.DIED: _S.EMPTY,
    },
    _S.LOADING: {
        _E.LOAD_ENDED: _S.IDLE,
        _E.DISMISSED: _S.DISMISSED,
        _E.LET_GO: _S.LEAVING,
        _E.HANGS: _S.HUNG,
        _E.OVERDUE: _S.FAILING,
        _E.DIED: _S.EMPTY,
    },
    _S.BUSY: {
        # A task whose model went missing between two commands loads it again.
        _E.LOAD_ENDED: _S.BUSY,
        _E.TASK_ENDED: _S.IDLE,
        _E.LET_GO: _S.LEAVING,
        _E.HANGS: _S.HUNG,
        _E.OVERDUE: _S.FAILING,
        _E.DIED: _S.EMPTY,
    },
    _S.LEAVING: {
        **dict.fromkeys(_LATE_MESSAGES, _S.LEAVING),
        _E.LET_GO: _S.LEAVING,
        _E.DIED: _S.EMPTY,
    },
    _S.DISMISSED: {
        _E.READY: _S.DISMISSED,
        _E.LOAD_ENDED: _S.DISMISSED,
        _E.LET_GO: _S.DISMISSED,
        _E.DIED: _S.DORMANT,
    },
    _S.HUNG: {
        _E.LOAD_ENDED: _S.HUNG,
        _E.TASK_ENDED: _S.HUNG,
        _E.LET_GO: _S.LEAVING,
        _E.DIED: _S.EMPTY,
    },
    _S.FAILING: {
        **dict.fromkeys(_LATE_MESSAGES, _S.FAILING),
        _E.LET_GO: _S.LEAVING,
        _E.DIED: _S.EMPTY,
    },
}


def after(state: SlotState, event: SlotEvent, label: str) -> SlotState:
    """The next state. An event that cannot come in this state is a fault of ours: it is logged,
    and the slot stays as it is until a deadline ends its worker."""
    found = TRANSITIONS[state].get(event)
    if found is None:
        log.error("[%s] impossible: %s while %s", label, event.value, state.value)
        return state
    return found
