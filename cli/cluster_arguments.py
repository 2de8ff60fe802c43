"""What the command ``cluster`` takes. Nothing heavy is imported: ``--help`` answers at once."""

from __future__ import annotations

import argparse

from cli.gpu_arguments import Commands

ABOUT = """\
Several machines as one: their GPUs or CPUs become workers of one service, which has
WHISPER_CLUSTER=ray://HEAD:10001. The service and all machines have the same version of this program
and the same WHISPER_CLUSTER_TOKEN: see docs/cluster.md.

exit codes: 0 done, 2 wrong use; otherwise Ray's
"""


def add_cluster(commands: Commands) -> None:
    command = commands.add_parser(
        "cluster",
        help="let the devices of several machines work for one service",
        description=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = command.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("token", help="print a new random token")
    head = actions.add_parser("head", help="run the meeting point; it decodes nothing itself")
    head.add_argument(
        "--listen",
        metavar="ADDRESS",
        help="this machine's address, of several (default: that of its route to the internet)",
    )
    head.add_argument("--port", type=int, default=6379, help="for nodes (default: 6379)")
    head.add_argument(
        "--client-port", type=int, default=10001, help="for services (default: 10001)"
    )
    join = actions.add_parser("join", help="let this machine's devices work for the cluster")
    join.add_argument("head", metavar="HEAD:PORT", help="address of the head")
    join.add_argument("--listen", metavar="ADDRESS", help="this machine's address, of several")
    join.add_argument("--cpus", type=int, help="CPU cores to lend (default: all)")
    join.add_argument("--gpus", type=int, help="GPUs to lend (default: all)")
    for each in (head, join):
        each.add_argument("--temp-dir", metavar="DIR", help="where Ray keeps its sockets and logs")
