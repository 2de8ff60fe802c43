"""Links on the page: a real browser, a real app, a web server on this machine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.apps import App, running_app
from tests.browser import NewProfile
from tests.link_server import LinkServer, serving


@pytest.fixture(scope="module")
def server() -> Iterator[LinkServer]:
    with serving() as server:
        yield server


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, tiny_en: Path) -> Iterator[App]:
    """An app that takes links to this machine."""
    with running_app(
        tmp_path_factory.mktemp("links"),
        WHISPER_DOWNLOAD_SITES='["generic"]',
        WHISPER_DOWNLOAD_NETWORKS='["127.0.0.1"]',
    ) as app:
        yield app


def test_links_become_subtitles_on_the_page(page: Page, server: LinkServer) -> None:
    page.get_by_role("tab", name="Links").click()
    field = page.get_by_label("Links, one per line")
    field.fill(f"{server.url}/held.flac\n  {server.url}/gone.flac\n")
    page.click("#start")
    card = page.locator("#jobs .job").first
    expect(card.locator(".state")).to_have_text("Downloading")
    expect(card.locator(".message")).to_contain_text("Downloading held: ")
    expect(page.locator("#jobs .problem")).to_contain_text("nothing at this link")
    server.release.set()
    expect(card.locator(".verdict")).to_contain_text("Complete")
    expect(card.locator("h3")).to_have_text("held.flac")
    expect(page.locator("#cues li").first).to_contain_text(re.compile(r"\w+ \w+"))
    expect(page.locator("#player video")).to_be_visible()


def test_what_is_no_link_is_explained(page: Page) -> None:
    page.get_by_role("tab", name="Links").click()
    page.get_by_label("Links, one per line").fill("talk.mp3")
    page.click("#start")
    expect(page.locator("#jobs .problem")).to_contain_text("talk.mp3 is not a web link")
    expect(page.locator("#start")).to_be_enabled()


def test_the_field_says_why_links_are_off(profile: NewProfile, tmp_path: Path) -> None:
    with running_app(tmp_path, WHISPER_ACCESS="open", WHISPER_PRELOAD_MODEL="false") as app:
        page = profile().new_page()
        page.goto(app.url)
        page.get_by_role("tab", name="Links").click()
        field = page.get_by_label("Links, one per line")
        expect(field).to_be_disabled()
        expect(page.locator("#links")).to_contain_text("anyone may use this service")
        expect(page.locator("#links")).to_contain_text("WHISPER_LINKS=on")
