"""What the command ``endpoints`` takes. Nothing heavy is imported: ``--help`` answers at once."""

from __future__ import annotations

import argparse

from cli.gpu_arguments import Commands
from core.endpoints import KINDS

ABOUT = """\
Remote servers that jobs may send audio to, in the database of the service (WHISPER_DATA_DIR or
DATABASE_URL). A running service notices changes within seconds. docs/endpoints.md has the address
to enter for each kind of server.

exit codes: 0 done, 1 a test failed or the database does not answer, 2 wrong use
"""

WHO = {
    "remove": "remove one; what it decodes goes on elsewhere",
    "activate": "let jobs use one",
    "deactivate": "let no job use it any more",
    "default": "ask this one before all others",
    "test": "send it a short clip of speech and show what comes back",
}


def add_endpoints(commands: Commands) -> None:
    command = commands.add_parser(
        "endpoints",
        help="manage remote speech servers that jobs may use",
        description=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = command.add_subparsers(dest="action", required=True, metavar="ACTION")
    show = actions.add_parser("list", help="show all of them")
    show.add_argument("--json", action="store_true", help="for programs")
    add = actions.add_parser("add", help="set up another one; it is not active yet")
    add.add_argument("--id", help="by which jobs choose it (default: made of the name)")
    _add_fields(add, new=True)
    edit = actions.add_parser("edit", help="change one; what is not given stays")
    edit.add_argument("id")
    _add_fields(edit, new=False)
    for name, about in WHO.items():
        action = actions.add_parser(name, help=about)
        action.add_argument("id")
        if name == "test":
            action.add_argument("--json", action="store_true", help="for programs")


def _add_fields(parser: argparse.ArgumentParser, *, new: bool) -> None:
    add = parser.add_argument
    add("--name", help="for people")
    add("--url", dest="api_url", required=new, help="address in full, with the path")
    add("--model", dest="model_name", metavar="NAME", help="the server's name for the model")
    add("--kind", choices=KINDS, help="protocol (default: as the address tells)")
    key = parser.add_mutually_exclusive_group()
    key.add_argument(
        "--key", action="store_true", help="ask for its key, or read it from standard input"
    )
    key.add_argument(
        "--key-from", metavar="NAME_API_KEY", help="its key is in that variable of the service"
    )
    key.add_argument("--no-key", action="store_true", help="it has no key any more")
    add("--priority", type=int, metavar="N", help="lower is asked earlier (default 100)")
    add("--parallel", type=int, metavar="N", help="requests at a time (default 2)")
    add("--timeout", dest="timeout_s", type=float, metavar="SECONDS",
        help="for an answer (default 60), and")  # fmt: skip
    add("--timeout-per-audio", dest="timeout_per_audio_s", type=float, metavar="SECONDS",
        help="more for each second of audio (default 4)")  # fmt: skip
    add("--max-clip", dest="max_clip_s", type=float, metavar="SECONDS",
        help="longest clip that it takes (default 30)")  # fmt: skip
    add("--mode", choices=("offline", "2pass"), help="FunASR's way of decoding")
