"""Submissions that may be repeated: a key of the client's makes one job, however often it is sent.

The key is claimed before the upload and bound to the job in the transaction that stores the job, so
that no crash makes a second one. It is kept as long as the job.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import and_, delete, exc, select, update

from jobs import schema
from jobs.database import Database
from jobs.records import load

keys, runners = schema.idempotency_keys, schema.runners

HEAD_BYTES = 1024 * 1024
"""Of a recording, by which it is recognised: the rest need not be uploaded again."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a submission was, without its texts."""

    fields: Mapping[str, str]
    """Hash of the value of each field."""
    head: str
    """Hash of the first ``HEAD_BYTES`` of the recording; of nothing for a link."""

    @classmethod
    def of(cls, fields: Mapping[str, Any], head: str) -> Fingerprint:
        return cls({name: _hash(value) for name, value in fields.items()}, head)

    def fits(self, first: Fingerprint, *, whole: bool) -> bool:
        """Whether it repeats the first one; not ``whole``: as far as it has arrived."""
        if self.head != first.head or (whole and len(self.fields) != len(first.fields)):
            return False
        return all(first.fields.get(name) == value for name, value in self.fields.items())

    def dump(self) -> str:
        return json.dumps(asdict(self))


@dataclass(frozen=True, slots=True)
class BoundKey:
    """A key that is to be bound to the job that is being stored."""

    key: str
    fingerprint: Fingerprint


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """Who has a key."""

    job_id: str | None
    """None: a submission that is under way."""
    fingerprint: Fingerprint | None = None


class KeyStore:
    """Keys of one service's clients.

    Args:
        runner: id of this service.
        dead: whether a service is, by its id and the time of its last beat.
    """

    def __init__(self, database: Database, runner: str, dead: Callable[[str, float], bool]) -> None:
        self._database = database
        self._runner = runner
        self._dead = dead
        self._lock = threading.Lock()
        self._under_way: set[tuple[str, str]] = set()

    def claim(self, owner: str, key: str) -> KeyHolder | None:
        """Take the key for a submission; who has it already, None where it is taken now.

        Raises DatabaseUnavailable, DiskFull.
        """
        with self._lock:
            if (owner, key) in self._under_way:
                return KeyHolder(None)
            self._under_way.add((owner, key))
        holder: KeyHolder | None = KeyHolder(None)
        try:
            holder = self._claim(owner, key)
        finally:
            if holder is not None:
                self._forget(owner, key)
        return holder

    def release(self, owner: str, key: str) -> None:
        """End of a submission that had claimed the key: it is free again where there is no job.

        Raises DatabaseUnavailable, DiskFull; then the next claim frees it.
        """
        self._forget(owner, key)
        unbound = and_(_is(owner, key), keys.c.job_id.is_(None), keys.c.runner == self._runner)
        with self._database.write() as connection:
            connection.execute(delete(keys).where(unbound))

    def _forget(self, owner: str, key: str) -> None:
        with self._lock:
            self._under_way.discard((owner, key))

    def _claim(self, owner: str, key: str) -> KeyHolder | None:
        mine = _is(owner, key)
        asked = (
            select(keys, runners.c.beat_at)
            .join(runners, runners.c.id == keys.c.runner, isouter=True)
            .where(mine)
        )
        with self._database.read() as connection:
            row = connection.execute(asked).first()
        if row is None:
            return None if self._insert(owner, key) else KeyHolder(None)
        if row.job_id is not None:
            return KeyHolder(row.job_id, load(Fingerprint, row.fingerprint))
        # What is left of a submission that this service could not release is its own to take.
        if row.runner != self._runner and not self._dead(row.runner, row.beat_at or 0.0):
            return KeyHolder(None)
        seen = and_(mine, keys.c.job_id.is_(None), keys.c.runner == row.runner)
        with self._database.write() as connection:
            taken = connection.execute(update(keys).where(seen).values(runner=self._runner))
        return None if taken.rowcount == 1 else KeyHolder(None)

    def _insert(self, owner: str, key: str) -> bool:
        row = {"owner": owner, "key": key, "runner": self._runner, "fingerprint": ""}
        try:
            with self._database.write() as connection:
                connection.execute(keys.insert(), row)
        except exc.IntegrityError:
            return False  # another request was faster
        return True


def _is(owner: str, key: str) -> Any:
    return and_(keys.c.owner == owner, keys.c.key == key)


def _hash(value: object) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
