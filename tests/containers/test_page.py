"""Commands of docs/docker.md, run as they stand but for the name of image and container.

Those of Compose are left out: they start what other tests start.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.code_blocks import code_blocks
from tests.containers.conftest import BASE, Start
from tests.containers.engine import ROOT, Engine
from tests.waiting import PATIENCE_S, eventually

NAME = f"whisper-for-subs-tests-{os.getpid()}-page"
"""Of the image and of the container that stand in for whisper-for-subs."""

Page = Callable[[str], None]


def docker_commands(sign: str) -> str:
    """The block of the page with that text, without its lines for Compose."""
    (block,) = (b for b in code_blocks(ROOT / "docs" / "docker.md", "bash") if sign in b.text)
    lines = block.text.replace("\\\n", " ").splitlines()
    kept = [line for line in lines if not line.startswith("docker compose")]
    assert any(sign in line for line in kept)
    return re.sub(r"\bwhisper-for-subs\b(?!\.tar)", NAME, "\n".join(kept))


@pytest.fixture
def page(engine: Engine, image: str, tmp_path: Path) -> Iterator[Page]:
    """Runs the block with that text, in a folder of the test's own."""
    engine.run("tag", image, f"{NAME}:latest")

    def run(sign: str) -> None:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", docker_commands(sign)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        assert done.returncode == 0, done.stderr

    yield run
    for tag in engine.run("images", "--format={{.Repository}}:{{.Tag}}", NAME).split():
        engine.run("rmi", tag)


def healthy(engine: Engine) -> bool:
    assert engine.inspect(NAME)["State"]["Running"], engine.logs(NAME)
    try:
        engine.run("exec", NAME, "python", "-m", "scripts.healthcheck")
    except RuntimeError:
        return False
    return True


def data(engine: Engine) -> set[str]:
    """Names in the data volume."""
    return {*engine.run("exec", NAME, "ls", "-A", "/app/data").split()}


def test_a_backup_brings_back_what_was_there(
    engine: Engine, start: Start, volume: str, page: Page, tmp_path: Path
) -> None:
    start(f"--name={NAME}", f"--volume={volume}:/app/data", WHISPER_MODEL="tiny.en")
    eventually(lambda: healthy(engine), "it is healthy")
    users = engine.run("exec", NAME, "cat", "/app/data/users.txt")
    assert users.startswith("admin:")
    page(">data.tar.gz")
    assert (tmp_path / "data.tar.gz").stat().st_size
    eventually(lambda: healthy(engine), "it is healthy again")
    engine.run("exec", NAME, "sh", "-c", "rm /app/data/users.txt && touch /app/data/.later")
    page("<data.tar.gz")
    eventually(lambda: healthy(engine), "it is healthy again")
    assert {"jobs.sqlite3", "secret"} <= data(engine)
    assert ".later" not in data(engine)
    # The password's hash, too: a service that lost its users would make an admin again.
    assert engine.run("exec", NAME, "cat", "/app/data/users.txt") == users


def test_an_image_is_carried_over_as_a_file(engine: Engine, page: Page) -> None:
    # A small one of its own, so that it is really gone in between.
    engine.run("create", f"--name={NAME}", BASE)
    try:
        engine.run("commit", "--change=LABEL carried=over", NAME, f"{NAME}:latest")
    finally:
        engine.run("rm", NAME)
    made = engine.inspect(f"{NAME}:latest")["Id"]
    page("docker save whisper-for-subs:latest | gzip")
    engine.run("rmi", f"{NAME}:latest")
    with pytest.raises(RuntimeError, match=r"(?i)no such object"):
        engine.inspect(made)
    page("docker load")
    assert engine.inspect(f"{NAME}:latest")["Config"]["Labels"]["carried"] == "over"


def test_the_way_back_leads_to_the_image_before(engine: Engine, start: Start, page: Page) -> None:
    start(f"--name={NAME}", command=("sleep", "infinity"))
    before = engine.inspect(f"{NAME}:latest")["Id"]
    page("whisper-for-subs:latest whisper-for-subs:previous")
    engine.run("tag", BASE, f"{NAME}:latest")
    assert engine.inspect(f"{NAME}:latest")["Id"] != before
    page("whisper-for-subs:previous whisper-for-subs:latest")
    assert engine.inspect(f"{NAME}:latest")["Id"] == before
    assert not engine.inspect(NAME)["State"]["Running"]


def test_a_model_is_copied_into_the_volume(
    engine: Engine, start: Start, page: Page, tiny_en: Path, tmp_path: Path
) -> None:
    # Another model's files are enough: it is found by its name and read as it is.
    shutil.copytree(tiny_en, tmp_path / "large-v3-turbo")
    start(f"--name={NAME}", command=("sleep", "infinity"))
    page("docker cp")
    listed = engine.run("exec", NAME, "python", "-m", "cli.main", "models")
    (line,) = (line for line in listed.splitlines() if line.startswith("large-v3-turbo"))
    assert "in /app/models" in line
