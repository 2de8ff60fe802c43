"""The table of models and the checks every front uses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import InvalidOption, ModelError
from core.languages import LANGUAGES, language_code, voting_windows
from core.models import ALIASES, MODELS, QUALITIES, check_request, find_model, unknown_model
from core.types import AudioSegment, SpeechSpan, Window
from tests.conftest import ROOT


def test_languages_are_the_engines() -> None:
    from faster_whisper.tokenizer import _LANGUAGE_CODES

    assert set(LANGUAGES) == set(_LANGUAGE_CODES)
    assert len(LANGUAGES) == 100
    assert len(set(LANGUAGES.values())) == 100


def test_repositories_are_the_engines() -> None:
    from faster_whisper.utils import _MODELS

    ours = {name: info.repo_id for name, info in MODELS.items()}
    ours |= {alias: MODELS[name].repo_id for alias, name in ALIASES.items()}
    assert ours == _MODELS


def test_what_each_family_can_do() -> None:
    assert MODELS["base"].can_translate
    assert len(MODELS["base"].languages) == 99
    assert MODELS["base"].only_language is None
    assert len(MODELS["large-v3"].languages) == 100
    assert "yue" in MODELS["large-v3-turbo"].languages
    assert "yue" not in MODELS["large-v2"].languages
    cannot = {name for name, info in MODELS.items() if not info.can_translate}
    assert cannot == {
        *(name for name in MODELS if name.endswith(".en") or name.startswith("distil-")),
        "large-v3-turbo",
    }
    english = {name for name, info in MODELS.items() if info.only_language == "en"}
    assert english == cannot - {"large-v3-turbo"}


def test_every_size_is_plausible_for_half_precision() -> None:
    for info in MODELS.values():
        assert info.parameters_m is not None
        assert info.download_mib is not None
        assert 1.7 < info.download_mib / info.parameters_m < 2.1, info.name


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("turbo", "large-v3-turbo"),
        ("large", "large-v3"),
        (" Tiny.EN ", "tiny.en"),
        ("Systran/faster-whisper-base", "base"),
        ("base2", None),
        ("auto", None),
    ],
)
def test_models_are_found_by_name_alias_and_repository(name: str, found: str | None) -> None:
    info = find_model(name)
    assert (info.name if info else None) == found


def test_an_unknown_model_names_the_known_ones_and_the_nearest() -> None:
    error = unknown_model("larg-v3-turbo")
    assert "'large-v3-turbo'" in error.hint
    assert "Did you mean" in error.hint
    assert all(name in error.hint for name in MODELS)
    assert "Did you mean" not in unknown_model("zzzzzzzz").hint


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (None, None),
        ("", None),
        (" Auto ", None),
        ("EN", "en"),
        ("Chinese", "zh"),
        ("zh-TW", "zh"),
        ("pt_BR", "pt"),
        ("Haitian Creole", "ht"),
        ("mandarin", "zh"),
        ("yue", "yue"),
    ],
)
def test_languages_are_understood_as_people_write_them(text: str | None, code: str | None) -> None:
    assert language_code(text) == code


def test_an_unknown_language_suggests_one() -> None:
    with pytest.raises(InvalidOption) as caught:
        language_code("germn")
    assert "'german'" in caught.value.hint


@pytest.mark.parametrize(
    ("model", "language", "task", "message"),
    [
        ("turbo", "de", "translate", "large-v3-turbo cannot translate"),
        ("tiny.en", None, "translate", "tiny.en cannot translate"),
        ("tiny.en", "zh", "transcribe", r"English only; Chinese \(zh\)"),
        ("distil-large-v3", "de", "transcribe", "English only; German"),
        ("large-v2", "yue", "transcribe", "does not understand Cantonese"),
    ],
)
def test_a_request_the_model_cannot_do_is_refused_with_a_hint(
    model: str, language: str | None, task: str, message: str
) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        check_request(model, language, task)
    assert "Choose" in caught.value.hint


def test_a_request_the_model_can_do_gives_the_language_code() -> None:
    assert check_request("base", "Chinese", "translate") == "zh"
    assert check_request("tiny.en", "en", "transcribe") == "en"
    assert check_request("turbo", "yue", "transcribe") == "yue"
    assert check_request(MODELS["tiny.en"], None, "transcribe") is None
    assert check_request("auto", "de", "translate") == "de"


def test_an_unknown_task_is_refused_for_any_model() -> None:
    with pytest.raises(InvalidOption, match="'summarise'"):
        check_request("auto", None, "summarise")


def test_the_table_imports_no_engine(root: Path) -> None:
    code = (
        "import sys, core.models, model_store.store;"
        "heavy = {'faster_whisper', 'ctranslate2', 'torch', 'huggingface_hub', 'gradio'};"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_model_has_its_speed_quality_and_use() -> None:
    for info in MODELS.values():
        assert info.speed is not None
        assert info.speed >= 1
        assert info.quality in QUALITIES
        assert info.advice.endswith(f"Good for {info.use}.")
    assert {info.speed for name, info in MODELS.items() if name.startswith("large-v3")} == {1, 8}
    assert MODELS["base"].advice == (
        "Quality low, speed 7x (large-v3: 1x). Good for CPUs, where it is the default."
    )


def test_larger_models_of_a_family_are_slower_and_no_worse() -> None:
    for ending in ("", ".en"):
        sizes = [MODELS[size + ending] for size in ("tiny", "base", "small", "medium")]
        sizes += [] if ending else [MODELS["large-v3"]]
        speeds = [info.speed or 0 for info in sizes]
        ranks = [QUALITIES.index(info.quality) for info in sizes]
        assert speeds == sorted(speeds, reverse=True)
        assert ranks == sorted(ranks)


def test_the_page_about_models_has_the_table() -> None:
    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    assert rows[1:] == [
        [
            info.name,
            "English" if info.only_language else str(len(info.languages)),
            "yes" if info.can_translate else "no",
            f"{info.speed:g}x",
            info.quality,
            info.use,
        ]
        for info in MODELS.values()
    ]


def test_the_window_with_the_most_speech_of_each_of_the_first_three_segments_votes() -> None:
    def window(start_s: float, speech_s: float) -> Window:
        spoken = SpeechSpan(start_s, start_s + speech_s)
        return Window((SpeechSpan(start_s, start_s + 30.0),), (spoken,))

    def segment(index: int, *speech_s: float) -> AudioSegment:
        windows = tuple(window(100.0 * index + 30.0 * i, s) for i, s in enumerate(speech_s))
        return AudioSegment(index, windows[0].start_s, windows[-1].end_s, windows)

    segments = [segment(0, 2.0, 20.0), segment(1, 9.0), segment(2, 7.0, 5.0), segment(3, 28.0)]
    chosen = (segments[0].windows[1], segments[1].windows[0], segments[2].windows[0])
    assert voting_windows(segments) == chosen
    assert voting_windows(segments[:1]) == chosen[:1]
