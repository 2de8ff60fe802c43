"""Jobs that belong to the service: links, the list, gaps, restarts and names that want to be more,
in a real browser with the real service."""

from __future__ import annotations

import re
import signal
import time
from dataclasses import replace
from pathlib import Path

from playwright.sync_api import Dialog, Page, expect

from core.types import Gap
from jobs.records import HistoryEntry
from jobs.states import JobState
from tests.apps import App, start_app, stop_app
from tests.browser import NewProfile
from tests.ui import stored
from tests.ui.test_page import upload
from tests.waiting import PATIENCE_S, eventually

NASTY = (
    "\u202egnp.\u202c<script>document.title='broken'</script><img src=x onerror=\"hacked=1\">"
    "'\"&`${hacked=1}{{hacked}} -->\r\nSet-Cookie: a\x00\x1b[31m \u05e9\u05dc\u05d5\u05dd 🎬 "
    + "very long " * 60
    + ".flac"
)


def job_id(page: Page) -> str:
    """The job of the address bar."""
    page.wait_for_url(re.compile(r"[?&]job="))
    return page.url.rpartition("job=")[2]


def rows(page: Page) -> None:
    page.get_by_role("tab", name="Jobs").click()
    expect(page.locator("#job-list .count")).to_be_visible()


def test_a_link_shows_the_running_job_in_another_browser_after_the_tab_was_closed(
    page: Page, app: App, profile: NewProfile, long_recording: Path
) -> None:
    upload(page, long_recording)
    page.click("#start")
    link = f"{app.url}/?job={job_id(page)}"
    assert page.url == link
    page.wait_for_selector("#jobs progress")
    page.goto("about:blank")
    other = profile().new_page()
    other.goto(link)
    expect(other.locator("#jobs .job")).to_contain_text("long talk.flac")
    expect(other.locator("#jobs .verdict")).to_contain_text("Complete")
    expect(other.locator("#player video track")).to_have_count(1)
    expect(other.locator("#timeline svg .speech")).to_have_count(1)
    expect(other.locator("#cues li").first).to_contain_text(re.compile(r"\w{3}"))
    other.get_by_role("tab", name="What happened").click()
    lines = other.locator("#history li")
    expect(lines.first).to_contain_text("Submitted: long talk.flac")
    expect(lines.last).to_contain_text("Complete.")
    # A click on the timeline plays from there.
    box = other.locator("#timeline svg").bounding_box()
    assert box is not None
    other.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    other.wait_for_function("Math.abs(document.querySelector('video').currentTime - 104) < 10")


def test_a_link_to_no_job_says_so_and_what_to_do(page: Page, app: App) -> None:
    page.goto(f"{app.url}/?job=%3Cb%3Enowhere%22%27")
    problem = page.locator("#jobs .problem")
    expect(problem).to_contain_text("There is no job with this link")
    expect(problem).to_contain_text("removed 24 hours after they end")
    expect(page.locator("#start")).to_be_enabled()


def test_the_list_searches_filters_and_turns_its_pages(page: Page, app: App) -> None:
    made = [
        stored.record(
            app.data_dir,
            f"Vorlesung 100%_{number:02d}.mp3",
            JobState.FAILED if number == 7 else JobState.CANCELLED,
            created_at=time.time() - 3600 + number,
        )
        for number in range(25)
    ]
    stored.insert(app.data_dir, *made)
    rows(page)
    page.get_by_label("Search").fill("vorlesung 100%_")
    expect(page.locator("#job-list .count")).to_have_text("25 jobs, page 1 of 2")
    names = page.locator("#job-list .row-name")
    expect(names).to_have_count(20)
    expect(names.first).to_have_text("Vorlesung 100%_24.mp3")
    page.get_by_role("button", name="Older").click()
    expect(names).to_have_count(5)
    expect(names.last).to_have_text("Vorlesung 100%_00.mp3")
    page.get_by_label("State").click()
    page.get_by_role("option", name="Failed").click()
    expect(names).to_have_text(["Vorlesung 100%_07.mp3"])
    page.get_by_label("Search").fill(made[7].id[:10])
    expect(names).to_have_text(["Vorlesung 100%_07.mp3"])
    page.get_by_label("Search").fill("vorlesung 100x")
    expect(page.locator("#job-list")).to_contain_text("No matching jobs.")


def test_a_job_runs_again_with_other_files_and_is_deleted(
    page: Page, app: App, recording: Path
) -> None:
    first = stored.finished(app.data_dir, recording, "first run.flac", "Printing.")
    stored.insert(app.data_dir, first)
    rows(page)
    entry = page.locator("#job-list li", has_text="first run.flac")
    entry.get_by_role("button", name="Run again").click()
    expect(page.locator("#again")).to_contain_text("first run.flac")
    expect(page.get_by_label("SRT")).to_be_checked()
    expect(page.get_by_label("JSON")).not_to_be_checked()
    page.get_by_label("JSON").check()
    page.click("#start")
    expect(page.locator("#jobs .verdict")).to_contain_text("Complete")
    again = job_id(page)
    assert again != first.id
    expect(page.get_by_role("navigation", name="Downloads").get_by_text("JSON")).to_be_visible()
    page.once("dialog", lambda dialog: dialog.dismiss())
    page.locator("#jobs").get_by_role("button", name="Delete").click()
    expect(page.locator("#jobs .verdict")).to_contain_text("Complete")
    page.once("dialog", lambda dialog: dialog.accept())
    page.locator("#jobs").get_by_role("button", name="Delete").click()
    expect(page.locator("#jobs .empty")).to_be_visible()
    eventually(lambda: not (app.data_dir / "jobs" / again).exists(), "its files are gone")
    page.goto(f"{app.url}/?job={again}")
    expect(page.locator("#jobs .problem")).to_contain_text("no job with this link")
    # The recording of the first one is its own.
    assert (app.data_dir / "jobs" / first.id / "recording.flac").is_file()


