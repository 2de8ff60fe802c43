"""What is in the image, and what is not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.containers.conftest import IMAGE
from tests.containers.engine import ROOT, Engine


def inside(engine: Engine, image: str, script: str) -> str:
    return engine.run("run", "--rm", "--network=none", "--entrypoint=sh", image, "-c", script)


def test_it_runs_as_nobody_special_and_says_what_it_is(engine: Engine, image: str) -> None:
    config = engine.inspect(image)["Config"]
    assert config["User"] == "1000:1000"
    assert config["Labels"]["org.opencontainers.image.licenses"] == "MIT"
    assert config["Healthcheck"]["Test"][0] == "CMD"
    assert {*config["Volumes"]} == {"/app/models", "/app/data", "/app/cache"}


def test_it_holds_the_app_and_nothing_else(engine: Engine, image: str) -> None:
    names = inside(engine, image, "ls -A /app").split()
    assert {"app.py", "pyproject.toml", "docs"} <= {*names}
    assert not {".git", "tests", "bench", ".env", "Dockerfile", "deploy"} & {*names}
    for program in ("gcc", "cc", "make", "git"):
        assert inside(engine, image, f"command -v {program} || echo none").strip() == "none"
    # pip, its cache, and what it was told of a mirror.
    assert inside(engine, image, "ls /opt/venv/bin/pip* 2>/dev/null || echo none").strip() == "none"
    found = inside(
        engine,
        image,
        "find / -xdev \\( -name pip.conf -o -path '*/.cache/pip' \\) 2>/dev/null || true",
    )
    assert found == ""


def test_both_models_are_there_without_a_network(engine: Engine, image: str) -> None:
    listed = inside(engine, image, "cd /app && python -m cli.main models")
    for name in ("tiny.en", "base"):
        assert any(name in line and "installed" in line for line in listed.splitlines()), listed


def test_a_change_of_code_costs_the_last_layer_alone(
    engine: Engine, base_image: str, image: str, tmp_path: Path
) -> None:
    changed = tmp_path / "project"
    ignored = shutil.ignore_patterns(".git", ".venv", "models", "data", ".*_cache", "__pycache__")
    shutil.copytree(ROOT, changed, ignore=ignored, symlinks=True)
    with (changed / "app.py").open("a", encoding="utf-8") as file:
        file.write("\n# changed\n")
    tag = f"{IMAGE}-changed"
    engine.build(changed, tag, base_image, tmp_path, "--target=cpu")
    before, after = (engine.inspect(each)["RootFS"]["Layers"] for each in (image, tag))
    engine.run("rmi", tag)
    assert before[:-1] == after[:-1]
    assert before[-1] != after[-1]


def test_it_stays_small(engine: Engine, image: str) -> None:
    # docs/docker.md says what is in it. The base weighs 145 MB here.
    assert engine.inspect(image)["Size"] <= 900e6


EVERY_MODULE = """
import importlib, pathlib, tomllib
setup = tomllib.loads(pathlib.Path("pyproject.toml").read_text())["tool"]["setuptools"]
for package in setup["packages"]:
    if package.startswith("jobs.migrations"):
        continue  # run by Alembic alone
    for path in pathlib.Path(*package.split(".")).glob("*.py"):
        importlib.import_module(f"{package}.{path.stem}".removesuffix(".__init__"))
import onnxruntime  # by the processes that detect speech
print("all")
"""


def test_nothing_that_the_app_imports_was_taken_out(engine: Engine, image: str) -> None:
    found = engine.run("run", "--rm", "--network=none", image, "python", "-c", EVERY_MODULE)
    assert found == "all\n"


@pytest.mark.parametrize("command", ["doctor", "plan --gpu 24", "gpu"])
def test_commands_work_inside(engine: Engine, image: str, command: str) -> None:
    said = inside(engine, image, f"cd /app && python -m cli.main {command} 2>&1 || true")
    assert "Traceback" not in said
    assert said.strip()


@pytest.mark.parametrize(("device", "mark"), [("auto", "i"), ("cuda", "✗")])
def test_the_doctor_says_that_the_container_has_no_gpu_and_how_to_give_it_one(
    engine: Engine, image: str, device: str, mark: str
) -> None:
    settings = (f"--env=WHISPER_DEVICE={device}", "--env=NVIDIA_VISIBLE_DEVICES=all")
    doctor = "python -m cli.main doctor || true"
    said = engine.run("run", "--rm", "--network=none", *settings, image, "sh", "-c", doctor)
    finding = f"{mark} The container has no GPU: no /dev/nvidia*, NVIDIA_VISIBLE_DEVICES is 'all'."
    lines = [line.strip() for line in said.splitlines()]
    assert finding in lines, said
    assert "WHISPER_GPUS=nvidia docker compose up -d" in lines[lines.index(finding) + 1]
