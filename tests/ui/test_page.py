"""The page as people use it: a real browser, a real app, real speech."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pysubs2
from playwright.sync_api import Page, expect

from core.models import MODELS
from tests.apps import App
from tests.spoken import MAX_WER, word_errors
from tests.ui.conftest import plain_text

WATCH = """() => {
    window.seen = [];
    const look = () => {
        const bar = document.querySelector('#jobs progress');
        window.seen.push({
            value: bar ? bar.value : null,
            cues: document.querySelectorAll('#cues li').length,
            ended: document.querySelector('#jobs .verdict') !== null,
        });
    };
    new MutationObserver(look).observe(
        document.body, {subtree: true, childList: true, attributes: true});
}"""


def upload(page: Page, *paths: Path) -> None:
    page.set_input_files("#files input[type=file]", list(paths))
    expect(page.locator("#files .file")).to_have_count(len(paths))


def choose(page: Page, field: str, label: str) -> None:
    page.locator(f"{field} input").click()
    page.get_by_role("option", name=re.compile(label)).click()


def download(page: Page, name: str) -> tuple[str, str]:
    """Suggested file name and text of a download."""
    with page.expect_download() as started:
        page.get_by_role("navigation", name="Downloads").get_by_text(name, exact=True).click()
    path = started.value.path()
    return started.value.suggested_filename, Path(path).read_text(encoding="utf-8")


def test_a_recording_becomes_subtitles_that_appear_while_it_runs(
    page: Page, long_recording: Path, transcripts: list[str]
) -> None:
    page.evaluate(WATCH)
    page.get_by_role("button", name="Advanced").click()
    expect(page.get_by_label("Words to expect")).to_be_visible()
    upload(page, long_recording)
    page.click("#start")
    expect(page.locator("#cancel")).to_be_enabled()
    verdict = page.locator("#jobs .verdict")
    expect(verdict).to_have_text(
        re.compile(r"^Complete: \d+ cues, [\d.]+x real time, language English$")
    )
    seen: list[dict[str, Any]] = page.evaluate("window.seen")
    values = [look["value"] for look in seen if look["value"] is not None]
    assert values == sorted(values)
    assert len(set(values)) >= 3, "the bar moves"
    assert any(look["cues"] and not look["ended"] for look in seen), "cues come before the end"
    name, srt = download(page, "SRT")
    assert name == "long talk.srt"
    assert word_errors(" ".join(transcripts * 4), plain_text(srt)).wer <= MAX_WER
    expect(page.locator("#cues li")).to_have_count(len(pysubs2.SSAFile.from_string(srt)))
    expect(page.locator("#start")).to_be_enabled()
    expect(page.locator("#cancel")).to_be_disabled()


def test_the_player_plays_from_a_cue_with_captions(page: Page) -> None:
    page.click("#example")
    # The end of a job brings a new player, with captions.
    expect(page.locator("#jobs .verdict")).to_contain_text("Complete")
    expect(page.locator("#player video track")).to_be_attached()
    # Slowly, and stopped once it plays: a slow browser must not look when the cue is over.
    page.evaluate("document.querySelector('#player video').playbackRate = 0.0625")
    page.locator("#cues li button").nth(2).click()
    page.wait_for_function("document.querySelector('#player video').played.length")
    page.evaluate("document.querySelector('#player video').pause()")
    wanted = page.locator("#cues li span").nth(2).inner_text()
    expect(page.locator("#player .caption")).to_have_text(
        re.compile(r"\s+".join(map(re.escape, wanted.split())))
    )
    expect(page.locator("#cues li").nth(2)).to_have_attribute("aria-current", "true")


def test_the_example_runs_with_one_click_and_gives_every_format(
    page: Page, app: App, transcripts: list[str]
) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    page.click("#example")
    expect(page.locator("#jobs .verdict")).to_contain_text("Complete")
    names = [download(page, name)[0] for name in ("SRT", "VTT", "TXT", "TSV", "JSON")]
    assert names == [f"printing.{x}" for x in ("srt", "vtt", "txt", "tsv", "json")]
    page.get_by_role("tab", name="Text").click()
    text = page.locator("#text textarea")
    expect(text).not_to_have_value("")
    assert word_errors(" ".join(transcripts[:5]), text.input_value()).wer <= MAX_WER
    strangers = [url for url in asked if not url.startswith((app.url, "data:", "blob:"))]
    assert strangers == [], "the page needs no other server"
    assert asked


def test_cancel_ends_a_job_whose_workers_do_not_listen_and_says_so(
    page: Page, app: App, long_recording: Path
) -> None:
    upload(page, long_recording)
    with app.standing_still():
        page.click("#start")
        page.wait_for_selector("#jobs progress")
        page.click("#cancel")
        expect(page.locator("#jobs .verdict")).to_have_text("Cancelled. Nothing was written.")
    expect(page.locator("#start")).to_be_enabled()


def test_an_unreadable_file_is_explained_and_the_next_job_runs(
    page: Page, not_a_recording: Path, recording: Path
) -> None:
    upload(page, not_a_recording, recording)
    page.click("#start")
    problem = page.locator("#jobs .problem")
    expect(problem).to_contain_text("is not an audio or video file")
    expect(problem).to_contain_text("Check that it plays in a media player")
    expect(page.locator("#jobs .job")).to_have_count(2)
    expect(page.locator("#jobs .verdict")).to_contain_text("Complete")
    # The second recording's result is shown when asked for.
    page.get_by_role("radio", name="2. printing.flac").check()
    expect(page.locator("#cues li").first).to_contain_text(re.compile(r"\w{3}"))


def test_translation_is_not_offered_by_models_that_cannot(page: Page) -> None:
    translate = page.get_by_label("Translate to English")
    choose(page, "#model", r"^base \(")
    expect(translate).to_be_enabled()
    expect(page.locator("#model")).to_contain_text(MODELS["base"].advice)
    choose(page, "#model", r"^tiny\.en \(")
    expect(page.locator("#model")).to_contain_text(MODELS["tiny.en"].advice)
    expect(translate).to_be_disabled()
    expect(page.locator("#task")).to_contain_text("tiny.en understands English only")
    choose(page, "#model", "^large-v3-turbo")
    expect(page.locator("#task")).to_contain_text("large-v3-turbo cannot translate")


def test_the_multilingual_model_finds_the_language(
    page: Page, recording: Path, transcripts: list[str], base: Path
) -> None:
    choose(page, "#model", r"^base \(")
    upload(page, recording)
    page.click("#start")
    expect(page.locator("#jobs .verdict")).to_contain_text("language English")
    srt = download(page, "SRT")[1]
    assert word_errors(" ".join(transcripts), plain_text(srt)).wer <= MAX_WER


def test_a_page_that_is_loaded_again_finds_its_job(page: Page, app: App, recording: Path) -> None:
    upload(page, recording)
    page.click("#start")
    page.wait_for_selector("#jobs progress")
    # Without the link too: the browser remembers.
    page.goto(app.url)
    expect(page.locator("#jobs .job")).to_contain_text("printing.flac")
    expect(page.locator("#jobs .verdict")).to_contain_text("Complete")
    expect(page.locator("#player video track")).to_have_count(1)


def test_start_without_a_recording_says_what_to_do(page: Page) -> None:
    page.click("#start")
    expect(page.get_by_text("Add a recording first")).to_be_visible()
    expect(page.locator("#start")).to_be_enabled()


def test_the_page_fits_a_phone(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    page.click("#example")
    expect(page.locator("#player video")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
