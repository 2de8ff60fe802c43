"""The command line: ``python -m cli.main`` and ``whisper-for-subs``.

Only arguments are handled here, with nothing heavy imported: ``--help`` answers at once, and the
processes that a job spawns import this file again.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

EXIT_CODES = """\
exit codes:
  0    complete
  1    the machine failed: disk space, memory, a device
  2    wrong use, an unreadable input, or a model that cannot be had
  3    finished, and some speech has no text (the gaps are listed)
  130  interrupted
Several files: the worst that happened, in the order 130, 1, 2, 3, 0. A file that fails does not
stop the others.
"""

TRANSCRIBE = """\
Each FILE becomes FILE's name without its extension plus the extension of the format, beside the
recording or in --output-dir. Files of that name are replaced, each in one step. Two recordings of
one name get talk.srt and talk-2.srt. Paths of the subtitles go to standard output, everything
else to standard error.

Where an option is not given, the environment (WHISPER_MODEL, WHISPER_BEAM_SIZE …), then a file
.env, then the default decides.
"""


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
        # Whoever read the output has gone; the interpreter must not stumble over it when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _run(args: argparse.Namespace) -> int:
    from cli.failures import exit_code, tell
    from core.errors import SubtitleError

    try:
        if args.command == "transcribe":
            from cli.transcribe import transcribe

            return transcribe(args)
        if args.command == "models":
            from cli.models import show_models

            return show_models()
        if args.command == "users":
            from cli.access import users

            return users(args)
        if args.command == "keys":
            from cli.access import keys

            return keys(args)
        from cli.serve import serve

        return serve(args)
    except SubtitleError as error:
        tell(error)
        return exit_code(error)


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="whisper-for-subs",
        description="Speech in, publishable subtitles out, with nothing lost.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_transcribe(commands)
    serve = commands.add_parser("serve", help="run the web page")
    serve.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    serve.add_argument("--port", type=int, help="port to listen on (default 7860)")
    commands.add_parser("models", help="list the models, what each can do and where it is")
    _add_access(commands)
    return top


def _add_access(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    for command, what, added in (
        ("users", "people who may log in", "add one or change the password, which is asked for"),
        ("keys", "API keys of programs", "make one; it is printed once"),
    ):
        about = f"manage {what} of the web page and its API"
        parser = commands.add_parser(command, help=about, description=about)
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
        actions.add_parser("add", help=added).add_argument("name")
        actions.add_parser("remove", help="remove one, at once").add_argument("name")
        actions.add_parser("list", help="show the names")


def _add_transcribe(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "transcribe",
        help="make subtitles of recordings",
        description=TRANSCRIBE,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = command.add_argument
    add("files", nargs="+", type=Path, metavar="FILE", help="audio or video, any format")
    add("--model", help="name, CTranslate2 directory or allowed hub id (see: models)")
    add("--language", help="code or name, such as zh or Chinese (default: found out)")
    add("--task", choices=("transcribe", "translate"), help="translate: into English")
    add("--prompt", help="text that shows spelling and style")
    add("--hotwords", help="words to expect, such as names")
    add("--audio-track", type=int, metavar="N", help="audio track, counted from 0")

    out = command.add_argument_group("output")
    add = out.add_argument
    add("--formats", default="srt", metavar="LIST", help="srt,vtt,txt,tsv,json or all")
    add("--output-dir", type=Path, metavar="DIR", help="default: beside each recording")
    add("--report", type=Path, metavar="FILE.json", help="where the time went, as JSON: an"
        " object for one FILE, a list of them for several")  # fmt: skip
    add("--quiet", action="store_true", help="only warnings and errors")

    how = command.add_argument_group("hearing")
    add = how.add_argument
    add("--beam-size", type=int, metavar="N", help="1 is faster and less accurate (default 5)")
    add("--batch-size", type=int, metavar="N", help="windows decoded together (default 8)")
    add("--word-timestamps", action=argparse.BooleanOptionalAction, default=True,
        help="times of words, which subtitles are cut by; without: faster, coarser")  # fmt: skip
    add("--min-segment", type=float, metavar="S", help="shortest segment (default 10 s)")
    add("--max-segment", type=float, metavar="S", help="longest segment (default 60 s)")
    add("--vad-threshold", type=float, metavar="P", help="0-1, lower hears quieter speech"
        " (default 0.5)")  # fmt: skip

    where = command.add_argument_group("devices")
    add = where.add_argument
    add("--device", choices=("auto", "cpu", "cuda"), help="default: GPUs where there are any")
    add("--gpus", metavar="LIST", help="indices or UUIDs, such as 0,1 (default: all)")
    add("--workers", type=int, metavar="N", help="CPU workers (default: as many as fit)")
    add("--threads", type=int, metavar="N", help="threads of each CPU worker (default 1)")
    add("--compute-type", metavar="TYPE", help="int8, float16 … (default: by device)")


if __name__ == "__main__":
    sys.exit(main())
