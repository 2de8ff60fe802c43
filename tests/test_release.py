"""The release workflow, and the notes that it publishes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.version import version
from scripts.release_notes import notes

CHANGELOG = """# Changelog

## [Unreleased]

- Later.

## [1.2.0] - 2026-11-22

### Added

- Notes.

## [1.1.0] - 2026-10-01

- Before.
"""


@pytest.fixture(scope="module")
def text(root: Path) -> str:
    return (root / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def workflow(text: str) -> dict[Any, Any]:
    parsed: dict[Any, Any] = yaml.safe_load(text)
    return parsed


@pytest.fixture(scope="module")
def steps(workflow: dict[Any, Any]) -> list[dict[str, Any]]:
    """Of the job that builds an image."""
    found: list[dict[str, Any]] = workflow["jobs"]["image"]["steps"]
    return found


def using(steps: list[dict[str, Any]], action: str) -> list[int]:
    return [n for n, step in enumerate(steps) if step.get("uses", "").startswith(f"{action}@")]


def test_a_version_tag_starts_it_and_nothing_else(workflow: dict[Any, Any]) -> None:
    # YAML 1.1 reads the key "on" as true.
    assert workflow[True] == {"push": {"tags": ["v[0-9]+.[0-9]+.[0-9]+"]}}


def test_each_job_may_do_only_what_it_does(workflow: dict[Any, Any]) -> None:
    assert workflow["permissions"] == {}
    assert {name: job["permissions"] for name, job in workflow["jobs"].items()} == {
        "notes": {"contents": "read"},
        "image": {"contents": "read", "packages": "write", "id-token": "write"},
        "release": {"contents": "write"},
    }
    assert workflow["jobs"]["image"]["needs"] == "notes"
    assert workflow["jobs"]["release"]["needs"] == "image"


def test_every_action_is_pinned_by_commit(text: str) -> None:
    used = re.findall(r"uses: (.*)", text)
    assert used
    for action in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


def test_every_image_of_the_dockerfile_is_built_for_both_processors(
    workflow: dict[Any, Any], steps: list[dict[str, Any]], root: Path
) -> None:
    images = re.findall(r"^FROM runtime AS (\w+)$", (root / "Dockerfile").read_text(), re.MULTILINE)
    matrix = workflow["jobs"]["image"]["strategy"]["matrix"]["include"]
    assert sorted(entry["target"] for entry in matrix) == sorted(images)
    assert len({entry["suffix"] for entry in matrix}) == len(images)
    (build,) = using(steps, "docker/build-push-action")
    options = steps[build]["with"]
    assert options["target"] == "${{ matrix.target }}"
    assert options["platforms"] == "linux/amd64,linux/arm64"
    assert options["sbom"] is True
    assert options["provenance"] == "mode=max"


def test_no_image_gets_a_tag_before_it_is_scanned_and_signed(steps: list[dict[str, Any]]) -> None:
    (build,) = using(steps, "docker/build-push-action")
    assert "tags" not in steps[build]["with"]
    assert "push-by-digest=true" in steps[build]["with"]["outputs"]
    scans = using(steps, "anchore/scan-action")
    (sign,) = (n for n, step in enumerate(steps) if "cosign sign" in step.get("run", ""))
    (publish,) = (n for n, step in enumerate(steps) if "--tag" in step.get("run", ""))
    assert build < min(scans) < max(scans) < sign < publish
    platforms = [steps[scan]["env"]["GRYPE_PLATFORM"] for scan in scans]
    assert platforms == steps[build]["with"]["platforms"].split(",")
    for scan in scans:
        options = steps[scan]["with"]
        assert options["image"].endswith("@${{ steps.build.outputs.digest }}")
        assert (options["severity-cutoff"], options["only-fixed"]) == ("high", True)
        assert options["fail-build"] is True


def test_the_registry_is_a_variable_of_the_repository(
    text: str, steps: list[dict[str, Any]]
) -> None:
    (login,) = using(steps, "docker/login-action")
    assert steps[login]["with"]["registry"] == "${{ vars.IMAGE_REGISTRY }}"
    explained = {*re.findall(r"^#   ((?:vars|secrets)\.\w+) +\S", text, re.MULTILINE)}
    assert explained == {*re.findall(r"\{\{ ((?:vars|secrets)\.\w+)", text)}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1.2.0"\n')
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    return tmp_path


def test_the_notes_of_a_release_are_its_section(project: Path) -> None:
    assert notes("v1.2.0", project) == "### Added\n\n- Notes.\n"


def test_the_last_section_ends_with_the_file(project: Path) -> None:
    (project / "pyproject.toml").write_text('[project]\nversion = "1.1.0"\n')
    assert notes("v1.1.0", project) == "- Before.\n"


def test_a_tag_of_another_version_is_refused(project: Path) -> None:
    with pytest.raises(ValueError, match=r"tag is v1\.1\.0, but pyproject\.toml has version 1\.2"):
        notes("v1.1.0", project)


@pytest.mark.parametrize("changelog", ["", "## [1.2.0] - 2026\n\n## [1.1.0]\n- Before.\n"])
def test_a_release_without_notes_is_refused(project: Path, changelog: str) -> None:
    (project / "CHANGELOG.md").write_text(changelog)
    with pytest.raises(ValueError, match=r"no notes under '## \[1\.2\.0\]': rename the section"):
        notes("v1.2.0", project)


def test_the_notes_need_no_package(root: Path) -> None:
    # The workflow runs them with the runner's own Python.
    command = [sys.executable, "-S", "-m", "scripts.release_notes", "v0"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == (
        f"The tag is v0, but pyproject.toml has version {version()}: "
        f"correct one of them and tag that commit as v{version()}.\n"
    )
