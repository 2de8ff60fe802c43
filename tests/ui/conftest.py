"""The app that the tests of the page share, recordings to send it, and a browser to look at it."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pysubs2
import pytest
import soundfile
from playwright.sync_api import Page

from tests.apps import ROOT, App, running_app
from tests.browser import NewProfile
from tests.browser import browser as browser
from tests.browser import profile as profile

CLIPS = ROOT / "tests" / "data" / "ljspeech"


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory, tiny_en: Path) -> Iterator[App]:
    """One app for all tests of the page, with the small English model."""
    with running_app(tmp_path_factory.mktemp("app")) as app:
        app.wait_ready()
        yield app


@pytest.fixture(scope="session")
def transcripts() -> list[str]:
    with (CLIPS / "transcripts.tsv").open(encoding="utf-8") as file:
        return [row["transcript"] for row in csv.DictReader(file, delimiter="\t")]


def plain_text(srt: str) -> str:
    return " ".join(event.plaintext for event in pysubs2.SSAFile.from_string(srt))


def join(path: Path, times: int) -> Path:
    """All clips after each other, so many times over: 51 seconds each time."""
    clips = [soundfile.read(clip, dtype="int16") for clip in sorted(CLIPS.glob("*.flac"))]
    pause = np.zeros(4000, dtype=np.int16)
    samples = np.concatenate([part for clip, _ in clips for part in (clip, pause)] * times)
    soundfile.write(path, samples, 16_000)
    return path


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """51 seconds of real speech."""
    return join(tmp_path_factory.mktemp("recordings") / "printing.flac", 1)


@pytest.fixture(scope="session")
def long_recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Long enough to watch: over 3 minutes of real speech."""
    return join(tmp_path_factory.mktemp("recordings") / "long talk.flac", 4)


@pytest.fixture(scope="session")
def not_a_recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recordings") / "notes & more.mp3"
    path.write_text("These are notes, not sound.\n" * 100, encoding="utf-8")
    return path


@pytest.fixture
def page(profile: NewProfile, app: App) -> Iterator[Page]:
    """The app's page in a fresh browser profile; a script error on it fails the test."""
    context = profile()
    opened = context.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.goto(app.url)
    opened.wait_for_selector("#start")
    yield opened
    context.close()
    assert errors == []
