"""The form: what it offers, and that it asks for exactly what it shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.models import MODELS, find_model
from core.settings import Settings
from jobs.options import JobOptions
from jobs.request import JobRequest
from ui.options import (
    ANY_LANGUAGE,
    FIELDS,
    OptionsForm,
    compute_types,
    language_choices,
    model_choices,
    model_info,
    page_options,
)

SHOWN: dict[str, Any] = {
    "model": "base",
    "language": "auto",
    "task": "translate",
    "formats": ["srt", "txt"],
    "compute_type": "int8",
    "multi_gpu": False,
    "vad_threshold": 0.4,
    "min_segment_duration": 5,
    "max_segment_duration": 40,
    "beam_size": 3,
    "batch_size": 4,
    "initial_prompt": "  In this lecture, ",
    "hotwords": "",
    "audio_track": 2,
    "where": None,
}


def test_the_options_are_what_the_form_says() -> None:
    assert OptionsForm.read(tuple(SHOWN.values())) == JobOptions(
        model="base",
        task="translate",
        formats=("srt", "txt", "vtt"),  # the player needs captions
        compute_type="int8",
        multi_gpu=False,
        vad_threshold=0.4,
        min_segment_duration=5,
        max_segment_duration=40,
        beam_size=3,
        batch_size=4,
        initial_prompt="In this lecture,",
        audio_track=1,  # people count from one
    )


def test_an_emptied_field_means_its_default() -> None:
    emptied = {
        name: value if name in ("task", "formats", "language") else None
        for name, value in SHOWN.items()
    }
    assert page_options(emptied) == JobOptions(task="translate", formats=("srt", "txt", "vtt"))


def test_every_model_is_offered_and_those_that_are_here_come_first(
    models_dir: Path, tiny_en: Path
) -> None:
    settings = Settings(models_dir=models_dir)
    names = [name for _, name in model_choices(settings)]
    assert names[0] == "auto"
    assert set(names) == {"auto", *MODELS}
    assert len(names) == len(set(names))
    assert names.index("tiny.en") < names.index("tiny")
    labels = dict((name, label) for label, name in model_choices(settings))
    assert labels["tiny.en"] == "tiny.en (English only, ready)"
    assert labels["large-v3"] == "large-v3 (download 2948 MiB)"
    offline = Settings(models_dir=models_dir, offline=True)
    assert ("large-v3 (not on this machine)", "large-v3") in model_choices(offline)


def test_a_model_of_the_settings_is_offered_too(models_dir: Path) -> None:
    settings = Settings(models_dir=models_dir, model="/srv/lectures", allowed_hub_models=("me/x",))
    choices = model_choices(settings)
    assert ("lectures (local)", "/srv/lectures") in choices
    assert ("me/x", "me/x") in choices


@pytest.mark.parametrize("only_cpus", [True, False])
def test_a_type_that_needs_a_gpu_is_offered_only_where_there_is_one(
    models_dir: Path, only_cpus: bool
) -> None:
    form = OptionsForm.__new__(OptionsForm)  # without its controls
    form._settings = Settings(models_dir=models_dir)
    form._active = tuple
    form._compute_types = compute_types(only_cpus)
    assert {"auto", "int8", "float32"} <= set(form._compute_types)
    assert ("float16" in form._compute_types) is not only_cpus
    # What an earlier job had is not offered where it cannot be.
    earlier = JobRequest(path=Path("a.mp3"), options=JobOptions(compute_type="float16"))
    updates = form.fill(earlier)
    assert updates[FIELDS.index("compute_type")]["value"] == ("auto" if only_cpus else "float16")


def test_what_a_model_is_good_for_stands_beside_it() -> None:
    assert "fits this machine" in model_info("auto")
    assert model_info("turbo") == MODELS["large-v3-turbo"].advice
    assert model_info("/srv/lectures") == ""


def test_languages_are_those_of_the_model_by_name() -> None:
    assert language_choices(find_model("tiny.en")) == [ANY_LANGUAGE, ("English", "en")]
    everything = language_choices(None)
    assert everything[0] == ANY_LANGUAGE
    assert ("Cantonese", "yue") in everything
    assert ("Cantonese", "yue") not in language_choices(find_model("base"))
    assert everything[1:] == sorted(everything[1:])
