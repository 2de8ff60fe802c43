"""How the machines of a cluster are started: Ray's own command, with what this project needs.

A head does no work itself: the service on that machine has its devices already.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

from core.errors import InvalidOption
from core.settings import variable

PROJECT = Path(__file__).resolve().parents[1]

HEAD_PORT = 6379
"""Where nodes come to."""

CLIENT_PORT = 10001
"""Where services come to, ``ray://HOST:10001``."""

COMMON = ("--block", "--disable-usage-stats", "--log-color=false")


def ray_variables(token: str) -> dict[str, str]:
    """Of the environment of every process that has to do with Ray."""
    found = {"RAY_USAGE_STATS_ENABLED": "0"}
    if token:
        found |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    return found


def check_ray() -> None:
    """Raises InvalidOption."""
    if find_spec("ray") is None:
        raise InvalidOption(
            "A cluster needs Ray, which is not installed.",
            hint="Install it: pip install --requirement requirements-cluster.txt",
        )


def head_command(
    address: str | None, port: int, client_port: int, temp_dir: str | None
) -> list[str]:
    return [
        *_ray("start", "--head", *COMMON),
        *([f"--node-ip-address={address}"] if address else []),
        f"--port={port}",
        f"--ray-client-server-port={client_port}",
        "--include-dashboard=false",
        "--num-cpus=0",
        "--num-gpus=0",
        *([f"--temp-dir={temp_dir}"] if temp_dir else []),
    ]


def join_command(
    head: str, address: str | None, cpus: int | None, gpus: int | None, temp_dir: str | None
) -> list[str]:
    return [
        *_ray("start", *COMMON),
        f"--address={head}",
        *([f"--node-ip-address={address}"] if address else []),
        *([f"--num-cpus={cpus}"] if cpus is not None else []),
        *([f"--num-gpus={gpus}"] if gpus is not None else []),
        *([f"--temp-dir={temp_dir}"] if temp_dir else []),
    ]


def become(command: Sequence[str], token: str) -> NoReturn:
    """Go on as that program. Its workers find this project's modules."""
    paths = [str(PROJECT), *filter(None, [variable("PYTHONPATH")])]
    os.environ.update(ray_variables(token), PYTHONPATH=os.pathsep.join(paths))
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(command[0], [*command])


def _ray(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "ray.scripts.scripts", *arguments]
