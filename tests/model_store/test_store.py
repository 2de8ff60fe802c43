"""Which model runs, from which files, and why; against a hub that is there, gone or silent."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
from huggingface_hub import constants

from core.errors import ModelError
from core.settings import Settings
from model_store import hub as model_hub
from model_store import packaged as model_files
from model_store import store as model_store
from model_store.store import ResolvedModel, Wanted, available_models, resolve_model
from tests.core.fake_hub import COMMIT, fake_hub
from tests.waiting import PATIENCE_S

TURBO = "mobiuslabsgmbh/faster-whisper-large-v3-turbo"


def files(tokens: int = 51_865) -> dict[str, bytes]:
    """The files of a model, with weights large enough for progress to be told."""
    return {
        "config.json": b"{}",
        "tokenizer.json": b"{}",
        "vocabulary.txt": b"token\n" * tokens,
        "model.bin": b"w" * 3_000_000,
        "README.md": b"not wanted",
    }


def write_model(folder: Path, tokens: int = 51_865) -> Path:
    folder.mkdir(parents=True)
    for name, data in files(tokens).items():
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture(autouse=True)
def no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty hub cache, a hub that refuses connections, and no installed packages."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setattr(model_files, "installed_models", lambda: ())


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    repos = {TURBO: files(51_866), "some/whisper-de": files(), "odd/no-weights": {"a.txt": b"a"}}
    with fake_hub(repos) as (address, requests):
        monkeypatch.setattr(constants, "ENDPOINT", address)
        template = address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield requests


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make models look installed: their directories stand beside the models directory."""

    def install(*names: str) -> None:
        for name in names:
            write_model(tmp_path / "installed" / name)
        monkeypatch.setattr(model_files, "installed_models", lambda: names)
        monkeypatch.setattr(
            model_files, "ensure_installed", lambda name, _: tmp_path / "installed" / name
        )

    return install


def resolve(name: str, tmp_path: Path, **options: Any) -> ResolvedModel:
    given = {"device": "cpu", "progress": None, "wanted": Wanted()}
    call = {key: options.pop(key, default) for key, default in given.items()}
    settings = Settings(**{"models_dir": tmp_path / "models", **options})
    return resolve_model(settings, name, **call)


