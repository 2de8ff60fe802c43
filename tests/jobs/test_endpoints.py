"""Speech endpoints in the database, as people and as the service write them."""

from __future__ import annotations

import json
import logging
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import text

from core.endpoints import Endpoint
from core.errors import DatabaseUnavailable, InvalidOption, NoSuchEndpoint
from core.settings import Settings
from jobs import schema
from jobs.database import Database
from jobs.endpoint_keys import EndpointKeys
from jobs.endpoint_rows import KeptTest, read_config
from jobs.endpoints import Endpoints, endpoints_for
from jobs.service import JobService
from tests.code_blocks import code_blocks
from tests.postgres import PASSWORD, PostgresServer
from tests.probes import Probe
from tests.probes import probe as probe
from tests.waiting import eventually

URL = "http://10.0.5.4:8000/v1/audio/transcriptions"
SECRET = "sk-do-not-tell-0123456789"


@dataclass
class Applied:
    """What pools would be told."""

    calls: list[tuple[Endpoint, ...]]

    def __call__(self, endpoints: tuple[Endpoint, ...]) -> None:
        self.calls.append(endpoints)

    @property
    def ids(self) -> list[list[str]]:
        return [[each.id for each in call] for call in self.calls]


@pytest.fixture
def applied() -> Applied:
    return Applied([])


@pytest.fixture
def passed() -> list[str]:
    """Ids of those that pools would be told to trust again."""
    return []


@pytest.fixture
def endpoints(
    database_settings: Settings, database: Database, applied: Applied, passed: list[str]
) -> Endpoints:
    return Endpoints(database_settings, database, applied, passed.append)


def by_hand(database: Database, **values: object) -> None:
    """A row as psql or sqlite3 would write it, with the columns that are named."""
    names, holes = ", ".join(values), ", ".join(f":{name}" for name in values)
    with database.write() as connection:
        connection.execute(text(f"INSERT INTO asr_configs ({names}) VALUES ({holes})"), values)


def client(settings: Settings, statement: str) -> None:
    """The statement through the database's own command-line client."""
    if settings.database_url is None:
        command = ["sqlite3", str(settings.data_dir / "jobs.sqlite3"), statement]
    else:
        command = ["psql", "-v", "ON_ERROR_STOP=1", "-c", statement, settings.database_url]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_lines_of_the_page_work_and_count_without_a_restart(
    database_settings: Settings, endpoints: Endpoints, applied: Applied, root: Path
) -> None:
    insert, change = (block.text for block in code_blocks(root / "docs" / "endpoints.md", "sql"))
    endpoints.look()
    assert (endpoints.active, applied.calls) == ((), [])
    client(database_settings, insert)
    endpoints.look()
    client(database_settings, change)
    endpoints.look()
    endpoints.look()
    assert [call[0].model_name for call in applied.calls] == ["whisper-0", "whisper-tiny"]
    (one,) = endpoints.active
    assert (one.id, one.name, one.kind, one.is_default) == (
        "asr-default-001", "Default", "openai", True,
    )  # fmt: skip
    assert (one.priority, one.parallel, one.timeout_s, one.max_clip_s) == (100, 2, 60.0, 30.0)
    client(database_settings, "UPDATE asr_configs SET is_active = false;")
    endpoints.look()
    assert applied.calls[-1] == ()


def test_a_running_service_notices_by_itself(database_settings: Settings, root: Path) -> None:
    insert, change = (block.text for block in code_blocks(root / "docs" / "endpoints.md", "sql"))
    with JobService(database_settings.model_copy(update={"device": "cpu"})) as service:

        def models() -> list[str]:
            return [each.model_name for each in service.endpoints.active]

        assert models() == []
        client(database_settings, insert)
        eventually(lambda: models() == ["whisper-0"], "the new row is seen")
        client(database_settings, change)
        eventually(lambda: models() == ["whisper-tiny"], "the change is seen")


