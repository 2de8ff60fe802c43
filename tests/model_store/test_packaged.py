"""The models that install with the project: joined, verified, repaired."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import sys
from pathlib import Path

import pytest

from core.errors import ModelError
from model_store import packaged as model_files
from model_store.packaged import PackagedFile, ensure_installed, installed_models

CONTENT = {"config.json": b"{}", "model.bin": b"weights of the model"}


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two import packages that hold a model ``base`` in parts; running their code is an error."""
    site = tmp_path / "site"
    for package, files in (
        ("fake_part1", {"config.json": CONTENT["config.json"], "one": CONTENT["model.bin"][:9]}),
        ("fake_part2", {"two": CONTENT["model.bin"][9:]}),
    ):
        (site / package / "data").mkdir(parents=True)
        (site / package / "__init__.py").write_text("raise SystemExit('was run')")
        for name, content in files.items():
            (site / package / "data" / name).write_bytes(content)
    monkeypatch.syspath_prepend(str(site))
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENT.items()}
    model = (
        PackagedFile("config.json", (("fake_part1", "data/config.json"),), sums["config.json"]),
        PackagedFile(
            "model.bin", (("fake_part1", "data/one"), ("fake_part2", "data/two")), sums["model.bin"]
        ),
    )
    monkeypatch.setattr(model_files, "PACKAGED", {"base": model})
    return site


def test_parts_are_joined_and_single_files_linked(packages: Path, tmp_path: Path) -> None:
    folder = ensure_installed("base", tmp_path / "models")
    assert (folder / "model.bin").read_bytes() == CONTENT["model.bin"]
    assert (folder / "config.json").is_symlink()
    assert sorted(path.name for path in folder.iterdir()) == [
        ".verified.json",
        "config.json",
        "model.bin",
    ]


def test_set_up_joins_the_parts_where_they_are_and_keeps_one_copy(
    packages: Path, tmp_path: Path
) -> None:
    for _ in range(2):
        model_files.join_in_packages("base")
    assert not (packages / "fake_part1" / "data" / "one").exists()
    assert not (packages / "fake_part2" / "data" / "two").exists()
    assert installed_models() == ("base",)
    weights = ensure_installed("base", tmp_path / "models") / "model.bin"
    assert weights.resolve() == packages / "fake_part1" / "data" / "model.bin"
    assert weights.read_bytes() == CONTENT["model.bin"]


def test_set_up_keeps_the_parts_of_a_damaged_package(packages: Path) -> None:
    (packages / "fake_part2" / "data" / "two").write_bytes(b"tampered")
    with pytest.raises(ModelError, match="damaged"):
        model_files.join_in_packages("base")
    assert (packages / "fake_part1" / "data" / "one").exists()
    assert not (packages / "fake_part1" / "data" / "model.bin").exists()


def test_where_links_are_impossible_files_are_copied(
    packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    folder = ensure_installed("base", tmp_path / "models")
    assert not (folder / "config.json").is_symlink()
    assert (folder / "config.json").read_bytes() == CONTENT["config.json"]


def test_a_verified_model_is_not_hashed_again(
    packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure_installed("base", tmp_path)

    def fail(*_: object) -> None:
        raise AssertionError("hashed again")

    monkeypatch.setattr(hashlib, "file_digest", fail)
    monkeypatch.setattr(hashlib, "sha256", fail)
    ensure_installed("base", tmp_path)


def test_a_damaged_file_is_written_anew(
    packages: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    weights = ensure_installed("base", tmp_path) / "model.bin"
    weights.write_bytes(b"x" * len(CONTENT["model.bin"]))
    with caplog.at_level(logging.WARNING):
        ensure_installed("base", tmp_path)
    assert weights.read_bytes() == CONTENT["model.bin"]
    assert "damaged" in caplog.text


def test_damage_before_the_first_use_is_found_without_a_stamp(
    packages: Path, tmp_path: Path
) -> None:
    folder = ensure_installed("base", tmp_path)
    (folder / model_files.STAMP).write_text("{half a st")
    (folder / "model.bin").write_bytes(b"wrong")
    ensure_installed("base", tmp_path)
    assert (folder / "model.bin").read_bytes() == CONTENT["model.bin"]


def test_a_link_whose_package_moved_is_made_anew(
    packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = ensure_installed("base", tmp_path / "models")
    moved = tmp_path / "elsewhere"
    shutil.move(packages, moved)
    monkeypatch.syspath_prepend(str(moved))
    ensure_installed("base", tmp_path / "models")
    assert (folder / "config.json").read_bytes() == CONTENT["config.json"]


def test_a_damaged_package_is_an_error_that_leaves_nothing_behind(
    packages: Path, tmp_path: Path
) -> None:
    (packages / "fake_part2" / "data" / "two").write_bytes(b"tampered")
    with pytest.raises(
        ModelError, match=r"model\.bin of the package fake_part1 is damaged"
    ) as caught:
        ensure_installed("base", tmp_path / "models")
    assert "make setup" in caught.value.hint
    assert [path.name for path in (tmp_path / "models" / "base").iterdir()] == ["config.json"]


def test_a_model_with_a_missing_part_is_not_installed(packages: Path, tmp_path: Path) -> None:
    assert installed_models() == ("base",)
    (packages / "fake_part2" / "data" / "two").unlink()
    assert installed_models() == ()
    with pytest.raises(ModelError, match="fake-part2"):
        ensure_installed("base", tmp_path)


def test_an_unwritable_directory_is_explained(packages: Path, tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file where the directory should be")
    with pytest.raises(ModelError, match="cannot be written") as caught:
        ensure_installed("base", tmp_path / "models")
    assert "WHISPER_MODELS_DIR" in caught.value.hint


def test_the_installed_model_has_the_official_sums(tiny_en: Path) -> None:
    stamp = json.loads((tiny_en / model_files.STAMP).read_text())
    for file in model_files.PACKAGED["tiny.en"]:
        with (tiny_en / file.name).open("rb") as source:
            assert hashlib.file_digest(source, "sha256").hexdigest() == file.sha256
        assert stamp[file.name][0] == file.sha256


def test_model_packages_are_found_without_running_their_code(packages: Path) -> None:
    assert installed_models() == ("base",)
    assert "fake_part1" not in sys.modules