def test_gaps_are_shown_and_tried_again(page: Page, app: App, recording: Path) -> None:
    gap = Gap(4.5, 51.0, "the worker died")
    job = stored.finished(app.data_dir, recording, "holes.flac", "Printing.", (gap,))
    stored.insert(app.data_dir, job)
    rows(page)
    entry = page.locator("#job-list li", has_text="holes.flac")
    expect(entry).to_contain_text("Finished with gaps")
    entry.get_by_role("button", name="Try the gaps again").click()
    expect(page.locator("#jobs .verdict")).to_contain_text("Finished with 1 gap")
    assert job_id(page) == job.id
    expect(page.get_by_role("tab", name="Subtitles")).to_be_visible()
    shown = page.locator("#timeline .gaps")
    expect(shown).to_contain_text("0:04 to 0:51")
    expect(shown).to_contain_text("the worker died")
    expect(page.locator("#timeline svg .gap")).to_have_count(1)
    shown.get_by_role("button").click()
    page.wait_for_function("document.querySelector('video').currentTime >= 4")
    expect(page.get_by_label("Model for the gaps")).to_have_value(re.compile(r"^tiny\.en"))
    page.click("#retry-go")
    expect(page.locator("#jobs .verdict")).to_contain_text("Complete: ")
    expect(page.locator("#timeline .gaps")).to_have_count(0)
    expect(page.locator("#retry")).to_have_count(0)
    expect(page.locator("#cues li").nth(4)).to_be_visible()


def test_a_waiting_job_is_cancelled_at_once_and_the_others_go_on(
    page: Page, app: App, long_recording: Path, tmp_path: Path
) -> None:
    files = []
    for name in ("one.flac", "two.flac", "three.flac"):
        (tmp_path / name).write_bytes(long_recording.read_bytes())
        files.append(tmp_path / name)
    upload(page, *files)
    with app.standing_still():
        page.click("#start")
        third = page.locator("#jobs .job", has_text="three.flac")
        expect(third).to_contain_text("Waiting for a free place")
        third.get_by_role("button", name="Cancel").click()
        expect(third).to_contain_text("Cancelled. Nothing was written.")
        first = page.locator("#jobs .job", has_text="one.flac")
        expect(first.locator("progress")).to_be_visible()
        page.click("#cancel")
        expect(page.locator("#jobs .job-cancelled")).to_have_count(3)


def test_no_name_text_or_reason_becomes_part_of_the_page(
    page: Page, app: App, recording: Path
) -> None:
    gap = Gap(4.5, 9.0, NASTY)
    job = stored.finished(app.data_dir, recording, NASTY, NASTY, (gap,))
    job = replace(job, request=replace(job.request, name=NASTY))
    stored.insert(app.data_dir, job, history=[HistoryEntry(time.time(), NASTY, NASTY)])
    page.goto(f"{app.url}/?job={job.id}")
    expect(page.locator("#jobs .verdict")).to_be_visible()
    expect(page.locator("#jobs h3")).to_contain_text("<script>document.title='broken'</script>")
    expect(page.locator("#timeline .gaps")).to_contain_text("onerror")
    page.get_by_role("tab", name="What happened").click()
    expect(page.locator("#history li")).to_contain_text("onerror")
    page.locator("#timeline svg .gap").hover()
    expect(page.locator(".timeline-tip")).to_contain_text("0:04 to 0:09")
    page.locator("#jobs").get_by_role("button", name="Run again").click()
    expect(page.locator("#again")).to_contain_text("<script>")
    rows(page)
    entry = page.locator("#job-list li", has_text="<script>").first
    said: list[str] = []

    def refuse(dialog: Dialog) -> None:
        said.append(dialog.message)
        dialog.dismiss()

    page.once("dialog", refuse)
    entry.get_by_role("button", name="Delete").click()
    assert "<script>" in said[0]
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("typeof hacked") == "undefined"
    assert page.title() == "Whisper for Subs"
    assert page.locator("img[src=x]").count() == 0
    assert "\u202e" not in page.content()


def test_an_open_page_recovers_by_itself_when_the_service_was_killed_and_started_again(
    profile: NewProfile, tmp_path: Path, tiny_en: Path, recording: Path
) -> None:
    app = start_app(tmp_path, WHISPER_WORKERS="1")
    port = app.url.rpartition(":")[2]
    context = profile()
    try:
        # One that looks at nothing too: its script remembers until it is loaded again.
        idle = context.new_page()
        idle.goto(app.url)
        idle.evaluate("window.before = true")
        page = context.new_page()
        page.goto(app.url)
        page.wait_for_selector("#start")
        upload(page, recording)
        page.click("#start")
        started = job_id(page)
        page.wait_for_selector("#jobs progress")
        app.process.send_signal(signal.SIGKILL)
        app.process.wait(PATIENCE_S)
        notice = page.get_by_text("The service cannot be reached")
        expect(notice).to_be_visible()
        app = start_app(tmp_path, WHISPER_PORT=port, WHISPER_WORKERS="1")
        expect(page.locator("#jobs .verdict")).to_contain_text("Complete")
        assert job_id(page) == started
        page.get_by_role("tab", name="What happened").click()
        expect(page.locator("#history")).to_contain_text("Taken over")
        expect(page.locator("#notice .notice")).to_be_hidden()
        idle.wait_for_function("window.before === undefined")
    finally:
        code = stop_app(app)
    assert code == 0
