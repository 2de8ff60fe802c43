"""The strip under the player: where things are drawn, and that long recordings stay small."""

from __future__ import annotations

import re
from dataclasses import replace

from core.types import Cue, Gap
from jobs.records import JobView
from jobs.states import JobState
from tests.ui.test_render import COMPLETE, RUNNING, Reader
from ui import timeline


def strip(view: JobView) -> Reader:
    return Reader(timeline.strip(view))


def test_text_and_gaps_lie_where_they_are_in_the_recording() -> None:
    cues = (Cue(20_000, 40_000, ("a",)), Cue(100_000, 150_000, ("b",)))
    view = replace(COMPLETE, total_s=200.0, cues=cues, gaps=(Gap(50.0, 60.0, "lost"),))
    shown = strip(view)
    (path,) = shown.attributes("path")
    assert path["d"] == "M100.0 6h100.0v12h-100.0zM500.0 6h250.0v12h-250.0z"
    (gap,) = [r for r in shown.attributes("rect") if r["class"] == "gap"]
    assert (gap["x"], gap["width"]) == ("250.0", "50.0")
    assert "0:50 to 1:00: lost" in shown.text
    (picture,) = shown.attributes("svg")
    assert picture["aria-label"] == "Timeline: all of 3:20 done, 1 gap"


def test_a_gap_is_seen_however_short_and_nothing_leaves_the_strip() -> None:
    gaps = (Gap(35_999.9, 36_000.0, "lost"), Gap(36_500.0, 36_600.0, "after the end"))
    shown = strip(replace(COMPLETE, total_s=36_000.0, gaps=gaps))
    for gap in (r for r in shown.attributes("rect") if r["class"] == "gap"):
        x, width = float(gap["x"] or ""), float(gap["width"] or "")
        assert width == timeline.MIN_GAP
        assert 0.0 <= x <= timeline.WIDTH - width


def test_a_day_of_speech_is_still_a_small_picture() -> None:
    cues = tuple(Cue(i * 3000, i * 3000 + 2500, ("words",)) for i in range(28_800))
    markup = timeline.strip(replace(COMPLETE, total_s=86_400.0, cues=cues))
    assert len(markup) < 30_000
    assert len(re.findall("M", markup)) <= timeline.WIDTH / timeline.CLOSE


def test_a_running_job_shows_how_far_its_text_is() -> None:
    shown = strip(replace(RUNNING, total_s=40.0))
    (done,) = [r for r in shown.attributes("rect") if r["class"] == "done"]
    assert (done["x"], done["width"]) == ("0.0", "100.0")
    assert timeline.strip(replace(RUNNING, total_s=None)) == ""
    assert timeline.strip(replace(RUNNING, total_s=0.0, state=JobState.QUEUED)) == ""
