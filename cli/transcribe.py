"""``transcribe`` and its sisters: recordings to subtitles on workers that stay loaded."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

from cli.display import Bar, Display, NoDisplay, clock
from cli.failures import COMPLETE, WITH_GAPS, exit_code, tell, worst
from cli.links import Links, folder_for_links, part_links
from cli.options import common_request, gpus_of, requests_of, settings_of
from cli.report import check_writable, report_entry, write_report
from core.errors import Cancelled, DeviceUnavailable, FileMissing, SubtitleError, UnreadableMedia
from core.languages import LANGUAGES
from core.logs import one_line, setup_logging
from core.settings import Settings
from jobs.job import JobHandle, JobView
from jobs.request import JobRequest, check_options
from jobs.service import CLI, JobService
from jobs.states import JobState

REDRAW_S = 0.5
"""Longest time the bar stands still; the time left changes by itself."""

MAX_GAPS_SHOWN = 10


@dataclass(slots=True)
class _Outcome:
    """What became of one recording."""

    code: int
    entry: dict[str, Any]


def transcribe(args: argparse.Namespace) -> int:
    """Run the command; the exit code.

    Raises:
        SubtitleError: nothing at all can be done; every recording's own error is told here.
    """
    urls = part_links(args)
    settings = settings_of(args)
    gpus = gpus_of(args)
    requests = requests_of(args, settings)
    common = common_request(args, settings)
    if urls:
        # Before anything is fetched.
        check_options(common, settings)
    if args.report is not None:
        check_writable(args.report)
    on_terminal = sys.stderr.isatty()
    with _stoppable() as stop, _own_folder(settings) as folder:
        settings = settings.model_copy(
            update={
                "data_dir": folder,
                # Where the files go, the database goes: it is of no use without them.
                "database_url": settings.database_url if folder == settings.data_dir else None,
                "log_level": _log_level(settings, args.quiet, on_terminal),
                "max_waiting_jobs": len(requests) + len(urls),
            }
        )
        _set_up_log(settings)
        display: Display = Bar() if on_terminal and not args.quiet else NoDisplay()
        with (
            folder_for_links(folder) if urls else nullcontext(folder) as fetched,
            JobService(settings, gpu_ids=gpus, origin=CLI) as service,
        ):
            links = Links(fetched, settings, common, requests, display, lambda: stop.asked)
            try:
                outcomes = _Command(service, links, display, args.quiet, stop).run(requests, urls)
            except DeviceUnavailable as error:
                raise _with_a_way_out(error, args.command) from error
            finally:
                display.close()
    if args.report is not None:
        write_report(args.report, [outcome.entry for outcome in outcomes])
    return worst(outcome.code for outcome in outcomes)


def _with_a_way_out(error: DeviceUnavailable, command: str) -> DeviceUnavailable:
    if command != "gpu-transcribe":
        return error
    return DeviceUnavailable(
        error.message,
        hint="`audio` does the same on the CPU; `doctor` finds out why there is no GPU.",
    )


class _Command:
    """One call of ``transcribe``, from checked requests to told results."""

    def __init__(
        self, service: JobService, links: Links, display: Display, quiet: bool, stop: _Stop
    ) -> None:
        self._service = service
        self._links = links
        self._display = display
        self._quiet = quiet
        self._stop = stop
        self._load_s: float | None = None

    def run(self, requests: list[JobRequest], urls: list[str]) -> list[_Outcome]:
        refused = {i: error for i, r in enumerate(requests) if (error := self._refuse(r))}
        if urls or len(refused) < len(requests):
            # A GPU that is not there is told before a model or a recording is fetched.
            self._service.engines.pool()
        jobs = {i: self._submit(r) for i, r in enumerate(requests) if i not in refused}
        followed = [self._fetch(url) for url in urls]
        return [
            self._follow(str(request.path), jobs[i])
            if i in jobs
            else _failed(str(request.path), refused[i])
            for i, request in enumerate(requests)
        ] + [
            _failed(url, job) if isinstance(job, SubtitleError) else self._follow(url, job)
            for url, job in zip(urls, followed, strict=True)
        ]

    def _refuse(self, request: JobRequest) -> SubtitleError | None:
        """What is wrong with this file alone; a wrong option is raised, because it stops all."""
        try:
            self._service.check(request)
        except (FileMissing, UnreadableMedia) as error:
            tell(error, request.title)
            return error
        return None

    def _fetch(self, url: str) -> JobHandle | SubtitleError:
        """The job of a link, or what is wrong with it, which is told."""
        try:
            request = self._links.fetch(url)
        except Cancelled:
            raise
        except SubtitleError as error:
            self._display.close()
            tell(error, one_line(url))
            return error
        self._display.close()
        return self._submit(request)

    def _submit(self, request: JobRequest) -> JobHandle:
        if self._load_s is None:
            # Before the first job, so that a report's speed is that of the work alone.
            self._display.say("Loading the model …")
            wanted = request.decode
            self._load_s = self._service.engines.load(
                self._progress, task=wanted.task, language=wanted.language
            )
        return self._service.submit(request)

    def _progress(self, text: str) -> None:
        if self._stop.asked:
            raise Cancelled()
        self._display.say(text)

    def _follow(self, source: str, job: JobHandle) -> _Outcome:
        view = job.view(text=False)
        while not view.state.ended:
            self._display.show(view)
            view = job.watch(view.version, REDRAW_S, text=False)
        self._display.close()
        if view.error is not None:
            tell(view.error, view.name)
            return _failed(source, view.error)
        view = job.view()
        if view.report is not None:
            view = replace(view, report=replace(view.report, load_s=self._take_load_s(view)))
        self._tell_result(view)
        for path in view.outputs.values() if not self._quiet else ():
            print(one_line(str(path)))
        sys.stdout.flush()
        complete = view.state is JobState.COMPLETE
        entry = report_entry(source, view.state, view.report, None)
        return _Outcome(COMPLETE if complete else WITH_GAPS, entry)

    def _take_load_s(self, view: JobView) -> float:
        """The load is told once: with the first recording that waited for it."""
        load_s, self._load_s = self._load_s or 0.0, 0.0
        return load_s + (view.report.load_s if view.report else 0.0)

    def _tell_result(self, view: JobView) -> None:
        report, name = view.report, one_line(view.name)
        if report is not None and not self._quiet:
            cues = f"{len(view.cues)} subtitle{'' if len(view.cues) == 1 else 's'}"
            language = LANGUAGES.get(report.language or "", "no language")
            print(
                f"{name}: {clock(report.audio_s)} in {clock(report.elapsed_s)}"
                f" ({report.speed:.1f}x), {cues}, {language}, {report.model}",
                file=sys.stderr,
            )
        if view.message and not (self._quiet and view.state is JobState.COMPLETE):
            print(f"{name}: {one_line(view.message)}", file=sys.stderr)
        for gap in view.gaps[:MAX_GAPS_SHOWN]:
            times = f"{clock(gap.start_s)}-{clock(gap.end_s)}"
            print(f"  no text {times}: {one_line(gap.reason)}", file=sys.stderr)
        if len(view.gaps) > MAX_GAPS_SHOWN:
            print(f"  and {len(view.gaps) - MAX_GAPS_SHOWN} more", file=sys.stderr)


def _failed(source: str, error: SubtitleError) -> _Outcome:
    return _Outcome(exit_code(error), report_entry(source, JobState.FAILED, None, error))


class _Stop:
    """Somebody pressed Ctrl-C."""

    asked = False


@contextmanager
def _stoppable() -> Iterator[_Stop]:
    """Ctrl-C, a hang-up and SIGTERM end the command in good order; a second one at once."""
    stop = _Stop()
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def interrupt(number: int, frame: FrameType | None) -> None:
        stop.asked = True
        for each in signals:
            signal.signal(each, signal.SIG_DFL)
        raise KeyboardInterrupt

    before = {each: signal.signal(each, interrupt) for each in signals}
    try:
        yield stop
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextmanager
def _own_folder(settings: Settings) -> Iterator[Path]:
    """The data directory, if one was chosen; otherwise a temporary one: a command leaves nothing
    in the folder it was called from but its outputs."""
    if "data_dir" in settings.model_fields_set:
        yield settings.data_dir
        return
    with tempfile.TemporaryDirectory(prefix="whisper-for-subs-") as folder:
        yield Path(folder)


def _log_level(settings: Settings, quiet: bool, on_terminal: bool) -> str:
    """Log lines would tear the bar; where there is none they are the only news."""
    if "log_level" in settings.model_fields_set:
        return settings.log_level
    return "warning" if quiet or on_terminal else settings.log_level


def _set_up_log(settings: Settings) -> None:
    setup_logging(settings.log_level)
    # Told by the command itself; what comes with a traceback stays in the log.
    logging.getLogger("jobs.queue").addFilter(
        lambda record: record.levelno < logging.WARNING or record.exc_info is not None
    )
