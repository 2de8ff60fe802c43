"""Remote speech endpoints: set up, tested, and handed to the pools of workers when they change.

The table is looked at every few seconds, so that a change by psql or by another service counts
without a restart. While the database is away, the endpoints stay as they were.
"""

from __future__ import annotations

import json
import logging
import re
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

from core.endpoints import LOCAL, REMOTE, SHARED, Endpoint
from core.errors import InvalidOption
from core.settings import Settings
from jobs.database import Database
from jobs.endpoint_keys import EndpointKeys
from jobs.endpoint_rows import AsrConfig, EndpointRow, check_id, read_config, subject_of
from jobs.endpoint_store import EndpointStore

log = logging.getLogger(__name__)

OFF = "Speech endpoints are switched off here (WHISPER_ENDPOINTS=off)."


class Endpoints:
    """Thread-safe. Methods that ask the database raise as those of ``jobs.store.JobStore``.

    Args:
        apply: gets the active endpoints in the order in which they are asked, whenever they change.
        passed: gets the id of each that has passed a test since the last look.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        apply: Callable[[tuple[Endpoint, ...]], None] = lambda _: None,
        passed: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.off = settings.endpoints == "off"
        self._store = EndpointStore(database, EndpointKeys(settings))
        self._apply = apply
        self._passed = passed
        self._looking = threading.Lock()
        self._active: tuple[Endpoint, ...] = ()
        self._problems: dict[str, str] = {}
        self._passed_at: dict[str, float] = {}

    # What jobs may use.

    @property
    def active(self) -> tuple[Endpoint, ...]:
        """As they were at the last look; empty where they are switched off."""
        return self._active

    def look(self) -> None:
        """See what the table says now."""
        if self.off:
            return
        with self._looking:
            self._store.seal_keys()
            rows = self._store.rows()
            active = _named_apart([row.endpoint for row in rows if row.active and row.endpoint])
            wrong = [row for row in rows if row.problem and row.values["is_active"]]
            self._tell({row.id: row.problem for row in wrong})
            if active != self._active:
                self._active = active
                named = ", ".join(f"{each.name} ({each.host})" for each in active)
                log.info("Speech endpoints in use: %s", named or "none")
                self._apply(active)
            tests = {row.id: row.test for row in rows if row.active}
            before, self._passed_at = (
                self._passed_at,
                {row_id: test.tested_at for row_id, test in tests.items() if test and test.passed},
            )
            for row_id, _ in self._passed_at.items() - before.items():
                self._passed(row_id)

    def _tell(self, problems: dict[str, str]) -> None:
        """Once for each, and again when it is another one."""
        for row_id, problem in problems.items():
            if self._problems.get(row_id) != problem:
                log.warning("The speech endpoint %s is not used: %s", row_id, problem)
        self._problems = problems

    def check_where(self, where: str | None) -> None:
        """Raises InvalidOption: nobody can decode there."""
        if where in (None, LOCAL):
            return
        if self.off:
            raise InvalidOption(OFF, hint="Choose local.")
        if where == SHARED or where in {each.id for each in self.active}:
            return
        ids = ", ".join(each.id for each in self.active)
        if where != REMOTE or not ids:
            raise InvalidOption(
                "No speech endpoint is active."
                if where == REMOTE
                else f"There is no active speech endpoint {where!r}.",
                hint=f"Active: {ids}."
                if ids
                else "An administrator sets them up: System →"
                " Speech endpoints, or the command `endpoints`.",
            )

    # Administration.

    def rows(self) -> list[EndpointRow]:
        """All that are set up, with what is wrong with them."""
        return self._store.rows()

    def row(self, row_id: str) -> EndpointRow:
        """Raises NoSuchEndpoint."""
        return self._store.row(row_id)

    def add(self, values: Mapping[str, Any], row_id: str = "") -> EndpointRow:
        """Set up another one; without an id it gets one of its name.

        Raises InvalidOption.
        """
        config = read_config(values)
        row_id = check_id(row_id) if row_id else self._new_id(config.name)
        self._store.insert(row_id, config.model_dump(exclude={"is_default"}))
        return self._written(row_id, default=config.is_default)

    def change(self, row_id: str, values: Mapping[str, Any]) -> EndpointRow:
        """Change some fields; the others stay. A row that was wrong must be right afterwards.

        Raises NoSuchEndpoint, InvalidOption.
        """
        row = self._store.row(row_id)
        config = read_config({**row.values, **values})
        named = config.model_dump(include={*values})
        default = named.pop("is_default", None)
        if default is False:
            named["is_default"] = False
        if named:
            self._store.update(row_id, named)
        return self._written(row_id, default=bool(default))

    def replace(self, row_id: str, values: Mapping[str, Any]) -> EndpointRow:
        """As :meth:`change`, with the defaults for what is left out, but for the key."""
        defaults = {
            name: field.default
            for name, field in AsrConfig.model_fields.items()
            if not field.is_required() and name != "api_key"
        }
        return self.change(row_id, {**defaults, **values})

    def remove(self, row_id: str) -> None:
        """Raises NoSuchEndpoint."""
        self._store.delete(row_id)
        self.look()

    def test(self, row_id: str) -> EndpointRow:
        """Test the connection, which takes up to a minute, and keep what was found.

        Raises NoSuchEndpoint; InvalidOption: it cannot be used as it stands there.
        """
        row = self._store.row(row_id)
        if row.endpoint is None:
            raise InvalidOption(f"{row.name} cannot be tested: {row.problem}", hint="Correct it.")
        if self.off:
            raise InvalidOption(OFF, hint="A test would send a clip of speech.")
        # Here and not above: only this needs the clients of such servers.
        from endpoints.probe import probe

        found = asdict(probe(row.endpoint))
        found["subject"] = subject_of(read_config(row.values))
        self._store.update(row_id, {"capabilities": json.dumps(found)})
        return self._written(row_id)

    def _written(self, row_id: str, *, default: bool = False) -> EndpointRow:
        if default:
            self._store.make_default(row_id)
        self.look()
        return self._store.row(row_id)

    def _new_id(self, name: str) -> str:
        base = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "endpoint"
        taken = {row.id for row in self._store.rows()} | {LOCAL, SHARED, REMOTE}
        numbered = (f"{base}-{number}" for number in range(2, len(taken) + 3))
        return next(each for each in (base, *numbered) if each not in taken)


def _named_apart(endpoints: list[Endpoint]) -> tuple[Endpoint, ...]:
    """With their ids where two have one name: log, page and report name them."""
    names = Counter(each.name for each in endpoints)
    return tuple(
        replace(each, name=f"{each.name} ({each.id})") if names[each.name] > 1 else each
        for each in endpoints
    )


def endpoints_for(where: str, settings: Settings) -> tuple[Endpoint, ...]:
    """The active endpoints for a command that runs without a service; none where it needs none.

    Raises InvalidOption: nobody can decode there; DatabaseUnavailable.
    """
    if where == LOCAL:
        return ()
    if settings.database_url is None and not (settings.data_dir / "jobs.sqlite3").exists():
        raise InvalidOption(
            f"No speech endpoint is set up in {settings.data_dir}.",
            hint="Set WHISPER_DATA_DIR or DATABASE_URL to those of your service, or add one there"
            " with `endpoints add`.",
        )
    database = Database.open(settings)
    try:
        found = Endpoints(settings, database)
        found.look()
        found.check_where(where)
        return found.active
    finally:
        database.close()
