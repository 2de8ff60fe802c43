"""A real browser, for the tests of the page and of the containers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, expect, sync_playwright

from tests.waiting import PATIENCE_S

NewProfile = Callable[..., BrowserContext]


@pytest.fixture(scope="package")
def browser(chromium: str) -> Iterator[Browser]:
    """For one folder alone: while Playwright runs, so does its event loop, in which other tests
    could run none of their own."""
    expect.set_options(timeout=1000 * PATIENCE_S)
    with sync_playwright() as playwright:
        # A container's root may not use the sandbox; what is shown is our own page.
        running = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def profile(browser: Browser) -> Iterator[NewProfile]:
    """Make a fresh browser profile, which has never seen the app."""
    made: list[BrowserContext] = []

    def make(width: int = 1280, height: int = 900, **options: Any) -> BrowserContext:
        made.append(browser.new_context(viewport={"width": width, "height": height}, **options))
        made[-1].set_default_timeout(1000 * PATIENCE_S)
        return made[-1]

    yield make
    for context in made:
        context.close()
