from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.errors import FileMissing, InvalidOption, ModelError, SubtitleError, UnreadableMedia
from core.settings import Settings
from jobs.options import JobOptions
from jobs.request import JobRequest, check, with_defaults
from tests.jobs.recordings import SHORT

GOOD = JobRequest(path=SHORT)
SETTINGS = Settings(model="tiny.en")

WRONG: list[tuple[dict[str, Any], type[SubtitleError], str]] = [
    ({"path": SHORT / "x"}, FileMissing, "x does not exist"),
    ({"path": SHORT.parent}, UnreadableMedia, "is a folder"),
    ({"path": Path("a\0b")}, UnreadableMedia, "cannot be opened"),
    ({"output_dir": SHORT / "x"}, InvalidOption, "may write to"),
]

WRONG_OPTIONS: list[tuple[dict[str, Any], type[SubtitleError], str]] = [
    ({"model": "tinny"}, ModelError, "Did you mean 'tiny'"),
    ({"model": "someone/model"}, ModelError, "WHISPER_ALLOWED_HUB_MODELS"),
    ({"compute_type": "int7"}, InvalidOption, "float16"),
    ({"compute_type": "int4"}, InvalidOption, "int8"),
    ({"formats": ()}, InvalidOption, "No subtitle format"),
    ({"formats": ("srt", "doc")}, InvalidOption, "srt, vtt"),
    ({"audio_track": -1}, InvalidOption, "at least 0, not -1"),
    ({"device": "tpu"}, InvalidOption, "'auto', 'cpu' or 'cuda'"),
    ({"task": "sing"}, InvalidOption, "'transcribe' or 'translate'"),
    ({"language": "klingon"}, InvalidOption, "Unknown language"),
    ({"language": "zh"}, ModelError, "multilingual"),
    ({"task": "translate"}, ModelError, "cannot translate"),
    ({"beam_size": 0}, InvalidOption, "between 1 and 20"),
    ({"batch_size": 129}, InvalidOption, "between 0 and 128"),
    ({"vad_threshold": 1.0}, InvalidOption, "between 0 and 1"),
    ({"vad_threshold": float("nan")}, InvalidOption, "between 0 and 1"),
    ({"min_segment_duration": 70.0}, InvalidOption, "minimum"),
]


@pytest.mark.parametrize(("change", "kind", "words"), WRONG)
def test_what_cannot_work_is_refused_with_a_reason(
    change: dict[str, Any], kind: type[SubtitleError], words: str
) -> None:
    check(GOOD, SETTINGS)
    with pytest.raises(kind) as caught:
        check(replace(GOOD, **change), SETTINGS)
    assert words in caught.value.explain()


@pytest.mark.parametrize(("change", "kind", "words"), WRONG_OPTIONS)
def test_an_option_that_cannot_be_is_refused_with_a_reason(
    change: dict[str, Any], kind: type[SubtitleError], words: str
) -> None:
    with pytest.raises(kind) as caught:
        check(GOOD.choosing(**change), SETTINGS)
    assert words in caught.value.explain()


def test_an_output_never_replaces_its_recording(tmp_path: Path) -> None:
    recording = tmp_path / "talk.txt"
    recording.write_bytes(SHORT.read_bytes())
    text = JobOptions(formats=("txt",))
    request = JobRequest(path=recording, options=text, output_dir=tmp_path)
    with pytest.raises(InvalidOption, match="replace the recording"):
        check(request, SETTINGS)
    check(request.choosing(formats=("srt",)), SETTINGS)


def test_what_a_request_leaves_open_the_settings_decide(tmp_path: Path) -> None:
    settings = Settings(model="small", compute_type="int8", beam_size=2, batch_size=3)
    chosen = with_defaults(JobOptions(), settings)
    assert (chosen.model, chosen.compute_type) == ("small", "int8")
    assert (chosen.beam_size, chosen.batch_size) == (2, 3)
    assert chosen.where == "local"
    far = Settings(where="remote")
    assert with_defaults(JobOptions(), far).where == "remote"
    assert with_defaults(JobOptions(), far.model_copy(update={"endpoints": "off"})).where == "local"
    # What GPUs alone can do says nothing of a job for the CPU.
    for_gpus = Settings(compute_type="float16")
    assert with_defaults(JobOptions(), for_gpus).compute_type == "float16"
    assert with_defaults(JobOptions(device="cpu"), for_gpus).compute_type == "auto"
    assert with_defaults(JobOptions(device="cpu"), settings).compute_type == "int8"
    named = JobOptions(
        model="base", compute_type="float32", beam_size=1, batch_size=0, where="shared"
    )
    assert with_defaults(named, settings) == named


def test_own_models_in_directories_pass(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    settings = Settings(models_dir=tmp_path, allowed_hub_models=("someone/model",))
    for model in ("mine", str(tmp_path / "mine"), "someone/model", "auto", "turbo"):
        check(GOOD.choosing(model=model), settings)


def test_names_of_outputs_come_from_the_recordings_name() -> None:
    assert GOOD.stem == "LJ001-0002"
    assert replace(GOOD, name="../../etc/My talk.mp4").stem == "My talk"
    assert replace(GOOD, name="x.mp4", output_stem="y").stem == "y"
