"""What can be checked of docs/docker.md without a Docker engine."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.code_blocks import CodeBlock, code_blocks
from tests.postgres import PASSWORD, PostgresServer, programs

PAGE = Path(__file__).resolve().parents[2] / "docs" / "docker.md"
BLOCKS = code_blocks(PAGE, "bash")


def block(sign: str) -> str:
    (found,) = (each.text for each in BLOCKS if sign in each.text)
    return found


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_every_block_is_read_by_the_shell(block: CodeBlock) -> None:
    done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_dump_brings_back_the_database(postgres: PostgresServer, tmp_path: Path) -> None:
    dump, restore = re.findall(r"docker compose exec -T postgres (.*)", joined("pg_dump"))
    with postgres.connect() as connection:
        connection.execute("CREATE DATABASE subtitles")
    environment = {
        **os.environ,
        "PATH": f"{programs()}:{os.environ['PATH']}",
        "PGHOST": "127.0.0.1",
        "PGPORT": str(postgres.port),
        "PGPASSWORD": PASSWORD,
    }

    def run(command: str) -> str:
        done = subprocess.run(
            ["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    query = "psql --username subtitles --tuples-only --no-align subtitles --command"
    try:
        run(f"{query} 'CREATE TABLE jobs AS SELECT 17 AS id'")
        run(dump)
        run(f"{query} 'UPDATE jobs SET id = 18'")
        run(restore)
        assert run(f"{query} 'SELECT id FROM jobs'") == "17\n"
    finally:
        with postgres.connect() as connection:
            connection.execute("DROP DATABASE subtitles WITH (FORCE)")


def joined(sign: str) -> str:
    """A block with its long lines in one piece."""
    return re.sub(r"\\\n\s*", "", block(sign))


def test_podman_and_its_unit_say_the_same() -> None:
    (command,) = (line for line in joined("podman run").splitlines() if line.startswith("podman"))
    _, _, *options, image = shlex.split(command)
    (text,) = (each.text for each in code_blocks(PAGE, "ini"))
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.read_string(text)
    lines = [line for line in text.splitlines() if "=" in line]
    container = lines[: lines.index("Restart=always")]
    flags = {
        "ContainerName": "--name",
        "UserNS": "--userns",
        "Tmpfs": "--tmpfs",
        "DropCapability": "--cap-drop",
        "PublishPort": "--publish",
        "Volume": "--volume",
        "AddDevice": "--device",
    }
    switches = {
        "RunInit=true": "--init",
        "ReadOnly=true": "--read-only",
        "NoNewPrivileges=true": "--security-opt=no-new-privileges",
    }
    said = ["--detach"]
    for line in container:
        name, _, value = line.partition("=")
        if name == "PodmanArgs":
            said += value.split()
        elif name == "Image":
            assert value == image
        else:
            said.append(switches[line] if line in switches else f"{flags[name]}={value}")
    assert sorted(said) == sorted(options)
    # Podman itself kills after its own time; systemd must not be before it.
    stop_s = int(next(o for o in options if o.startswith("--stop-timeout")).partition("=")[2])
    assert int(unit["Service"]["TimeoutStopSec"]) > stop_s
