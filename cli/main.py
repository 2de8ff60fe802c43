"""The command line: ``python -m cli.main`` and ``whisper-for-subs``.

Nothing heavy is imported before a command is known: ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence

from cli.arguments import parser

RUN = {
    "transcribe": "cli.transcribe:transcribe",
    "gpu-transcribe": "cli.transcribe:transcribe",
    "audio": "cli.transcribe:transcribe",
    "serve": "cli.serve:serve",
    "unload": "cli.unload:unload",
    "models": "cli.models:show_models",
    "gpu": "cli.gpu:gpu",
    "plan": "cli.plan:plan",
    "plan-finetune": "cli.plan_finetune:show_plan",
    "doctor": "cli.doctor:doctor",
    "cluster": "cli.cluster:cluster",
    "endpoints": "cli.endpoints:endpoints",
    "users": "cli.access:users",
    "keys": "cli.access:keys",
}
"""Where each command is run: called with its arguments, it returns the exit code."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit code."""
    for stream in (sys.stdout, sys.stderr):
        # A file name may hold what the terminal's encoding cannot say.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    args = parser().parse_args(argv)
    try:
        return _run(args)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of the output has gone; the interpreter must not fail over that at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _run(args: argparse.Namespace) -> int:
    from cli.failures import exit_code, tell
    from core.errors import SubtitleError

    module, name = RUN[args.command].split(":")
    command: Callable[[argparse.Namespace], int] = getattr(importlib.import_module(module), name)
    try:
        return command(args)
    except SubtitleError as error:
        tell(error)
        return exit_code(error)


if __name__ == "__main__":
    sys.exit(main())
