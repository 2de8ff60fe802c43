"""The header ``Idempotency-Key``: a submission that is sent again makes no second job.

the first is still arriving     409 with Retry-After
it has made a job               that job again, with ``Idempotency-Replayed: true``; what is
                                needed to recognise the recording is read of it, no more
it was another submission       422
it has failed                   the key is free
"""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio

from api.asgi import in_threads
from api.errors import Refused
from api.upload_body import Upload
from core.errors import CapacityError, InvalidOption
from jobs.idempotency import BoundKey, Fingerprint, KeyHolder, KeyStore

log = logging.getLogger(__name__)

HEADER = "Idempotency-Key"
REPLAYED = {"Idempotency_Replayed": "true"}

ARRIVING_RETRY_S = 10
THREADS = 8

_KEY = re.compile(r"[\x21-\x7e]{1,200}")


@dataclass(frozen=True, slots=True)
class Submitted:
    """What a submission's key is: none, its own, or one that has made a job already."""

    key: str | None = None
    first: KeyHolder | None = None

    @property
    def job_id(self) -> str | None:
        """The job the first submission has made."""
        return None if self.first is None else self.first.job_id

    def check(self, fields: Mapping[str, Any], upload: Upload) -> None:
        """Raises Refused where this is another submission than the first."""
        known = self.first.fingerprint if self.first is not None else None
        given = _fingerprint(fields, upload)
        if known is not None and not given.fits(known, whole=upload.whole):
            raise Refused(
                422,
                "IdempotencyKeyUsed",
                "Another recording, or other options, were sent with this Idempotency-Key.",
                "Use a new key for each job.",
            )

    def bound(self, fields: Mapping[str, Any], upload: Upload) -> BoundKey | None:
        """What is stored with the job."""
        return None if self.key is None else BoundKey(self.key, _fingerprint(fields, upload))


class Repeats:
    """Keys of the clients of one service."""

    def __init__(self, keys: KeyStore) -> None:
        self._keys = keys
        self._in_thread = in_threads(THREADS)

    @asynccontextmanager
    async def submitted(self, owner: str, key: str | None) -> AsyncIterator[Submitted]:
        """What the key of a submission is, which is under way until the block ends.

        Raises InvalidOption: it is no key; Refused: another submission with it is under way.
        """
        if key is None:
            yield Submitted()
            return
        if not _KEY.fullmatch(key):
            raise InvalidOption(
                f"The {HEADER} must be 1 to 200 characters of ASCII without spaces.",
                hint="A random UUID is best.",
            )
        holder = await self._in_thread(self._keys.claim)(owner, key)
        if holder is not None:
            if holder.job_id is None:
                raise Refused(
                    409,
                    "StillArriving",
                    f"A request with this {HEADER} is still being received.",
                    "Send it again later; the answer will be that request's.",
                    Retry_After=str(ARRIVING_RETRY_S),
                )
            yield Submitted(key, holder)
            return
        try:
            yield Submitted(key)
        finally:
            with anyio.CancelScope(shield=True):
                await self._release(owner, key)

    async def _release(self, owner: str, key: str) -> None:
        try:
            await self._in_thread(self._keys.release)(owner, key)
        except CapacityError as error:
            log.warning("An Idempotency-Key is freed later: %s", error)


def _fingerprint(fields: Mapping[str, Any], upload: Upload) -> Fingerprint:
    return Fingerprint.of({**fields, "file": upload.name}, upload.head)
