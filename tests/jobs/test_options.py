"""A job's options: one model for every front."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cli.arguments import parser
from core.errors import InvalidOption
from core.settings import Settings
from core.types import DecodeOptions, PlanOptions
from jobs.options import OPTIONS, JobOptions, bounds, read_options, shown
from scripts.option_table import table
from ui.options import FIELDS

NOT_ON_THE_COMMAND_LINE = {"use_vad", "multi_gpu"}
NOT_ON_THE_PAGE = {"use_vad", "word_timestamps", "device"}


def test_every_front_has_the_same_options(root: Path) -> None:
    flags = {name for name in OPTIONS if shown(name).flag}
    assert flags == OPTIONS.keys() - NOT_ON_THE_COMMAND_LINE
    arguments = vars(parser().parse_args(["transcribe", "a.wav"]))
    assert flags <= arguments.keys()
    assert set(FIELDS) == OPTIONS.keys() - NOT_ON_THE_PAGE
    assert table() in (root / "docs" / "api.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_says_what_it_does_and_its_slider_keeps_its_bounds(name: str) -> None:
    assert OPTIONS[name].description
    slider, (low, high) = shown(name).slider, bounds(OPTIONS[name])
    if slider:
        assert low is None or slider[0] >= low
        assert high is None or slider[1] <= high


def test_what_is_left_out_is_as_the_settings_say() -> None:
    options, settings = JobOptions(), Settings(beam_size=2, batch_size=3)
    assert options.decode(settings) == DecodeOptions(beam_size=2, batch_size=3)
    assert JobOptions(beam_size=1, language="de").decode(settings) == DecodeOptions(
        language="de", beam_size=1, batch_size=3
    )
    assert options.plan == PlanOptions()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"language": " AUTO "}, {"language": None}),
        ({"language": "", "hotwords": None}, {}),
        ({"formats": "SRT, vtt,srt"}, {"formats": ("srt", "vtt")}),
        ({"formats": ["json"]}, {"formats": ("json",)}),
        ({"formats": "all"}, {"formats": ("srt", "vtt", "txt", "tsv", "json")}),
        ({"beam_size": "3", "multi_gpu": "false"}, {"beam_size": 3, "multi_gpu": False}),
        ({"batch_size": 4.0}, {"batch_size": 4}),
    ],
)
def test_options_are_read_as_a_form_or_an_address_writes_them(
    given: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert read_options(given, JobOptions) == JobOptions(**expected)


def test_every_wrong_option_is_named_in_one_sentence_each() -> None:
    with pytest.raises(InvalidOption) as caught:
        read_options({"beam_size": 0, "task": "sing", "audio_track": -1, "size": 1}, JobOptions)
    for sentence in (
        "Beam size (beam_size) must be between 1 and 20, not 0.",
        "Task (task) must be 'transcribe' or 'translate', not 'sing'.",
        "Audio track (audio_track) must be at least 0, not -1.",
        "There is no option 'size'.",
    ):
        assert sentence in caught.value.message
    assert "vad_threshold" in caught.value.hint
