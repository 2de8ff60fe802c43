from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.defaults import decode_options
from core.errors import FileMissing, InvalidOption, ModelError, SubtitleError, UnreadableMedia
from core.settings import Settings
from core.types import DecodeOptions, PlanOptions
from jobs.request import JobRequest, check, format_names, with_defaults
from tests.jobs.recordings import SHORT

GOOD = JobRequest(path=SHORT)
SETTINGS = Settings(model="tiny.en")

WRONG: list[tuple[dict[str, Any], type[SubtitleError], str]] = [
    ({"path": SHORT / "x"}, FileMissing, "x does not exist"),
    ({"path": SHORT.parent}, UnreadableMedia, "is a folder"),
    ({"path": Path("a\0b")}, UnreadableMedia, "cannot be opened"),
    ({"model": "tinny"}, ModelError, "Did you mean 'tiny'"),
    ({"model": "someone/model"}, ModelError, "WHISPER_ALLOWED_HUB_MODELS"),
    ({"compute_type": "int7"}, InvalidOption, "float16"),
    ({"compute_type": "int4"}, InvalidOption, "int8"),
    ({"formats": ()}, InvalidOption, "No subtitle format"),
    ({"formats": ("srt", "doc")}, InvalidOption, "srt, vtt"),
    ({"audio_track": -1}, InvalidOption, "counted from 0"),
    ({"decode": DecodeOptions(language="klingon")}, InvalidOption, "Unknown language"),
    ({"decode": DecodeOptions(language="zh")}, ModelError, "multilingual"),
    ({"decode": DecodeOptions(task="translate")}, ModelError, "cannot translate"),
    ({"decode": DecodeOptions(beam_size=0)}, InvalidOption, "between 1 and 20"),
    ({"decode": DecodeOptions(batch_size=129)}, InvalidOption, "between 1 and 128"),
    ({"plan": PlanOptions(vad_threshold=1.0)}, InvalidOption, "between 0 and 1"),
    ({"plan": PlanOptions(vad_threshold=float("nan"))}, InvalidOption, "between 0 and 1"),
    ({"plan": PlanOptions(min_segment_duration=70.0)}, InvalidOption, "minimum"),
    ({"output_dir": SHORT / "x"}, InvalidOption, "may write to"),
]


@pytest.mark.parametrize(("change", "kind", "words"), WRONG)
def test_what_cannot_work_is_refused_with_a_reason(
    change: dict[str, Any], kind: type[SubtitleError], words: str
) -> None:
    check(GOOD, SETTINGS)
    with pytest.raises(kind) as caught:
        check(replace(GOOD, **change), SETTINGS)
    assert words in caught.value.explain()


def test_an_output_never_replaces_its_recording(tmp_path: Path) -> None:
    recording = tmp_path / "talk.txt"
    recording.write_bytes(SHORT.read_bytes())
    request = JobRequest(path=recording, formats=("txt",), output_dir=tmp_path)
    with pytest.raises(InvalidOption, match="replace the recording"):
        check(request, SETTINGS)
    check(replace(request, formats=("srt",)), SETTINGS)


def test_what_a_request_leaves_open_the_settings_decide(tmp_path: Path) -> None:
    settings = Settings(model="small", compute_type="int8", beam_size=2, batch_size=3)
    assert with_defaults(GOOD, settings).model == "small"
    assert with_defaults(GOOD, settings).compute_type == "int8"
    # What GPUs alone can do says nothing of a job for the CPU.
    for_gpus = Settings(compute_type="float16")
    assert with_defaults(GOOD, for_gpus).compute_type == "float16"
    assert with_defaults(replace(GOOD, device="cpu"), for_gpus).compute_type == "auto"
    assert with_defaults(replace(GOOD, device="cpu"), settings).compute_type == "int8"
    named = replace(GOOD, model="base", compute_type="float32")
    assert with_defaults(named, settings) == named
    assert decode_options(settings, language=None) == DecodeOptions(beam_size=2, batch_size=3)
    assert decode_options(settings, beam_size=1, language="de").beam_size == 1


def test_own_models_in_directories_pass(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    settings = Settings(models_dir=tmp_path, allowed_hub_models=("someone/model",))
    for model in ("mine", str(tmp_path / "mine"), "someone/model", "auto", "turbo"):
        check(replace(GOOD, model=model), settings)


def test_names_of_outputs_come_from_the_recordings_name() -> None:
    assert GOOD.stem == "LJ001-0002"
    assert replace(GOOD, name="../../etc/My talk.mp4").stem == "My talk"
    assert replace(GOOD, name="x.mp4", output_stem="y").stem == "y"
    assert "srt" in format_names()
