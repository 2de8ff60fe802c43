"""``cluster``: the machines whose devices work for one service."""

from __future__ import annotations

import argparse
import secrets
from typing import NoReturn

from cli.failures import COMPLETE
from cluster.launch import become, check_ray, head_command, join_command
from core.errors import InvalidOption
from core.settings import Settings

TOKEN_BYTES = 32


def cluster(args: argparse.Namespace) -> int:
    """Run the command; the exit code. A head or node goes on as Ray's program."""
    if args.action == "token":
        print(secrets.token_hex(TOKEN_BYTES))
        return COMPLETE
    _start(args)


def _start(args: argparse.Namespace) -> NoReturn:
    check_ray()
    token = Settings().cluster_token
    if not token:
        raise InvalidOption(
            "Whoever reaches a machine of the cluster could run programs on all of them.",
            hint="Set WHISPER_CLUSTER_TOKEN, the same on all machines: `cluster token` prints one.",
        )
    if args.action == "join":
        command = join_command(args.head, args.listen, args.cpus, args.gpus, args.temp_dir)
    else:
        command = head_command(args.listen, args.port, args.client_port, args.temp_dir)
    become(command, token)
