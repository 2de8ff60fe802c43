"""The image, built once from the project's own Dockerfile, and containers of it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.containers.engine import ROOT, Engine

BASE = "whisper-for-subs-tests:base"
IMAGE = "whisper-for-subs-tests:cpu"

HARDENED = (
    "--init",
    "--read-only",
    "--tmpfs=/tmp",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--pids-limit=512",
    "--memory=4g",
)
"""As docker-compose.yml runs it."""


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> Engine:
    if not request.config.getoption("docker"):
        pytest.skip("builds an image: make test-docker")
    if os.getuid() != 0 or shutil.which("debootstrap") is None:
        pytest.skip("the image's base is made with debootstrap, as root: apt-get install it")
    found = Engine.found()
    if found is None:
        pytest.skip("no Docker engine runs here that builds with secrets")
    return found


@pytest.fixture(scope="session")
def image(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image for machines without a GPU."""
    script = Path(__file__).with_name("base_image.sh")
    subprocess.run([script, BASE], check=True)
    engine.build(ROOT, IMAGE, "cpu", BASE, tmp_path_factory.mktemp("secrets"))
    return IMAGE


@pytest.fixture
def volume(engine: Engine) -> Iterator[str]:
    name = engine.run("volume", "create").strip()
    yield name
    engine.run("volume", "rm", "--force", name)


Start = Callable[..., str]


@pytest.fixture
def start(engine: Engine, image: str, volume: str) -> Iterator[Start]:
    """Starts a container with options and settings; gives its id. All go with the test, before the
    volume that they use."""
    ids: list[str] = []

    def run(*options: str, command: tuple[str, ...] = (), **settings: str) -> str:
        variables = [f"--env={name}={value}" for name, value in settings.items()]
        ids.append(
            engine.run("run", "-d", *HARDENED, *options, *variables, image, *command).strip()
        )
        return ids[-1]

    yield run
    left = engine.run("ps", "--all", "--quiet", "--no-trunc").split()
    for container in {*ids} & {*left}:
        engine.run("rm", "--force", "--volumes", container)
