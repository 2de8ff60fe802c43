"""Tells the webhooks of ended jobs, until they answer or about a day has passed.

    X-Whisper-Event      job.ended
    X-Whisper-Delivery   an id, the same however often the call is repeated
    X-Whisper-Timestamp  seconds since 1970
    X-Whisper-Signature  sha256=HMAC-SHA256 of timestamp, full stop and body

What is due stands in the database (``jobs.webhook_store``): a restart loses nothing, and of several
services one makes the call. Jobs never wait for it.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import threading
import time
from collections.abc import Callable
from functools import partial
from urllib.parse import urlsplit

from core.errors import CapacityError, SubtitleError
from core.settings import Settings
from jobs.records import HistoryEntry
from jobs.store import JobStore
from jobs.webhook_call import TIMEOUT_S, Caller, CallOutcome, signed
from jobs.webhook_rules import webhook_networks
from jobs.webhook_store import DueCall, WebhookStore
from telemetry import metrics

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
"""Between two looks for jobs that have ended."""

AT_ONCE = 8
"""Calls under way; more wait."""

CLAIM_S = 2 * TIMEOUT_S
"""After which a service that has said nothing of its call is taken for dead."""

FIRST_WAIT_S, ATTEMPTS = 2.0, 16
"""The wait doubles with each attempt; all of them last 18 hours."""


class Webhooks:
    """One thread, from :meth:`start` to :meth:`close`; none where the settings have no secret.

    Args:
        body: the JSON of a job, as it is now; None where the job is gone.
    """

    def __init__(
        self,
        settings: Settings,
        store: JobStore,
        calls: WebhookStore,
        storage_id: str,
        body: Callable[[str], bytes | None],
    ) -> None:
        """Raises InvalidOption for networks that are none."""
        self._secret = settings.webhook_secret
        self._networks = webhook_networks(settings)
        self._store = store
        self._calls = calls
        self._storage_id = storage_id
        self._body = body
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)

    def __enter__(self) -> Webhooks:
        if self._secret:
            self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        """Calls under way are broken off, and repeated after the next start."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        asyncio.run(self._look())

    async def _look(self) -> None:
        caller, under_way = Caller(self._networks), set[asyncio.Task[None]]()
        while not self._closed.is_set():
            for call, until in await asyncio.to_thread(self._claimed, AT_ONCE - len(under_way)):
                task = asyncio.create_task(self._make(caller, call, until))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
            # In steps, so that closing does not wait for the next look.
            for _ in range(10):
                if not self._closed.is_set():
                    await asyncio.sleep(LOOK_EVERY_S / 10)

    def _claimed(self, limit: int) -> list[tuple[DueCall, float]]:
        """Calls that are this service's to make now, and until when they are."""
        if limit <= 0:
            return []
        try:
            now = time.time()
            due = self._calls.due(self._storage_id, now, limit)
            return [(call, now + CLAIM_S) for call in due if self._calls.claim(call, now + CLAIM_S)]
        except CapacityError as error:
            log.debug("Webhooks wait: %s", error)
        except Exception:
            # The next look may succeed, and without this thread no webhook is ever called.
            log.exception("Looking for webhooks failed")
        return []

    async def _make(self, caller: Caller, call: DueCall, until: float) -> None:
        try:
            record = await asyncio.to_thread(self._store.get, call.job_id)
            body = await asyncio.to_thread(self._body, call.job_id)
            url = None if record is None else record.request.webhook
            if body is None or url is None:
                return
            timestamp = str(int(time.time()))
            headers = {
                "Content-Type": "application/json",
                "User-Agent": "whisper-for-subs",
                "X-Whisper-Event": "job.ended",
                "X-Whisper-Delivery": _delivery(call),
                "X-Whisper-Timestamp": timestamp,
                "X-Whisper-Signature": signed(self._secret or "", timestamp, body),
            }
            outcome = await caller.post(url, body, headers)
            await asyncio.to_thread(self._note, call, until, urlsplit(url).hostname or "", outcome)
        except SubtitleError as error:
            # The claim ends by itself, and the call is made again.
            log.warning("The outcome of a webhook was not written: %s", error)
        except Exception:
            log.exception("A webhook could not be called")

    def _note(self, call: DueCall, until: float, host: str, outcome: CallOutcome) -> None:
        """Write down what became of a call."""
        attempt = call.attempts + 1
        wait_s = FIRST_WAIT_S * 2**call.attempts * random.uniform(0.8, 1.2)
        if outcome.delivered:
            metrics.webhook_delivered("delivered")
            kind, text = "webhook_delivered", f"Webhook delivered: {host} {outcome.text}."
            change = partial(self._calls.settle, call, until)
        elif outcome.final or attempt >= ATTEMPTS:
            metrics.webhook_delivered("given_up")
            kind, text = "webhook_failed", f"Webhook given up: {host} {outcome.text}."
            change = partial(self._calls.settle, call, until)
        else:
            metrics.webhook_delivered("retried")
            kind = "webhook_failed"
            text = f"Webhook failed: {host} {outcome.text}; again in {wait_s:.0f} s."
            change = partial(self._calls.postpone, call, until, time.time() + wait_s)
        if not outcome.delivered:
            log.warning("%s", text, extra={"job": call.job_id})
        change()
        self._store.add_history(call.job_id, HistoryEntry(time.time(), kind, text))


def _delivery(call: DueCall) -> str:
    """The same for every attempt to tell this end of this job."""
    return hashlib.sha256(f"{call.job_id} {call.ended_at}".encode()).hexdigest()[:32]
