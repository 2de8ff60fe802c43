"""What every command takes. Nothing heavy is imported: ``--help`` answers at once."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from cli.cluster_arguments import add_cluster
from cli.endpoint_arguments import add_endpoints
from cli.gpu_arguments import Commands, add_gpu_commands
from cli.sources import recording
from core.settings import Settings
from jobs.options import OPTIONS, help_of, shown

EXIT_CODES = """\
exit codes:
  0    complete
  1    the machine failed: disk space, memory, a device
  2    wrong use, an input that is unreadable or cannot be fetched, or a model that cannot be had
  3    finished, and some speech has no text (the gaps are listed)
  130  interrupted
Several files: the worst that happened, in the order 130, 1, 2, 3, 0. A file that fails does not
stop the others.
"""

TRANSCRIBE = """\
Each FILE becomes FILE's name without its extension plus the extension of the format, beside the
recording or in --output-dir. Files of that name are replaced, each in one step. Two recordings of
one name get talk.srt and talk-2.srt.

Each link of --url is fetched first, and its subtitles are named by the recording's title, in
--output-dir or the current folder; there no file is replaced. Sites, limits and cookies are
settings: see docs/links.md.

Many recordings: name folders, or a --manifest with a path a line. In place of a path a line may be
a JSON object: {"path": "a.mp4", "language": "de", "name": "talk", "output_dir": "subs"}, with the
options of the API. Results are told as recordings end. A command that was stopped goes on with
--skip-existing.

Finished segments are kept for a while: a command that was killed goes on where it was when it is
called again, and other formats of the same recording cost no decoding.

Paths of the subtitles go to standard output, everything else to standard error.

Where an option is not given, the environment (WHISPER_MODEL, WHISPER_BEAM_SIZE …), then a file
.env, then the default decides.
"""

UNLOAD = """\
Asks the web page that runs on this machine to unload its models. Work that runs goes on: a model
that a job needs stays. The next job loads its model again.

The page is looked for where WHISPER_HOST, WHISPER_PORT and WHISPER_ROOT_PATH say. Where it asks for
a login, set WHISPER_API_KEY to a key (see: keys add).

exit codes: 0 it answered, 1 no page answers, 2 it refused
"""

DEVICE = {"gpu-transcribe": "cuda", "audio": "cpu"}
"""Where commands with a device in their name run."""

URL = "link of a recording; the sites are those of WHISPER_DOWNLOAD_SITES"

TRANSCRIBING = {
    "transcribe": "make subtitles of recordings",
    "gpu-transcribe": "the same on GPUs; without one it is an error",
    "audio": "the same on the CPU, slower, with any model that fits into main memory",
}


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="whisper-for-subs",
        description="Speech in, publishable subtitles out, with nothing lost.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, about in TRANSCRIBING.items():
        _add_transcribe(commands, name, about)
    serve = commands.add_parser("serve", help="run the web page")
    serve.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    serve.add_argument("--port", type=int, help="port to listen on (default 7860)")
    _add_unload(commands)
    commands.add_parser("models", help="list the models, what each can do, takes and where it is")
    add_gpu_commands(commands)
    add_cluster(commands)
    add_endpoints(commands)
    _add_access(commands)
    return top


def _add_unload(commands: Commands) -> None:
    command = commands.add_parser(
        "unload",
        help="have a running web page give back the memory of idle models",
        description=UNLOAD,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--host", help="address the page listens on (default 127.0.0.1)")
    command.add_argument("--port", type=int, help="port it listens on (default 7860)")
    command.add_argument("--json", action="store_true", help="for programs")


def _add_access(commands: Commands) -> None:
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


def _add_transcribe(commands: Commands, name: str, about: str) -> None:
    command = commands.add_parser(
        name,
        help=about,
        description=TRANSCRIBE,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = command.add_argument
    files: dict[str, Any] = {"nargs": "*", "type": recording, "metavar": "FILE"}
    files["help"] = "audio or video, any format, or a folder with such files in it and below; a"
    files["help"] += " link is taken as with --url"
    if name == "transcribe":
        add("files", **files)
    else:
        add("--input", dest="files", default=[], **files)
    add("--manifest", metavar="FILE", help="list of recordings, one a line; - for standard input")
    add("--url", dest="urls", action="append", default=[], metavar="URL", help=URL)
    _add_options(add, "model", "language", "task", "initial_prompt", "hotwords", "audio_track")

    out = command.add_argument_group("output")
    add = out.add_argument
    _add_options(add, "formats")
    add("--output-dir", type=Path, metavar="DIR", help="default: beside each recording")
    add("--report", type=Path, metavar="FILE.json", help="where the time went, as JSON: an"
        " object for one FILE, a list of them for several")  # fmt: skip
    add("--summary", type=Path, metavar="FILE.csv", help="a row for each recording, written when it"
        " has ended")  # fmt: skip
    add("--skip-existing", action="store_true", help="leave out recordings whose subtitles are"
        " there and not older than they are")  # fmt: skip
    add("--quiet", action="store_true", help="only warnings and errors")
    add("--no-cache", action="store_true", help="neither use nor keep finished segments")

    how = command.add_argument_group("decoding")
    _add_options(
        how.add_argument,
        *("beam_size", "batch_size", "word_timestamps"),
        *("min_segment_duration", "max_segment_duration", "vad_threshold"),
    )

    where = command.add_argument_group("devices")
    add = where.add_argument
    _add_options(add, "device", "compute_type", "where")
    if name in DEVICE:
        command.set_defaults(device=DEVICE[name])
    add("--gpus", metavar="LIST", help="indices or UUIDs, such as 0,1 (default: all)")
    add("--workers", type=int, metavar="N", help="CPU workers (default: as many as fit)")
    add("--threads", type=int, metavar="N", help="threads of each CPU worker (default 1)")


def _add_options(add: Callable[..., Any], *names: str) -> None:
    """Flags of options of a job. One that is not given is None: the settings decide."""
    for name in names:
        how, kinds = shown(name), get_args(OPTIONS[name].annotation) or (OPTIONS[name].annotation,)
        about = help_of(name)
        takes: dict[str, Any] = {"dest": name, "help": about[0].lower() + about[1:]}
        if OPTIONS[name].annotation is bool:
            takes["action"] = argparse.BooleanOptionalAction
        elif all(isinstance(kind, str) for kind in kinds):
            takes["choices"] = kinds
        else:
            takes["metavar"] = how.metavar
            takes["type"] = next((kind for kind in (int, float) if kind in kinds), str)
            setting = Settings.model_fields.get(name, OPTIONS[name])
            default = OPTIONS[name].default or setting.default
            if isinstance(default, int | float) and default:
                takes["help"] += f" (default {default:g})"
        add(how.flag, **takes)
