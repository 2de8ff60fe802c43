"""What the page draws: every state in words, and nothing that a recording's words could break."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from core.errors import UnreadableMedia
from core.types import Cue, Gap, JobReport, SegmentReport
from jobs.records import HistoryEntry, JobView
from jobs.request import JobRequest
from jobs.states import JobState
from ui import render, timeline, wording

NASTY = """<script>alert(1)</script>"'&{{#each x}}${y}`"""


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
    owner="local",
    client="local",
    request=JobRequest(path=Path("talk.mp3")),
    created_at=0.0,
    storage_id="here",
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


def card(view: JobView, *, mine: bool = True) -> Reader:
    return Reader(render.card(view, mine=mine))


def acts(shown: Reader) -> list[str | None]:
    return [button["data-act"] for button in shown.attributes("button") if "data-act" in button]


def test_a_running_job_shows_how_far_it_is_and_what_each_device_does() -> None:
    shown = card(RUNNING)
    (bar,) = shown.attributes("progress")
    assert (bar["value"], bar["max"]) == ("42.0", "100")
    assert bar["aria-label"] == "Progress of talk.mp3"
    for words in ("1:24 of 3:20", "42%", "about 12 s left", "English"):
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


def test_a_job_that_left_this_machine_says_who_did_what() -> None:
    devices = ["Endpoint Office", "CPU 0", "Endpoint Office"]
    segments = tuple(
        SegmentReport(
            index=i, start_s=i, end_s=i + 1, windows=1, texts=1, elapsed_s=1, device=device
        )
        for i, device in enumerate(devices)
    )
    done = replace(COMPLETE, report=replace(REPORT, segments=segments))
    told = "Decoded by CPU 0: 1 segment; Endpoint Office: 2 segments."
    assert told not in card(done).text
    assert told in card(replace(done, request=done.request.choosing(where="shared"))).text


def test_every_state_has_its_own_words_and_its_own_look() -> None:
    words, looks = set(), set()
    for state in JobState:
        shown = card(replace(RUNNING, state=state))
        (look,) = [a["class"] for a in shown.attributes("article")]
        looks.add(look)
        words.add(wording.STATES[state])
        assert wording.STATES[state] in shown.text
    assert len(words) == len(looks) == len(JobState)


def test_a_paused_job_says_that_it_goes_on() -> None:
    view = replace(RUNNING, state=JobState.PAUSED, message="Paused: the service was stopped.")
    assert "the job resumes when the service is back" in card(view).text
    assert view.message not in card(view).text, "once is enough"


def test_only_who_may_change_a_job_is_offered_to() -> None:
    assert acts(card(RUNNING)) == ["cancel_job"]
    assert acts(card(RUNNING, mine=False)) == []
    assert acts(card(COMPLETE)) == ["run_again", "delete_job"]
    assert acts(card(COMPLETE, mine=False)) == ["run_again"]


def test_gaps_are_shown_with_times_and_reason_and_can_be_played() -> None:
    many = tuple(Gap(float(i), i + 0.5, "lost") for i in range(50))
    shown = Reader(render.gap_list(GAPS))
    assert "1:05 to 1:12" in shown.text
    assert "the model crashed" in shown.text
    assert [b["data-start"] for b in shown.attributes("button")] == ["65.000", "100.000"]
    assert "and 30 more" in Reader(render.gap_list(many)).text
    assert render.gap_list(()) == ""


def test_history_is_a_line_for_each_thing_that_happened() -> None:
    entries = [HistoryEntry(1e9, "submitted", "Submitted: a"), HistoryEntry(1e9 + 5, "x", "Died")]
    shown = Reader(render.history(entries))
    assert len(shown.attributes("li")) == 2
    assert "2001-09-09 01:46:40 UTC" in shown.text, "readable without the page's script"
    assert [t["show"] for t in shown.attributes("local-time")] == ["moment", "clock"]


def test_a_failure_shows_message_and_hint() -> None:
    error = UnreadableMedia("talk.mp3 is empty.", hint="Record it again.")
    shown = card(replace(RUNNING, state=JobState.FAILED, error=error))
    assert "talk.mp3 is empty. Record it again." in shown.text


def test_downloads_are_the_files_there_are() -> None:
    shown = Reader(render.downloads("secret", ["vtt", "srt", "unknown"]))
    assert [a["href"] for a in shown.attributes("a")] == [
        "jobs/secret/files/srt",
        "jobs/secret/files/vtt",
    ]
    assert render.downloads("secret", []) == ""


def test_nothing_a_recording_says_becomes_markup() -> None:
    cue, gap = Cue(0, 1000, (NASTY,)), Gap(0.0, 1.0, NASTY)
    view = replace(
        RUNNING,
        id=NASTY,
        name=NASTY,
        devices={NASTY: NASTY},
        message=NASTY,
        language=NASTY,
        cues=(cue,),
        gaps=(gap,),
    )
    failed = replace(view, state=JobState.FAILED, error=UnreadableMedia(NASTY, hint=NASTY))
    ended = replace(COMPLETE, id=NASTY, name=NASTY, language=NASTY, cues=(cue,), gaps=(gap,))
    for markup in (
        render.card(view, mine=True),
        render.card(failed, mine=True),
        render.card(ended, mine=True),
        render.refused(NASTY, NASTY, NASTY, NASTY),
        render.cue_list(view),
        render.gap_list((gap,)),
        render.history([HistoryEntry(0.0, NASTY, NASTY)]),
        render.player(ended),
        timeline.strip(ended),
    ):
        shown = Reader(markup)
        assert "script" not in dict(shown.elements)
        assert not any(key.startswith("on") for _, attrs in shown.elements for key in attrs)
    assert NASTY in Reader(render.cue_list(view)).text


def test_characters_that_turn_or_break_the_page_are_left_out() -> None:
    shown = card(replace(COMPLETE, name="\u202egnp.exe\x00\x1b[31m\r\n\u2028.mp3"))
    assert "gnp.exe [31m .mp3" in shown.text
    assert not set("\u202e\x00\x1b\r\n\u2028") & set(shown.text)
    assert len(card(replace(COMPLETE, name="x" * 5000)).text) < 400
    for markup in (
        render.card(replace(RUNNING, message="a\u202eb"), mine=True),
        render.gap_list((Gap(0.0, 1.0, "a\u202eb"),)),
        render.cue_list(replace(RUNNING, cues=(Cue(0, 1, ("a\u202eb",)),))),
        render.history([HistoryEntry(0.0, "x", "a\u202eb")]),
    ):
        assert "ab" in Reader(markup).text


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


def test_the_player_comes_with_the_recording_and_its_captions_when_they_are_made() -> None:
    shown = Reader(render.player(COMPLETE))
    (video,), (track,) = shown.attributes("video"), shown.attributes("track")
    assert video["src"] == "jobs/secret/recording"
    assert (track["src"], track["srclang"]) == ("jobs/secret/files/vtt?0", "en")
    running = Reader(render.player(RUNNING))
    assert running.attributes("video") == [video]
    assert running.attributes("track") == []
    assert render.player(replace(RUNNING, total_s=None)) == ""
    assert render.player(replace(RUNNING, state=JobState.FAILED)) == ""


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
