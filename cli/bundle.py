"""``doctor --bundle``: a zip for a bug report, shown before it is written."""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import io
import json
import platform
import sys
import zipfile
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy.exc import SQLAlchemyError

from cli.failures import COMPLETE
from core.errors import FileMissing, InvalidOption, SubtitleError
from core.files import create_file
from core.settings import Settings
from core.version import version
from doctor.diagnosis import Diagnosis
from doctor.discretion import Discretion, short
from gpu.nvml import read_gpus
from jobs.database import Database
from jobs.records import HistoryEntry, JobRecord
from jobs.store import JobStore

LOG_LINES = 5000
JOBS = 50

NO_LOG = """\
The app logs to standard error, which is kept by whatever started it. To add the last lines:

    docker logs whisper-for-subs >app.log 2>&1          # or: journalctl -u SERVICE >app.log
    python -m cli.main doctor --bundle report.zip --log app.log
"""

READ_ME = """\
A report of whisper-for-subs for a bug report. Everything is text.

    doctor.txt      what `doctor` found
    versions.json   the app, Python, the system and every installed package
    cards.json      GPUs: memory, load, temperature, driver
    settings.json   settings; of those that hold secrets, whether they are set
    log.txt         the last lines of the log
    jobs.json       the last jobs: states, options, times, faults

Secrets and links are left out. {names}
"""

_TEXTS = ("initial_prompt", "hotwords")
"""Options of a job that users write."""


def write_bundle(args: argparse.Namespace, found: Diagnosis, settings: Settings | None) -> int:
    """Show what the zip would hold, ask, and write it.

    Raises InvalidOption where there is nobody to ask, the file is there already, or the log
    cannot be read.
    """
    path: Path = args.bundle
    if path.exists():
        raise InvalidOption(f"{path} is there already.", hint="Choose another name.")
    if not args.yes and not sys.stdin.isatty():
        raise InvalidOption(
            "Nobody is here to confirm what the zip will hold.", hint="Confirm with --yes."
        )
    files = _contents(args, found, settings)
    print(f"{path} will hold:\n")
    for name, text in files.items():
        print(f"  {len(text.encode()):>9,} bytes  {name}")
    print()
    if not args.yes and not _confirmed(path, files):
        print("Nothing was written.")
        return COMPLETE
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    try:
        created = create_file(path, packed.getvalue(), private=True)
    except OSError as error:
        raise InvalidOption(f"{path} cannot be written: {error.strerror}.") from error
    if not created:
        raise InvalidOption(f"{path} is there already.", hint="Choose another name.")
    print(f"Wrote {path}. To unpack it: python -m zipfile -e {path} FOLDER")
    return COMPLETE


def _confirmed(path: Path, files: dict[str, str]) -> bool:
    while True:
        answer = input(f"Write {path}? [y]es, [n]o, [s]how everything: ").strip().lower()
        if answer in ("y", "yes"):
            return True
        if answer in ("n", "no", ""):
            return False
        for name, text in files.items():
            print(f"\n===== {name} =====\n{text}")


def _contents(
    args: argparse.Namespace, found: Diagnosis, settings: Settings | None
) -> dict[str, str]:
    """The files of the zip, clean."""
    jobs, trouble = _jobs(settings)
    private = [] if args.with_names else [text for job, _ in jobs for text in _said(job)]
    discretion = Discretion(_secrets(settings), private)
    names = "Names of recordings and texts of users are "
    names += "in it." if args.with_names else "left out as well."
    log = NO_LOG
    if args.log is not None:
        lines = _tail(args.log)
        log = discretion.clean("".join(lines)) if args.with_names else discretion.clean_log(lines)
    listed = [_job(job, history, with_texts=args.with_names) for job, history in jobs]
    return {
        "README.txt": READ_ME.format(names=names),
        "doctor.txt": discretion.clean(found.text()),
        "versions.json": _json(_versions()),
        "cards.json": _json(_cards()),
        "settings.json": _json(discretion.clean_data(_shown_settings(settings))),
        "log.txt": log,
        "jobs.json": _json(discretion.clean_data({"problem": trouble, "jobs": listed})),
    }