def test_auto_on_the_cpu_is_the_installed_multilingual_model(
    tmp_path: Path, installed: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    installed("base", "tiny.en")
    with caplog.at_level(logging.INFO):
        found = resolve("auto", tmp_path)
    assert found.path == tmp_path / "installed" / "base"
    assert [record.getMessage() for record in caplog.records] == [
        "Using model base (multilingual, 74 M parameters): auto on the CPU; installed with the"
        " project"
    ]


def test_auto_takes_tiny_en_only_when_alone(tmp_path: Path, installed: Callable[..., None]) -> None:
    installed("tiny.en")
    found = resolve("auto", tmp_path)
    assert found.name == "tiny.en"
    assert "packages of base are not installed" in found.reason


def test_auto_on_a_gpu_takes_a_turbo_that_is_here(
    tmp_path: Path, installed: Callable[..., None]
) -> None:
    installed("base")
    folder = write_model(tmp_path / "models" / "large-v3-turbo")
    found = resolve("auto", tmp_path, device="cuda")
    assert (found.name, found.path) == ("large-v3-turbo", folder)
    assert found.reason.startswith("auto on a GPU; in ")


def test_auto_for_translation_is_a_model_that_can(
    tmp_path: Path, installed: Callable[..., None]
) -> None:
    installed("base")
    write_model(tmp_path / "models" / "large-v3-turbo")
    write_model(tmp_path / "models" / "medium")
    wanted = Wanted(task="translate")
    found = resolve("auto", tmp_path, device="cuda", offline=True, wanted=wanted)
    assert found.name == "medium"
    assert found.reason.startswith("auto on a GPU for translation, but the model large-v3 is not")


def test_auto_hears_the_language_that_was_chosen(
    tmp_path: Path, installed: Callable[..., None]
) -> None:
    installed("base", "tiny.en")
    write_model(tmp_path / "models" / "medium")
    write_model(tmp_path / "models" / "large-v3-turbo")
    wanted = Wanted(language="yue")
    assert resolve("auto", tmp_path, device="cuda", wanted=wanted).name == "large-v3-turbo"


def test_auto_takes_what_fits_the_gpu_and_says_what_did_not(
    tmp_path: Path, installed: Callable[..., None]
) -> None:
    installed("base")
    for name in ("large-v3-turbo", "medium", "small"):
        write_model(tmp_path / "models" / name)
    wanted = Wanted(fits=lambda name: name in ("small", "base", "tiny"))
    found = resolve("auto", tmp_path, device="cuda", wanted=wanted)
    assert found.name == "small"
    assert found.reason.startswith("auto on a GPU, because large-v3-turbo does not fit its memory;")
    nothing = Wanted(fits=lambda name: False)
    # The pool will say so with the figures; the smallest of all has the best chance.
    assert resolve("auto", tmp_path, device="cuda", wanted=nothing).name == "base"


def test_auto_on_a_gpu_falls_back_and_says_why_the_hub_could_not_be_asked(
    tmp_path: Path, installed: Callable[..., None]
) -> None:
    installed("base", "tiny.en")
    found = resolve("auto", tmp_path, device="cuda")
    assert found.name == "base"
    assert found.reason == (
        "auto on a GPU, but the model large-v3-turbo is not on this machine and the model hub"
        " cannot be reached: Connection refused; installed with the project"
    )


def test_a_silent_hub_costs_no_more_than_the_timeout(
    tmp_path: Path, installed: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    installed("base")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{port}")
        found = resolve("auto", tmp_path, device="cuda", hub_timeout_s=0.3)
    assert found.name == "base"
    assert "no answer within 0.3 s" in found.reason


@pytest.mark.parametrize("error", [TimeoutError("timed out"), URLError(TimeoutError("timed out"))])
def test_a_silent_hub_is_called_so_by_whoever_stops_waiting_first(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def stop_waiting(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("urllib.request.urlopen", stop_waiting)
    assert model_hub.reachable(PATIENCE_S) == f"no answer within {PATIENCE_S:g} s"


def test_a_silent_name_server_costs_no_more_than_the_timeout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answered = threading.Event()

    def look_up(*_: object, **__: object) -> list[object]:
        answered.wait(PATIENCE_S)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    try:
        assert model_hub.reachable(0.2) == "no answer within 0.2 s"
    finally:
        answered.set()


def test_offline_never_asks_the_hub(
    tmp_path: Path, hub: list[str], installed: Callable[..., None]
) -> None:
    installed("base")
    found = resolve("auto", tmp_path, device="cuda", offline=True)
    assert found.name == "base"
    assert "offline" in found.reason
    assert hub == []


def test_auto_on_a_gpu_downloads_turbo_with_progress_once(
    tmp_path: Path, hub: list[str], installed: Callable[..., None]
) -> None:
    installed("base")
    lines: list[str] = []
    found = resolve("auto", tmp_path, device="cuda", progress=lines.append)
    assert found.reason == "auto on a GPU; downloaded"
    assert found.path == tmp_path / "models" / "large-v3-turbo"
    assert (found.path / "model.bin").stat().st_size == 3_000_000
    assert not (found.path / "README.md").exists()
    assert lines[0] == f"Downloading model large-v3-turbo ({TURBO}, about 1546 MiB)"
    assert lines[-1].startswith("Downloading large-v3-turbo: ")
    assert lines[-1].endswith("(100 %)")
    asked = len(hub)
    again = resolve("large-v3-turbo", tmp_path, device="cuda")
    assert (again.path, again.reason) == (found.path, f"asked for; in {tmp_path / 'models'}")
    assert len(hub) == asked


def test_what_other_tools_downloaded_is_found_in_the_hubs_cache(tmp_path: Path) -> None:
    repo = tmp_path / "cache" / "models--Systran--faster-whisper-small"
    snapshot = write_model(repo / "snapshots" / COMMIT)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(COMMIT)
    found = resolve("small", tmp_path)
    assert (found.path, found.reason) == (snapshot, "asked for; in the hub's cache")
    (snapshot / "model.bin").unlink()
    with pytest.raises(ModelError, match="small is not on this machine"):
        resolve("small", tmp_path)


def test_a_broken_download_is_explained_and_another_try_succeeds(
    tmp_path: Path, hub: list[str]
) -> None:
    folder = tmp_path / "models" / "large-v3-turbo"
    folder.parent.mkdir()
    folder.write_text("in the way")
    with pytest.raises(ModelError, match="large-v3-turbo cannot be downloaded") as caught:
        resolve("turbo", tmp_path)
    assert "try again" in caught.value.hint
    folder.unlink()
    assert resolve("turbo", tmp_path).path == folder


def test_a_named_model_that_cannot_be_had_is_an_error_not_another_model(
    tmp_path: Path, installed: Callable[..., None]
) -> None:
    installed("base")
    with pytest.raises(ModelError, match="small is not on this machine") as caught:
        resolve("small", tmp_path)
    assert "base" in caught.value.hint


def test_a_model_the_hub_does_not_have_is_explained(tmp_path: Path, hub: list[str]) -> None:
    with pytest.raises(ModelError, match="no model Systran/faster-whisper-small"):
        resolve("small", tmp_path)


def test_a_hub_model_must_be_on_the_list(tmp_path: Path, hub: list[str]) -> None:
    with pytest.raises(ModelError, match="not allowed") as caught:
        resolve("some/whisper-de", tmp_path)
    assert "WHISPER_ALLOWED_HUB_MODELS" in caught.value.hint
    assert hub == []
    found = resolve("some/whisper-de", tmp_path, allowed_hub_models=("some/whisper-de",))
    assert len(found.info.languages) == 99
    assert found.info.can_translate


def test_a_hub_model_without_weights_is_refused(tmp_path: Path, hub: list[str]) -> None:
    with pytest.raises(ModelError, match=r"lacks model\.bin"):
        resolve("odd/no-weights", tmp_path, allowed_hub_models=("odd/no-weights",))


@pytest.mark.parametrize(
    ("folder", "tokens", "languages", "translates"),
    [
        ("my-english", 51_864, 1, False),
        ("my-model", 51_865, 99, True),
        ("my-large", 51_866, 100, True),
        ("my-turbo-finetune", 51_866, 100, False),
        ("faster-whisper-medium", 51_865, 99, True),
        ("whisper-large-v3-turbo", 51_866, 100, False),
    ],
)
def test_a_directory_is_used_as_it_is(
    tmp_path: Path, folder: str, tokens: int, languages: int, translates: bool
) -> None:
    path = write_model(tmp_path / "own" / folder, tokens)
    found = resolve(str(path), tmp_path)
    assert (found.path, found.reason) == (path, "asked for; local directory")
    assert len(found.info.languages) == languages
    assert found.info.can_translate is translates
    assert found.info.download_mib is None


def test_an_own_model_is_named_by_its_folder_in_the_models_directory(tmp_path: Path) -> None:
    path = write_model(tmp_path / "models" / "lectures")
    assert resolve("lectures", tmp_path).path == path


def test_a_vocabulary_in_json_counts_too(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model")
    (path / "vocabulary.txt").unlink()
    (path / "vocabulary.json").write_text(json.dumps(["token"] * 51_864))
    assert resolve(str(path), tmp_path).info.only_language == "en"


def test_an_incomplete_directory_says_what_it_lacks(tmp_path: Path) -> None:
    path = write_model(tmp_path / "broken")
    (path / "tokenizer.json").unlink()
    (path / "vocabulary.txt").unlink()
    with pytest.raises(ModelError, match=r"lacks tokenizer\.json, vocabulary\.txt or"):
        resolve(str(path), tmp_path)


@pytest.mark.parametrize("name", ["bse", "/no/such/folder", "../secret", "a/b/c"])
def test_what_is_no_model_is_unknown(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match="Unknown model"):
        resolve(name, tmp_path)


def test_available_models_need_no_download(tmp_path: Path, installed: Callable[..., None]) -> None:
    installed("base")
    write_model(tmp_path / "models" / "small")
    (tmp_path / "models" / "medium").mkdir()
    assert available_models(tmp_path / "models") == {
        "base": "installed",
        "small": f"in {tmp_path / 'models'}",
    }


def test_the_real_installed_model_resolves(
    tiny_en: Path, models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_files, "installed_models", lambda: ("tiny.en",))
    found = resolve_model(Settings(models_dir=models_dir, offline=True), "tiny.en", "cpu")
    assert found.path == tiny_en
    assert model_store.missing_files(found.path) == []
    assert found.info.only_language == "en"
