"""The images, built once from the project's own Dockerfile, and containers of them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.browser import browser as browser
from tests.browser import profile as profile
from tests.containers.compose import Compose, program
from tests.containers.engine import ROOT, Engine, own_name
from tests.containers.service import Service

BASE = "whisper-for-subs-tests:base"
IMAGE = "whisper-for-subs-tests:cpu"
OTHERS = "whisper-for-subs-tests:others"

HERE = Path(__file__).parent

HARDENED = (
    "--init",
    "--read-only",
    "--tmpfs=/tmp",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--pids-limit=4096",
    "--memory=32g",
)
"""As docker-compose.yml runs it."""


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """It has nothing of a test run that was killed, and keeps nothing of this one."""
    if not request.config.getoption("docker"):
        pytest.skip("builds an image: make test-docker")
    if os.getuid() != 0 or shutil.which("debootstrap") is None:
        pytest.skip("the image's base is made with debootstrap, as root: apt-get install it")
    found = Engine.found()
    if found is None:
        pytest.skip("no Docker engine runs here that builds with secrets")
    found.sweep(lambda pid: not Path(f"/proc/{pid}").exists())
    yield found
    found.sweep(lambda pid: pid == os.getpid())


@pytest.fixture(scope="session")
def base_image(engine: Engine) -> str:
    """Debian with Python, in place of Docker's image."""
    subprocess.run([HERE / "base_image.sh", BASE], check=True)
    return BASE


@pytest.fixture(scope="session")
def image(engine: Engine, base_image: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image for machines without a GPU."""
    engine.build(ROOT, IMAGE, base_image, tmp_path_factory.mktemp("secrets"), "--target=cpu")
    return IMAGE


@pytest.fixture(scope="session")
def others(engine: Engine, base_image: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Debian's PostgreSQL and Prometheus, in place of the images that the Compose file names."""
    engine.build(HERE / "others", OTHERS, base_image, tmp_path_factory.mktemp("secrets"))
    return OTHERS


@pytest.fixture
def volume(engine: Engine) -> Iterator[str]:
    name = engine.run("volume", "create", own_name()).strip()
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
        named = f"--name={own_name()}"
        ids.append(
            engine.run("run", "-d", named, *HARDENED, *options, *variables, image, *command).strip()
        )
        return ids[-1]

    yield run
    left = engine.run("ps", "--all", "--quiet", "--no-trunc").split()
    for container in {*ids} & {*left}:
        engine.run("rm", "--force", "--volumes", container)


Serve = Callable[..., Service]


@pytest.fixture
def serve(engine: Engine, start: Start, volume: str) -> Serve:
    """Starts the app with a data volume, the test's own if no other is named; it has a port."""

    def run(*options: str, data: str = volume, **settings: str) -> Service:
        mounted = f"--volume={data}:/app/data"
        return Service(engine, start(mounted, "--publish=127.0.0.1::7860", *options, **settings))

    return run


@pytest.fixture(scope="session")
def compose(
    engine: Engine, image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Compose]]:
    """Makes projects of docker-compose.yml, for a machine without a GPU. They go in the end."""
    if not program():
        pytest.skip("no Docker Compose here: apt-get install docker-compose")
    made: list[Compose] = []
    folder = tmp_path_factory.mktemp("compose")

    def make(*files: Path, profiles: tuple[str, ...] = (), **variables: str) -> Compose:
        settings = {"WHISPER_GPUS": "none", "WHISPER_IMAGE": image, **variables}
        made.append(Compose(folder, *files, profiles=profiles, **settings))
        return made[-1]

    yield make
    for each in made:
        each.down()