def _secrets(settings: Settings | None) -> list[str]:
    """Values of settings that must not be shown, and the passwords in them."""
    if settings is None:
        return []
    fields = [name for name, info in Settings.model_fields.items() if not info.repr]
    values = [value for name in fields if (value := getattr(settings, name)) is not None]
    return [*values, *(password for value in values if (password := urlsplit(value).password))]


def _shown_settings(settings: Settings | None) -> dict[str, Any]:
    if settings is None:
        return {"problem": "The settings cannot be read; doctor.txt says why."}
    shown: dict[str, Any] = {}
    for name, info in Settings.model_fields.items():
        value = getattr(settings, name)
        secret = not info.repr and value is not None
        shown[name] = "is set, not shown" if secret else value
    return shown


def _versions() -> dict[str, Any]:
    packages = {each.name: each.version for each in importlib.metadata.distributions()}
    return {
        "whisper-for-subs": version(),
        "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "packages": dict(sorted(packages.items())),
    }


def _cards() -> dict[str, Any]:
    """Without what tells one card of a kind from another, and without other programs."""
    found = asdict(read_gpus())
    for card in found["devices"]:
        for part in (card, *card["mig"]):
            part["processes"] = len(part["processes"])
            del part["uuid"]
    return found


def _jobs(settings: Settings | None) -> tuple[list[tuple[JobRecord, list[HistoryEntry]]], str]:
    """The last jobs with their history, and why there are none. The database is only read."""
    if settings is None:
        return [], "The settings cannot be read."
    if settings.database_url is None and not (settings.data_dir / "jobs.sqlite3").is_file():
        return [], "There is no job database yet."
    database: Database | None = None
    try:
        database = Database.at(settings)
        store = JobStore(database)
        records, _ = store.find(limit=JOBS)
        return [(record, store.history(record.id)) for record in records], ""
    except SubtitleError as error:
        return [], error.message
    except SQLAlchemyError as error:
        # Its own text quotes statements.
        return [], f"The job database cannot be read: {type(error).__name__}."
    finally:
        if database is not None:
            database.close()


def _said(job: JobRecord) -> list[str]:
    """What users wrote or chose: names, texts, and who they are."""
    request = job.request
    texts = (job.name, request.name, request.url, request.output_stem, request.title)
    owners = [who.partition(":")[2] for who in (job.owner, job.client)]
    written = [getattr(request.options, name) for name in _TEXTS]
    stem = Path(job.name).stem
    return [text for text in (*texts, stem, *owners, *written) if text]


def _job(job: JobRecord, history: Sequence[HistoryEntry], *, with_texts: bool) -> dict[str, Any]:
    options = job.request.options.model_dump(mode="json")
    if not with_texts:
        options |= {name: f"{len(options[name])} characters" for name in _TEXTS if options[name]}
    report = None if job.report is None else asdict(job.report)
    if report is not None:
        del report["outputs"]
    error = None
    if job.error is not None:
        error = {"type": type(job.error).__name__, "message": job.error.message}
    return {
        "id": short(job.id),
        "name": job.name if with_texts else None,
        "extension": Path(job.name).suffix,
        "state": job.state,
        "created": _time(job.created_at),
        "started": _time(job.started_at),
        "ended": _time(job.ended_at),
        "resumes": job.resumes,
        "model": job.model,
        "language": job.language,
        "options": options,
        "message": job.message,
        "error": error,
        "report": report,
        "history": [
            {"at": _time(entry.at), "kind": entry.kind, "text": entry.text} for entry in history
        ],
    }


def _time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="milliseconds")


def _tail(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8", errors="backslashreplace") as file:
            return list(deque(file, LOG_LINES))
    except OSError as error:
        raise FileMissing(f"{path} cannot be read: {error.strerror}.") from error


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n"
