"""How patient the pool is, each number with its reason."""

from __future__ import annotations

from dataclasses import dataclass, replace

from core.languages import LANGUAGE_PATIENCE_S


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """Times in seconds. Defaults are for production; a caller may tighten them."""

    deaths_to_retire: int = 5
    """Deaths in a row, without one finished segment between, after which a slot is taken out:
    a device that kills every process would otherwise load the model for ever."""

    errors_to_retire: int = 3
    """The same for errors of the device itself: CTranslate2 names those, so fewer are proof."""

    retry_out_s: float = 300.0
    retry_out_max_s: float = 3600.0
    """A slot that was taken out is tried again after this time, then after twice as long, up to
    an hour: a driver that was reset is back in minutes, a broken card costs a load an hour."""

    endpoint_errors_to_retire: int = 2
    endpoint_retry_s: float = 15.0
    endpoint_retry_max_s: float = 600.0
    """The same three for remote endpoints: a server that restarts is back in seconds, and to ask it
    again costs a request."""

    endpoint_busy_s: float = 5.0
    """How long an endpoint that is busy is left alone where it does not say when to come back."""

    endpoints_wait: bool = False
    """Jobs for endpoints wait while none of theirs can be used, instead of being decoded here."""

    stable_s: float = 600.0
    """A worker that lived this long does not count as part of a row of deaths."""

    kills_to_fail: int = 2
    """Workers a segment may kill before it is divided, and a single window before it is left as a
    gap; one may have been bad luck (the system's out-of-memory killer, an operator), two are not.
    Only deaths that nothing else in the same task can have caused are counted."""

    outside_kills_to_fail: int = 4
    """The same for SIGKILL, which no fault in a segment's decoding raises: it comes from operators,
    and from the system where memory is short, whoever took it."""

    errors_to_fail: int = 2
    """Times a segment may raise before it is divided, and a window before it is a gap."""

    errors_in_all: int = 8
    """Times a segment may raise although its device was to blame: a segment that breaks the device
    looks like a broken device where there is one only."""

    memory_steps: int = 2
    """Times a segment may run out of memory before its windows go one by one; see
    ``core.memory_ladder``."""

    load_kills_to_fail: int = 3
    """Workers that may die while loading one model before the slot refuses that model: mostly
    memory ran out, and another program may have caused that."""

    detections_to_fail: int = 2
    """Times language detection may fail before the job fails."""

    backoff_first_s: float = 0.5
    backoff_max_s: float = 30.0
    """The first replacement of a worker starts at once, the second in a row after the first
    back-off, then it doubles."""

    hang_floor_s: float = 120.0
    hang_factor: float = 10.0
    hang_factor_gpu: float = 2.0
    """Before a slot has finished anything with a model, a task may be silent for floor + factor x
    the audio of one batch. A worker shows progress between two passes of the model, and the longest
    pass is one search over the batch: large-v3 on one slow CPU thread needs about eight times the
    audio for it, no GPU that can hold a model as long as the audio. The first task of a job is one
    segment, so the first, unmeasured, wait is 7 to 17 minutes on a CPU and at most 5 on a GPU."""

    hang_pace: float = 10.0
    hang_pace_floor_s: float = 30.0
    """Later: ten times what the batch takes at the speed measured on this slot, at least half a
    minute. The measure is of whole tasks and one silence is one pass of many, so ten is far above
    a window that loops to the end of its tokens (four times the usual)."""

    hang_slower: float = 4.0
    """After a hang the slot is believed to be this much slower than measured, until it finishes
    something: a machine that began to swap must not lose one segment after the other."""

    silence_s: float = 30.0
    """A process that sends no heartbeat for this long is stopped (SIGSTOP, a debugger) or stuck in
    the kernel; gunicorn gives its workers the same time."""

    silence_loading_s: float = 120.0
    """The same while a model is loaded: mapping gigabytes of CUDA libraries from a cold disk holds
    the interpreter's lock, and with it the heartbeat."""

    pause_s: float = 2.0
    """When the pool's own thread was away for longer (a suspended laptop, a stopped container),
    the time counts for no worker's silence."""

    start_deadline_s: float = 300.0
    """From start to ``WorkerReady``: an interpreter and imports, perhaps from a network disk."""

    load_deadline_s: float = 900.0
    """Model load and warm-up; loads of 53-83 s have been reported, and Hopper and Blackwell compile
    the kernels on first use."""

    unload_after_s: float = 0.0
    """A worker that no job has needed for this long gives its memory back; 0: it keeps it."""

    memory_retry_s: float = 3.0
    """Between two looks whether a model that has to wait fits into memory by now."""

    cancel_grace_s: float = 1.5
    """A worker that has not let go of a cancelled task by then is killed: the user is promised
    an answer within two seconds, and an encoder pass on a slow CPU can take longer."""

    heartbeat_s: float = 1.0
    """Between two heartbeats, and at least between two signs of progress."""

    language_patience_s: float = LANGUAGE_PATIENCE_S

    switch_model_s: float = 20.0
    """A worker busy with one model's jobs changes to another model's job when that has waited
    this long with no worker: less would spend the time on loading, twice for each change."""

    def of_endpoints(self) -> PoolLimits:
        """With what holds for a remote endpoint's slot."""
        return replace(
            self,
            errors_to_retire=self.endpoint_errors_to_retire,
            retry_out_s=self.endpoint_retry_s,
            retry_out_max_s=self.endpoint_retry_max_s,
        )
