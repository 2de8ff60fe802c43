"""What the page draws: every state in words, and nothing that a recording's words could break."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from core.errors import UnreadableMedia
from core.types import Cue, Gap, JobReport
from jobs.job import JobState, JobView
from ui import render, wording

NASTY = """<script>alert(1)</script>"'&{{#each x}}${y}`"""
LINKS = "jobs/secret"


class Reader(HTMLParser):
    """Elements and text of markup; fails on markup that is not balanced."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(markup)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("br", "track"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements if name == tag]


RUNNING = JobView(
    id="secret",
    name="talk.mp3",
    state=JobState.RUNNING,
    version=3,
    fraction=0.42,
    done_s=84.0,
    total_s=200.0,
    remaining_s=11.2,
    language="en",
    devices={"GPU 1": "waiting", "GPU 0": "segment 3 (24.1s)"},
    cues=(Cue(1000, 2500, ("Hello", "world.")), Cue(3000, 4000, ("Bye.",))),
)
REPORT = JobReport(
    audio_s=200.0,
    speech_s=150.0,
    load_s=1.0,
    elapsed_s=7.1,
    decode_s=0.4,
    vad_s=0.5,
    transcribe_s=6.0,
    speed=28.3,
    model="base",
    language="en",
    devices=("GPU 0",),
)
COMPLETE = replace(
    RUNNING,
    state=JobState.COMPLETE,
    fraction=1.0,
    devices={},
    report=REPORT,
    outputs={"srt": Path("talk.srt"), "vtt": Path("talk.vtt")},
)
GAPS = (Gap(65.0, 72.4, "the model crashed"), Gap(100.0, 101.0, "no words were found"))


def card(view: JobView, name: str = "talk.mp3") -> Reader:
    return Reader(render.card(name, view, LINKS, ["srt", "vtt"]))


def test_a_running_job_shows_how_far_it_is_and_what_each_device_does() -> None:
    shown = card(RUNNING)
    (bar,) = shown.attributes("progress")
    assert (bar["value"], bar["max"]) == ("42.0", "100")
    assert bar["aria-label"] == "Progress of talk.mp3"
    for words in ("1:24 of 3:20", "42 %", "about 12 s left", "English"):
        assert words in shown.text
    assert shown.text.index("GPU 0 segment 3") < shown.text.index("GPU 1 waiting")


def test_a_waiting_job_says_what_it_waits_for() -> None:
    view = replace(RUNNING, state=JobState.QUEUED, message="Waiting for a free place, 2 before it")
    assert "Waiting for a free place, 2 before it" in card(view).text


@pytest.mark.parametrize(
    ("view", "line"),
    [
        (COMPLETE, "Complete: 2 cues, 28x real time, language English"),
        (
            replace(COMPLETE, state=JobState.COMPLETE_WITH_GAPS, gaps=GAPS),
            "Finished with 2 gaps: 2 cues, 28x real time, language English",
        ),
        (replace(COMPLETE, cues=(), language=None), "No speech was found."),
        (replace(RUNNING, state=JobState.CANCELLED), "Cancelled. Nothing was written."),
    ],
)
def test_the_final_line_says_how_it_ended(view: JobView, line: str) -> None:
    shown = card(view)
    assert line in shown.text
    assert "progress" not in dict(shown.elements)
    assert {"class": "verdict", "role": "status"} in shown.attributes("p")


def test_gaps_are_shown_with_times_and_reason() -> None:
    many = tuple(Gap(float(i), i + 0.5, "lost") for i in range(50))
    shown = card(replace(COMPLETE, state=JobState.COMPLETE_WITH_GAPS, gaps=GAPS))
    assert "1:05 to 1:12: the model crashed" in shown.text
    assert {"class": "gaps"} in shown.attributes("div")
    assert "and 30 more" in card(replace(COMPLETE, gaps=many)).text


def test_a_failure_shows_message_and_hint() -> None:
    error = UnreadableMedia("talk.mp3 is empty.", hint="Record it again.")
    shown = card(replace(RUNNING, state=JobState.FAILED, error=error))
    assert "talk.mp3 is empty. Record it again." in shown.text


def test_downloads_are_the_formats_that_were_chosen() -> None:
    shown = Reader(render.card("talk.mp3", COMPLETE, LINKS, ["srt"]))
    assert [a["href"] for a in shown.attributes("a")] == ["jobs/secret/files/srt"]


def test_nothing_a_recording_says_becomes_markup() -> None:
    cue = Cue(0, 1000, (NASTY,))
    view = replace(
        RUNNING,
        devices={NASTY: NASTY},
        message=NASTY,
        language=NASTY,
        cues=(cue,),
        gaps=(Gap(0.0, 1.0, NASTY),),
    )
    failed = replace(view, state=JobState.FAILED, error=UnreadableMedia(NASTY, hint=NASTY))
    ended = replace(COMPLETE, language=NASTY, cues=(cue,))
    for markup in (
        render.card(NASTY, view, NASTY, [NASTY]),
        render.card(NASTY, failed, NASTY, [NASTY]),
        render.card(NASTY, ended, NASTY, ["srt"]),
        render.refused(NASTY, NASTY, NASTY),
        render.cue_list(view),
        render.player(ended, NASTY),
    ):
        shown = Reader(markup)
        assert "script" not in dict(shown.elements)
        assert not any(key.startswith("on") for _, attrs in shown.elements for key in attrs)
    assert NASTY in Reader(render.cue_list(view)).text


def test_cues_show_time_and_text_and_where_to_play_from() -> None:
    shown = Reader(render.cue_list(RUNNING))
    assert [b["data-start"] for b in shown.attributes("button")] == ["1.000", "3.000"]
    assert shown.text == "0:01Helloworld.0:03Bye."


def test_a_running_job_sends_only_its_newest_cues() -> None:
    cues = tuple(Cue(i * 1000, i * 1000 + 900, (f"cue {i}",)) for i in range(500))
    live = Reader(render.cue_list(replace(RUNNING, cues=cues)))
    assert len(live.attributes("li")) == render.LIVE_CUES
    assert "cue 499" in live.text
    assert "The last 100 of 500 cues" in live.text
    assert len(Reader(render.cue_list(replace(COMPLETE, cues=cues))).attributes("li")) == 500


def test_the_player_comes_with_its_captions_and_only_when_there_are_some() -> None:
    shown = Reader(render.player(COMPLETE, LINKS))
    (video,), (track,) = shown.attributes("video"), shown.attributes("track")
    assert video["src"] == "jobs/secret/recording"
    assert (track["src"], track["srclang"]) == ("jobs/secret/files/vtt", "en")
    assert render.player(RUNNING, LINKS) == ""
    assert render.player(replace(COMPLETE, cues=()), LINKS) == ""


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "almost done"),
        (11.2, "about 12 s left"),
        (61, "about 2 min left"),
        (9000, "about 2.5 h left"),
    ],
)
def test_time_left_is_as_coarse_as_the_guess(seconds: float, words: str) -> None:
    assert wording.time_left(seconds) == words


@pytest.mark.parametrize(("seconds", "shown"), [(0, "0:00"), (59.99, "0:59"), (3661, "1:01:01")])
def test_times_are_those_of_players(seconds: float, shown: str) -> None:
    assert wording.clock(seconds) == shown
