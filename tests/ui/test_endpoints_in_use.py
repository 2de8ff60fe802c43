"""The whole way of an endpoint in the browser: add, test, activate, transcribe, and switch one
off while it works."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.apps import App, running_app
from tests.browser import NewProfile
from tests.endpoints.known_speech import Speech, speech_of
from tests.endpoints.server import SpeechServer
from tests.spoken import MAX_WER, word_errors
from tests.ui.conftest import plain_text
from tests.ui.test_endpoints import fill
from tests.ui.test_page import download, upload
from tests.waiting import eventually


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, tiny_en: Path) -> Iterator[App]:
    """Another of these services, which serves as an endpoint."""
    with running_app(tmp_path_factory.mktemp("lab"), WHISPER_WORKERS="1") as app:
        app.wait_ready()
        yield app


@pytest.fixture
def office(tmp_path: Path, tiny_en: Path) -> Iterator[App]:
    """The service whose page is used. It must not finish by itself what endpoints should do."""
    with running_app(
        tmp_path,
        WHISPER_WORKERS="1",
        WHISPER_PRELOAD_MODEL="false",
        WHISPER_ENDPOINTS_DOWN="wait",
    ) as app:
        yield app


@pytest.fixture(scope="module")
def speech() -> Speech:
    """Two minutes: enough segments that one is left for each step."""
    return speech_of([*range(8)] * 2, (1.0,))


def test_the_whole_way_of_an_endpoint(
    office: App, lab: App, speech: Speech, profile: NewProfile, tmp_path: Path
) -> None:
    recording = speech.recording.write(tmp_path / "talk.wav")
    page = profile().new_page()
    page.goto(office.url)
    page.wait_for_selector("#start")
    with SpeechServer(speech) as rack:
        page.get_by_role("tab", name="System").click()
        in_lab = _add(page, "Lab", f"{lab.url}/v1/audio/transcriptions", "tiny.en")
        in_rack = _add(page, "Rack", rack.endpoint("openai").api_url, "whisper-tiny")
        # A server that is out of memory says what to do there; a good one passes.
        rack.behaviour = "oom"
        in_rack.get_by_role("button", name="Test connection").click()
        expect(in_rack).to_contain_text("out of GPU memory")
        expect(in_rack).to_contain_text("ps -fp 12345")
        in_lab.get_by_role("button", name="Test connection").click()
        expect(in_lab.locator("[aria-label=Fine]").first).to_be_visible()
        expect(in_lab.locator("[aria-label=Failed]")).to_have_count(0)
        in_rack.get_by_role("button", name="Make default").click()
        for row in (in_rack, in_lab):
            row.get_by_role("button", name="Activate").click()
            expect(row.get_by_role("button", name="Deactivate")).to_be_visible()
        # The default works, then hangs; switched off, it loses its work to the other.
        asked = rack.count
        rack.behaviour = "hang"
        rack.script += ["right", "right"]
        page.get_by_role("tab", name="Transcribe").click()
        page.locator("#where input").click()
        page.get_by_role("option", name="Endpoints only").click()
        expect(page.locator("#where")).to_contain_text("The audio is sent to")
        upload(page, recording)
        page.click("#start")
        eventually(lambda: rack.count >= asked + 3, "the default hangs")
        page.get_by_role("tab", name="System").click()
        in_rack.get_by_role("button", name="Deactivate").click()
        page.get_by_role("tab", name="Transcribe").click()
        expect(page.locator("#jobs .verdict")).to_contain_text("Complete")
    (job,) = office.get("/api/jobs")[1]["jobs"]
    devices = office.get(f"/api/jobs/{job['id']}")[1]["report"]["devices"]
    assert {*devices} == {"Endpoint Rack", "Endpoint Lab"}
    expect(page.locator("#jobs")).to_contain_text("Endpoint Rack")
    said = " ".join(word.text for word in speech.words)
    assert word_errors(said, plain_text(download(page, "SRT")[1])).wer <= MAX_WER


def _add(page: Page, name: str, address: str, model: str) -> Locator:
    fill(page, name=name, api_url=address, model_name=model)
    page.click("#endpoint-save")
    row = page.locator(f'tbody[data-endpoint="{name.lower()}"]')
    expect(row).to_contain_text(model)
    expect(page.locator("#endpoint-api_url textarea, #endpoint-api_url input")).to_have_value("")
    return row
