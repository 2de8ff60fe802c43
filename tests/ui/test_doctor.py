"""The tab Doctor: one examination for all pages, a readable report, and copying it."""

from __future__ import annotations

import asyncio
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import gradio as gr
import pytest
from playwright.sync_api import Page, expect

from access.identity import LOCAL, Identity
from core.settings import Settings
from doctor.diagnosis import Diagnosis, Finding, diagnosis
from tests.apps import App
from tests.browser import NewProfile
from tests.waiting import PATIENCE_S
from ui import doctor_tab
from ui.doctor_tab import DoctorTab, Examinations, report

HOSTILE = "<img src=x onerror=alert(1)> & \x1b[31m\u202egnp"


def test_whoever_asks_while_one_runs_watches_that_one(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, begun = threading.Event(), threading.Event()

    def examine(settings: Settings, *, progress: Any) -> Diagnosis:
        progress("Opening the native libraries")
        begun.set()
        assert go_on.wait(PATIENCE_S)
        return diagnosis([], "head")

    monkeypatch.setattr(doctor_tab, "examine", examine)
    examinations = Examinations(Settings())
    first = examinations.begin()
    assert begun.wait(PATIENCE_S)
    assert examinations.begin() is first
    assert first.news("", 10) == "Opening the native libraries"
    go_on.set()
    first.news("Opening the native libraries", 10)
    assert (first.ended, first.found) == (True, diagnosis([], "head"))
    assert examinations.begin() is not first


def test_an_examination_that_fails_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    def examine(settings: Settings, *, progress: Any) -> Diagnosis:
        raise ZeroDivisionError

    monkeypatch.setattr(doctor_tab, "examine", examine)
    failed = Examinations(Settings()).begin()
    failed.news(failed.news("", 10), 10)
    assert (failed.ended, failed.found) == (True, None)


def test_the_report_is_no_markup_of_others() -> None:
    shown = report(diagnosis([Finding("error", HOSTILE, f"`{HOSTILE}`", HOSTILE)], HOSTILE))
    assert "<img" not in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "<code>&lt;img src=x onerror=alert(1)&gt; &amp;" in shown
    assert 'aria-label="Error"' in shown


class Request:
    """A request as the access check leaves it."""

    def __init__(self, identity: Identity) -> None:
        self.state = type("State", (), {"identity": identity})()


def examined(identity: Identity) -> list[Any]:
    async def frames() -> list[Any]:
        # Outside of an event loop Gradio makes some of its own and leaves them behind.
        with gr.Blocks():
            tab = DoctorTab(Settings())
        request = cast(gr.Request, Request(identity))
        return [frame async for frame in tab._examine(request)]

    # The browser of other tests has an event loop in this thread.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, frames()).result()


def test_strangers_who_come_through_a_proxy_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def examine(settings: Settings, *, progress: Any) -> Diagnosis:
        return diagnosis([Finding("warning", "Full.", area="Disk")], "head")

    monkeypatch.setattr(doctor_tab, "examine", examine)
    with pytest.raises(gr.Error, match="Only logged-in users"):
        examined(Identity("visitor:1", "ip:203.0.113.5"))
    assert "1 warning found." in examined(LOCAL)[-1][0]


def examine_in(page: Page) -> None:
    page.get_by_role("tab", name="Doctor").click()
    page.click("#examine")
    expect(page.locator(".doctor-verdict")).to_be_visible()


def test_the_machine_is_examined_and_the_report_copied(profile: NewProfile, app: App) -> None:
    page = profile(permissions=["clipboard-read", "clipboard-write"]).new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(app.url)
    examine_in(page)
    expect(page.locator(".doctor h3").first).to_have_text("NVIDIA driver")
    expect(page.locator("#doctor")).to_contain_text("CPU works: model tiny.en in int8")
    expect(page.locator("#doctor")).to_contain_text(re.compile(r"whisper-for-subs \S+ runs there"))
    expect(page.locator("#examine")).to_be_enabled()
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.get_by_role("button", name="Copy report").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    text = page.evaluate("navigator.clipboard.readText()")
    assert text.startswith("whisper-for-subs ")
    assert "\nInference\n  ✓ CPU works: model tiny.en in int8" in text
    # As on a page without https, which has no clipboard to write to.
    page.evaluate(
        "() => { Object.defineProperty(navigator, 'clipboard', {value: undefined});"
        " document.addEventListener('copy', () => { const field = document.activeElement;"
        " window.copied = field.value.slice(field.selectionStart, field.selectionEnd); }); }"
    )
    page.get_by_role("button", name="Copy report").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("window.copied") == text
    expect(page.locator(".doctor textarea")).to_be_visible()
    assert errors == []