def test_two_defaults_are_chosen_between_the_same_way_every_time(
    database: Database, endpoints: Endpoints
) -> None:
    for row_id in ("b", "a", "c"):
        by_hand(database, id=row_id, api_url=URL, is_active=True, is_default=row_id != "c")
    endpoints.look()
    assert [each.id for each in endpoints.active] == ["a", "b", "c"]
    endpoints.change("c", {"is_default": True})
    assert [each.id for each in endpoints.active] == ["c", "a", "b"]
    assert [each.id for each in endpoints.active if each.is_default] == ["c"]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"kind": "kaldi"}, "kind must be"),
        ({"api_url": None}, "api_url"),
        ({"api_url": "10.0.5.4:8000"}, "no full address"),
        ({"api_url": "http://[::1/v1"}, "no full address"),
        ({"api_url": "http://host:99999/v1"}, "no full address"),
        ({"api_url": "ftp://host/v1"}, "no full address"),
        ({"api_url": "http://me:secret@host/v1"}, "belongs into api_key"),
        ({"api_url": "http://host/a b"}, "spaces"),
        ({"api_url": "ws://host:10095", "kind": "openai"}, "http or https"),
        ({"api_url": URL, "kind": "funasr"}, "ws or wss"),
        ({"parallel": 0}, "parallel must be between 1 and 64"),
        ({"priority": -1}, "priority must be"),
        ({"timeout_s": 0.0}, "timeout_s"),
        ({"timeout_s": float("inf")}, "timeout_s"),
        ({"max_clip_s": -3.0}, "max_clip_s"),
        ({"mode": "online"}, "mode must be"),
        ({"id": "local"}, "names a way to decode"),
        ({"id": "not an id/…"}, "cannot be an endpoint's id"),
        ({"api_key": "env:PATH"}, "cannot hold an endpoint's key"),
        ({"api_key": "env:NOT_SET_API_KEY"}, "not set here"),
        ({"api_key": "enc:rubbish"}, "another secret"),
        ({"api_key": "schlüssel"}, "in no key"),
    ],
)
def test_nonsense_is_shown_with_its_reason_and_not_used(
    values: dict[str, object],
    reason: str,
    database: Database,
    endpoints: Endpoints,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    by_hand(database, **{"id": "bad", "name": "Bad", "api_url": URL, "is_active": True, **values})
    by_hand(database, id="good", api_url=URL, is_active=True)
    for _ in range(3):
        endpoints.look()
    assert [each.id for each in endpoints.active] == ["good"]
    good, bad = endpoints.rows()
    assert (good.problem, bad.endpoint, bad.active) == ("", None, False)
    assert reason in bad.problem
    assert bad.name == "Bad"
    told = [line.getMessage() for line in caplog.records if "is not used" in line.getMessage()]
    assert len(told) == 1, "once, however often the table is looked at"


def test_nulls_are_what_nobody_said(database: Database, endpoints: Endpoints) -> None:
    names = ("name", "model_name", "kind", "api_key", "priority", "parallel", "timeout_s", "mode")
    by_hand(database, id="a", api_url=URL, is_active=True, **dict.fromkeys(names))
    by_hand(database, id="b", api_url=URL, is_active=None, capabilities=None)
    endpoints.look()
    (one,) = endpoints.active
    assert (one.name, one.kind, one.api_key, one.priority, one.parallel) == (
        "a", "openai", "", 100, 2,
    )  # fmt: skip


def test_texts_where_sqlite_takes_them_activate_nothing(tmp_path: Path, applied: Applied) -> None:
    settings = Settings(data_dir=tmp_path)
    database = Database.open(settings)
    by_hand(database, id="a", api_url=URL, is_active="off")
    by_hand(database, id="b", api_url=URL, is_active="perhaps")
    by_hand(database, id="c", api_url=URL, is_active=True, priority="soon")
    by_hand(database, id="d", api_url=URL, is_active=True, capabilities='{"checks": 3}')
    endpoints = Endpoints(settings, database, applied)
    endpoints.look()
    assert applied.ids == [["d"]]
    assert {row.id for row in endpoints.rows() if row.problem} == {"b", "c"}
    database.close()


def test_set_up_changed_and_removed(endpoints: Endpoints, applied: Applied) -> None:
    row = endpoints.add({"name": "Office GPU", "api_url": f" {URL} ", "api_key": SECRET})
    assert (row.id, row.key, row.active, endpoints.active) == ("office-gpu", "set", False, ())
    endpoints.change("office-gpu", {"is_active": True, "model_name": "large-v3"})
    (one,) = endpoints.active
    assert (one.api_url, one.api_key, one.model_name) == (URL, SECRET, "large-v3")
    assert endpoints.add({"name": "Office GPU", "api_url": URL}).id == "office-gpu-2"
    with pytest.raises(InvalidOption, match="already an endpoint"):
        endpoints.add({"api_url": URL}, "office-gpu")
    with pytest.raises(InvalidOption, match="parallel must be"):
        endpoints.change("office-gpu", {"parallel": 0})
    with pytest.raises(InvalidOption, match="no option 'colour'"):
        endpoints.change("office-gpu", {"colour": "red"})
    replaced = endpoints.replace("office-gpu", {"name": "Office", "api_url": URL})
    assert (replaced.values["model_name"], replaced.active, replaced.key) == ("", False, "set")
    assert endpoints.change("office-gpu", {"api_key": ""}).key == "not set"
    endpoints.remove("office-gpu")
    for call in (endpoints.remove, endpoints.row, lambda row_id: endpoints.change(row_id, {})):
        with pytest.raises(NoSuchEndpoint):
            call("office-gpu")
    assert applied.ids == [["office-gpu"], []]


def test_two_of_one_name_are_told_apart(endpoints: Endpoints) -> None:
    for row_id in ("x", "y"):
        endpoints.add({"name": "Same", "api_url": URL, "is_active": True}, row_id)
    assert [each.label for each in endpoints.active] == ["Endpoint Same (x)", "Endpoint Same (y)"]


def test_a_key_can_be_read_nowhere(
    database_settings: Settings,
    database: Database,
    endpoints: Endpoints,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    endpoints.add({"name": "A", "api_url": URL, "api_key": SECRET, "is_active": True})
    # What somebody finds who takes the data directory, the database's log included.
    for path in database_settings.data_dir.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path
    by_hand(database, id="b", api_url=URL, api_key=SECRET, is_active=True)
    endpoints.look()
    assert [each.api_key for each in endpoints.active] == [SECRET, SECRET]
    with database.read() as connection:
        stored = connection.execute(text("SELECT api_key FROM asr_configs")).scalars().all()
    assert all(key.startswith("enc:") for key in stored)
    assert SECRET not in repr([stored, endpoints.rows(), endpoints.active]) + caplog.text
    other = database_settings.model_copy(update={"secret_key": "another secret, long enough"})
    assert {row.key for row in Endpoints(other, database).rows()} == {"set"}
    assert all("another secret" in row.problem for row in Endpoints(other, database).rows())


def test_the_secret_is_the_owners_alone_and_stays(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    sealed = EndpointKeys(settings).seal(SECRET)
    assert EndpointKeys(settings).open(sealed) == SECRET
    assert (tmp_path / "endpoint_secret").stat().st_mode & 0o777 == 0o600
    named = Settings(data_dir=tmp_path / "other", secret_key="0123456789abcdef")
    assert EndpointKeys(named).open(EndpointKeys(named).seal(SECRET)) == SECRET
    assert not (tmp_path / "other").exists()


def test_a_key_may_stand_in_the_environment(
    endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPEECH_API_KEY", SECRET)
    row = endpoints.add({"api_url": URL, "api_key": "env:SPEECH_API_KEY", "is_active": True})
    assert row.key == "from SPEECH_API_KEY"
    assert endpoints.active[0].api_key == SECRET
    for name in ("DATABASE_URL", "WHISPER_API_KEY", "HOME", "x_API_KEY"):
        with pytest.raises(InvalidOption, match="cannot hold"):
            endpoints.change(row.id, {"api_key": f"env:{name}"})


def test_a_test_is_kept_until_what_it_was_about_changes(
    endpoints: Endpoints, probe: Probe, passed: list[str]
) -> None:
    row = endpoints.add({"name": "A", "api_url": URL, "api_key": SECRET, "is_active": True})
    assert row.test is None
    row = endpoints.test("a")
    assert (probe.asked[0].api_key, probe.asked[0].word_times) == (SECRET, True)
    assert row.test is not None
    assert row.test.passed
    (one,) = endpoints.active
    assert (one.word_times, one.max_clip_s) == (False, 20.0)
    endpoints.look()
    assert passed == ["a"], "once for each test"
    assert endpoints.change("a", {"priority": 5}).test is not None
    probe.state = "failed"
    row = endpoints.test("a")
    assert row.test is not None
    assert not row.test.passed
    assert endpoints.change("a", {"model_name": "whisper-1"}).test is None
    assert endpoints.active[0].max_clip_s == 30.0
    assert passed == ["a"]
    probe.state, probe.at = "ok", probe.at + 60
    endpoints.test("a")
    assert passed == ["a", "a"]


def test_what_is_wrong_is_not_tested(
    database: Database, endpoints: Endpoints, probe: Probe
) -> None:
    by_hand(database, id="bad", api_url="nonsense")
    with pytest.raises(InvalidOption, match="cannot be tested"):
        endpoints.test("bad")
    assert probe.asked == []


def test_where_a_job_may_go(endpoints: Endpoints) -> None:
    for where in (None, "local", "shared"):
        endpoints.check_where(where)
    with pytest.raises(InvalidOption, match=re.escape("No speech endpoint is active.")):
        endpoints.check_where("remote")
    endpoints.add({"api_url": URL, "is_active": True}, "a")
    endpoints.add({"api_url": URL}, "asleep")
    endpoints.check_where("remote")
    endpoints.check_where("a")
    with pytest.raises(InvalidOption, match="no active speech endpoint 'asleep'") as caught:
        endpoints.check_where("asleep")
    assert caught.value.hint == "Active: a."


def test_switched_off_nothing_is_active_and_nothing_is_sent(
    database_settings: Settings, database: Database, applied: Applied, probe: Probe
) -> None:
    off = Endpoints(database_settings.model_copy(update={"endpoints": "off"}), database, applied)
    row = off.add({"api_url": URL, "is_active": True})
    off.look()
    assert (off.active, applied.calls, len(off.rows())) == ((), [], 1)
    for refused in (lambda: off.test(row.id), lambda: off.check_where("remote")):
        with pytest.raises(InvalidOption, match="switched off"):
            refused()
    assert probe.asked == []


@pytest.mark.process
def test_a_database_that_is_away_changes_nothing(
    postgres: PostgresServer, postgres_url: str, tmp_path: Path, applied: Applied
) -> None:
    settings = Settings(data_dir=tmp_path, database_url=postgres_url)
    database = Database.open(settings)
    endpoints = Endpoints(settings, database, applied)
    endpoints.add({"api_url": URL, "is_active": True}, "a")
    postgres.stop()
    try:
        with pytest.raises(DatabaseUnavailable) as caught:
            endpoints.look()
        assert PASSWORD not in caught.value.explain()
        assert [each.id for each in endpoints.active] == ["a"]
    finally:
        postgres.start()
    endpoints.look()
    assert applied.ids == [["a"]]
    database.close()


def test_commands_read_the_same_table(database_settings: Settings, endpoints: Endpoints) -> None:
    endpoints.add({"api_url": URL, "is_active": True, "api_key": SECRET}, "a")
    assert endpoints_for("a", database_settings) == endpoints.active
    assert endpoints_for("local", database_settings) == ()
    with pytest.raises(InvalidOption, match="no active speech endpoint 'b'"):
        endpoints_for("b", database_settings)
    nowhere = Settings(data_dir=database_settings.data_dir / "none")
    with pytest.raises(InvalidOption, match="is set up in"):
        endpoints_for("a", nowhere)
    assert not nowhere.data_dir.exists(), "a command that only asks leaves nothing behind"


def test_what_is_kept_can_be_of_a_later_version() -> None:
    kept = KeptTest.model_validate_json(json.dumps({"new": 1, "checks": [], "tested_at": 2}))
    assert (kept.tested_at, kept.passed) == (2.0, False)


def test_the_page_has_every_column_and_addresses_that_are_understood(root: Path) -> None:
    page = (root / "docs" / "endpoints.md").read_text(encoding="utf-8")
    columns = page.partition("| column |")[2].partition("\n\n")[0]
    named = {name for row in columns.splitlines() for name in re.findall(r"`(\w+)`", row[:50])}
    assert {column.name for column in schema.asr_configs.columns} <= named
    servers = page.partition("\n## Servers\n")[2].partition("\n## ")[0].split("\n### ")[1:]
    kinds = {"whisper-asr-webservice": "asr", "FunASR": "funasr"}
    for server in servers:
        title = server.partition("\n")[0]
        (row,) = re.findall(r"^\| address \| (.*) \|$", server, re.MULTILINE)
        for address in re.findall(r"`([^`]+)`", row):
            config = read_config({"api_url": address.replace("HOST", "10.0.5.4")})
            assert config.protocol == kinds.get(title, "openai"), address
    assert len(servers) == 8
