"""The table ``asr_configs``. What stands in it is judged in ``jobs.endpoint_rows``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import and_, delete, exc, insert, text, update

from core.errors import InvalidOption, NoSuchEndpoint
from jobs import schema
from jobs.database import Database
from jobs.endpoint_keys import EndpointKeys, is_plain
from jobs.endpoint_rows import EndpointRow, read_row

configs = schema.asr_configs


class EndpointStore:
    """Each method is one transaction; raises as those of ``jobs.store.JobStore``."""

    def __init__(self, database: Database, keys: EndpointKeys) -> None:
        self._database = database
        self._keys = keys

    def rows(self) -> list[EndpointRow]:
        """All endpoints: those that can be used as they are asked, then the others by id."""
        with self._database.read() as connection:
            # As it stands there: SQLite keeps texts in columns of numbers.
            found = connection.execute(text("SELECT * FROM asr_configs")).mappings().all()
        rows = [read_row(dict(row), self._keys) for row in found]
        return sorted(rows, key=lambda row: row.endpoint.rank if row.endpoint else (2, 0, row.id))

    def row(self, row_id: str) -> EndpointRow:
        """Raises NoSuchEndpoint."""
        for row in self.rows():
            if row.id == row_id:
                return row
        raise NoSuchEndpoint(f"There is no endpoint {row_id[:80]!r}.")

    def insert(self, row_id: str, values: Mapping[str, Any]) -> None:
        """Raises InvalidOption: there is one of that id."""
        try:
            with self._database.write() as connection:
                connection.execute(insert(configs).values(id=row_id, **self._written(values)))
        except exc.IntegrityError:
            raise InvalidOption(
                f"There is already an endpoint {row_id}.", hint="Choose another id."
            ) from None

    def update(self, row_id: str, values: Mapping[str, Any]) -> None:
        """Raises NoSuchEndpoint."""
        with self._database.write() as connection:
            changed = update(configs).where(configs.c.id == row_id).values(self._written(values))
            if not connection.execute(changed).rowcount:
                raise NoSuchEndpoint(f"There is no endpoint {row_id[:80]!r}.")

    def make_default(self, row_id: str) -> None:
        """This one, and no other any more."""
        with self._database.write() as connection:
            connection.execute(update(configs).values(is_default=configs.c.id == row_id))

    def delete(self, row_id: str) -> None:
        """Raises NoSuchEndpoint."""
        with self._database.write() as connection:
            if not connection.execute(delete(configs).where(configs.c.id == row_id)).rowcount:
                raise NoSuchEndpoint(f"There is no endpoint {row_id[:80]!r}.")

    def seal_keys(self) -> None:
        """Encrypt the keys that people wrote by hand."""
        with self._database.read() as connection:
            found = connection.execute(text("SELECT id, api_key FROM asr_configs")).all()
        for row_id, key in found:
            if not (isinstance(key, str) and is_plain(key)):
                continue
            try:
                sealed = {"api_key": self._keys.seal(key)}
            except InvalidOption:
                # It cannot be used, and the row says so.
                continue
            seen = and_(configs.c.id == row_id, configs.c.api_key == key)
            with self._database.write() as connection:
                connection.execute(update(configs).where(seen).values(sealed))

    def _written(self, values: Mapping[str, Any]) -> dict[str, Any]:
        if "api_key" not in values:
            return dict(values)
        return {**values, "api_key": self._keys.seal(values["api_key"])}
