"""System → Speech endpoints, and the control Where of a job's form."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import gradio as gr
import pytest
from playwright.sync_api import Dialog, Page, expect

from access.identity import LOCAL, Identity
from core.endpoints import Endpoint
from core.settings import Settings
from jobs.endpoint_keys import EndpointKeys
from jobs.endpoint_rows import FIELDS, read_row
from tests.apps import App, running_app
from tests.browser import NewProfile
from ui.endpoints_tab import EndpointsTab
from ui.endpoints_view import endpoint_table
from ui.where_choice import where_choices, where_info, where_update

HOSTILE = "<img src=x onerror=alert(1)>\x1b[31m\u202egnp"
URL = "http://127.0.0.1:9/v1/audio/transcriptions"


def endpoint(name: str, host: str) -> Endpoint:
    return Endpoint(
        id=name.lower(), name=name, api_url=f"http://{host}/v1", model_name="", kind="openai"
    )


ACTIVE = (endpoint("A", "10.0.0.1:80"), endpoint("B", "b.example"))


@pytest.mark.parametrize(
    ("where", "said"),
    [
        (None, "stays on this machine"),
        ("local", "stays on this machine"),
        ("shared", "Parts of the audio are sent to 10.0.0.1:80 and b.example."),
        ("remote", "sent to 10.0.0.1:80; while that fails, to b.example."),
        ("b", "The audio is sent to b.example."),
    ],
)
def test_every_choice_says_where_the_audio_goes(where: str | None, said: str) -> None:
    assert said in where_info(where, ACTIVE)


def test_without_an_endpoint_there_is_nothing_to_choose() -> None:
    assert [value for _, value in where_choices(ACTIVE)] == ["local", "shared", "remote", "a", "b"]
    hidden = where_update((), "a")
    assert (hidden["visible"], hidden["value"]) == (False, None)
    assert where_update(ACTIVE, "a")["value"] == "a"
    assert where_update(ACTIVE[1:], "a")["value"] == "local", "it is gone"


def row(settings: Settings, **values: Any) -> Any:
    found = {**dict.fromkeys((*FIELDS, "capabilities")), "id": "a", "api_url": URL, **values}
    return read_row(found, EndpointKeys(settings))


def test_the_table_is_no_markup_of_others_and_shows_no_key(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    test = {
        "subject": f"openai {URL}  offline",
        "tested_at": 1_795_000_000,
        "checks": [
            {"name": "reachable", "state": "ok", "text": "In 3 ms."},
            {"name": "model", "state": "failed", "text": HOSTILE, "fix": f"Load {HOSTILE}"},
        ],
    }
    good = row(settings, name=HOSTILE, api_key="sk-secret", capabilities=json.dumps(test))
    bad = row(settings, id=HOSTILE, name=None, api_url=HOSTILE, kind=HOSTILE, is_active=1)
    drawn = endpoint_table([good, bad], {"a": "idle"}, off=HOSTILE)
    assert "<img" not in drawn
    assert "\x1b" not in drawn
    assert "\u202e" not in drawn
    assert "sk-secret" not in drawn
    for shown in ("In 3 ms.", "Fix:", "failed, ", "not usable", 'aria-label="Failed"'):
        assert shown in drawn


class _Request:
    """A request as the access check leaves it."""

    def __init__(self, identity: Identity) -> None:
        self.state = type("State", (), {"identity": identity})()


def test_others_than_administrators_see_and_change_nothing() -> None:
    service: Any = None  # nothing of it is touched

    async def drawn() -> EndpointsTab:
        # Outside of an event loop Gradio makes some of its own and leaves them behind.
        with gr.Blocks():
            return EndpointsTab(Settings(), service)

    tab = asyncio.run(drawn())
    bob = cast(gr.Request, _Request(Identity("user:bob", "user:bob")))
    event = cast(gr.EventData, type("Event", (), {"_data": {"id": "a"}})())
    assert "Only administrators" in tab.shown(bob)
    assert tab._appear(bob)["visible"] is False
    assert tab._appear(cast(gr.Request, _Request(LOCAL)))["visible"] is True
    for refused in (
        lambda: tab._edit(event, bob),
        lambda: tab._delete(event, bob),
        lambda: tab._switch(is_active=True)(event, bob),
        lambda: tab._store(bob, "", *(("",) * 13)),
        lambda: next(tab._test(event, bob)),
    ):
        with pytest.raises(gr.Error, match="Only administrators"):
            refused()


@pytest.fixture(scope="module")
def own_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """Its endpoints are of no concern to other tests of the page."""
    folder = tmp_path_factory.mktemp("endpoints")
    with running_app(folder, WHISPER_PRELOAD_MODEL="false") as app:
        yield app


def fill(page: Page, **values: str) -> None:
    for name, value in values.items():
        page.locator(f"#endpoint-{name} input, #endpoint-{name} textarea").first.fill(value)


def test_endpoints_are_added_changed_used_and_removed(own_app: App, profile: NewProfile) -> None:
    page = profile().new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(own_app.url)
    page.wait_for_selector("#start")
    expect(page.locator("#where")).to_have_count(0)
    page.get_by_role("tab", name="System").click()
    expect(page.locator("#endpoint-list")).to_contain_text("No speech endpoint is set up")
    # A wrong address is told, and nothing is stored.
    fill(page, name="Office", api_url="10.0.5.4:8000")
    page.click("#endpoint-save")
    expect(page.get_by_text("no full address")).to_be_visible()
    fill(page, api_url=URL, model_name="whisper-0", api_key="sk-secret-0123456789")
    page.click("#endpoint-save")
    office = page.locator('tbody[data-endpoint="office"]')
    expect(office).to_contain_text("whisper-0")
    expect(office).to_contain_text("not active")
    expect(page.locator("#endpoint-api_url textarea, #endpoint-api_url input")).to_have_value("")
    # Change it.
    office.get_by_role("button", name="Edit").click()
    expect(page.locator("#endpoint-title")).to_contain_text("Change Office")
    fill(page, model_name="whisper-tiny")
    page.click("#endpoint-save")
    expect(office).to_contain_text("whisper-tiny")
    assert "sk-secret" not in page.content()
    # Use it: the form of a job then says where the audio goes.
    office.get_by_role("button", name="Make default").click()
    expect(office.locator("td").nth(4)).to_have_text("yes")
    office.get_by_role("button", name="Activate").click()
    expect(office.get_by_role("button", name="Deactivate")).to_be_visible()
    page.get_by_role("tab", name="Transcribe").click()
    where = page.locator("#where")
    expect(where).to_contain_text("The audio stays on this machine.")
    where.locator("input").click()
    page.get_by_role("option", name="Only Office").click()
    expect(where).to_contain_text("The audio is sent to 127.0.0.1:9.")
    # Another browser has the choice as well, until it is gone.
    other = profile().new_page()
    other.goto(own_app.url)
    expect(other.locator("#where")).to_be_visible()
    page.get_by_role("tab", name="System").click()
    page.once("dialog", lambda dialog: _accept(dialog))
    office.get_by_role("button", name="Delete").click()
    expect(page.locator("#endpoint-list")).to_contain_text("No speech endpoint is set up")
    page.get_by_role("tab", name="Transcribe").click()
    expect(page.locator("#where")).to_have_count(0)
    assert errors == []


def _accept(dialog: Dialog) -> None:
    assert "Office" in dialog.message
    dialog.accept()
