"""``transcribe`` and its sisters: recordings to subtitles on workers that stay loaded."""

from __future__ import annotations

import argparse
import logging
import secrets
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
from cli.recordings import Recording, Recordings
from cli.report import check_writable, report_entry, write_report
from core.endpoints import LOCAL, Endpoint
from core.errors import Cancelled, DeviceUnavailable, FileMissing, SubtitleError, UnreadableMedia
from core.languages import LANGUAGES
from core.logs import one_line, setup_logging
from core.settings import Settings, cache_dir
from core.types import JobReport
from jobs.folders import JobFolders
from jobs.pipeline import PipelineResult, verdict
from jobs.request import JobRequest, check, check_options
from jobs.segment_cache import SegmentCache
from jobs.states import JobState

log = logging.getLogger(__name__)

REDRAW_S = 0.5
"""Longest time the bar stands still: the time left changes without events."""

MAX_GAPS_SHOWN = 10


@dataclass(slots=True)
class _Outcome:
    """How one recording ended."""

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
    endpoints = _endpoints(common.options.where or LOCAL, settings)
    if args.report is not None:
        check_writable(args.report)
    on_terminal = sys.stderr.isatty()
    level = _log_level(settings, args.quiet, on_terminal)
    settings = settings.model_copy(update={"log_level": level})
    setup_logging(level, log_format=settings.log_format)
    sources = [*(str(request.path) for request in requests), *urls]
    outcomes = {
        i: _failed(sources[i], error)
        for i, request in enumerate(requests)
        if (error := _refused(request, settings))
    }
    if len(outcomes) < len(sources):
        accepted = {i: request for i, request in enumerate(requests) if i not in outcomes}
        display: Display = Bar() if on_terminal and not args.quiet else NoDisplay()
        try:
            with (
                _stoppable() as stop,
                _work_folder(settings) as folder,
                folder_for_links(folder) if urls else nullcontext(folder) as fetched,
                # A GPU that is not there is told before a model or a recording is fetched.
                Recordings(settings, gpus, folder, _cache(args, settings), endpoints) as recordings,
            ):
                links = Links(fetched, settings, common, requests, display, lambda: stop.asked)
                command = _Command(recordings, links, display, args.quiet, stop)
                outcomes |= command.run(accepted, dict(enumerate(urls, start=len(requests))))
        except DeviceUnavailable as error:
            raise _with_a_way_out(error, args.command) from error
        finally:
            display.close()
    in_order = [outcomes[i] for i in range(len(sources))]
    if args.report is not None:
        write_report(args.report, [outcome.entry for outcome in in_order])
    return worst(outcome.code for outcome in in_order)


def _refused(request: JobRequest, settings: Settings) -> SubtitleError | None:
    """What is wrong with this file alone; a wrong option is raised, because it stops all."""
    try:
        check(request, settings)
    except (FileMissing, UnreadableMedia) as error:
        tell(error, request.title)
        return error
    return None


def _cache(args: argparse.Namespace, settings: Settings) -> SegmentCache | None:
    if args.no_cache or not settings.cache_mib:
        return None
    try:
        return SegmentCache(cache_dir() / "segments", settings.cache_mib * 1024 * 1024)
    except (OSError, RuntimeError) as error:
        log.warning("Finished segments are not kept, there is no cache: %s", error)
        return None


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
        self, recordings: Recordings, links: Links, display: Display, quiet: bool, stop: _Interrupt
    ) -> None:
        self._recordings = recordings
        self._links = links
        self._display = display
        self._quiet = quiet
        self._stop = stop
        self._load_s: float | None = None

    def run(self, requests: dict[int, JobRequest], urls: dict[int, str]) -> dict[int, _Outcome]:
        """Files and links by their places on the command line."""
        started = {i: (str(r.path), self._start(r)) for i, r in requests.items()}
        started |= {i: (url, self._fetch(url)) for i, url in urls.items()}
        return {i: self._follow(source, found) for i, (source, found) in started.items()}

    def _fetch(self, url: str) -> Recording | SubtitleError:
        """A link's recording, or what is wrong with the link, which is told."""
        try:
            request = self._links.fetch(url)
        except Cancelled:
            raise
        except SubtitleError as error:
            self._display.close()
            tell(error, one_line(url))
            return error
        self._display.close()
        return self._start(request)

    def _start(self, request: JobRequest) -> Recording | SubtitleError:
        if self._load_s is None:
            # Before the first recording, so that a report's speed is that of the work alone.
            self._display.say("Loading the model …")
            self._load_s = self._recordings.load(request.options, self._progress)
        return self._recordings.start(request)

    def _progress(self, text: str) -> None:
        if self._stop.asked:
            raise Cancelled()
        self._display.say(text)

    def _follow(self, source: str, recording: Recording | SubtitleError) -> _Outcome:
        if isinstance(recording, SubtitleError):
            return _failed(source, recording)
        while not recording.ended:
            self._display.show(recording.name, recording.watch(REDRAW_S))
        self._display.close()
        result = recording.result
        if result is None:
            assert recording.error is not None, "it has ended"
            tell(recording.error, recording.name)
            return _failed(source, recording.error)
        report = replace(result.report, load_s=self._take_load_s(result.report))
        self._tell_result(one_line(recording.name), result, len(recording.watch(0.0).parts))
        for path in result.outputs.values() if not self._quiet else ():
            print(one_line(str(path)))
        sys.stdout.flush()
        complete = result.transcript.complete
        state = JobState.COMPLETE if complete else JobState.COMPLETE_WITH_GAPS
        entry = report_entry(source, state, report, None)
        return _Outcome(COMPLETE if complete else WITH_GAPS, entry)

    def _take_load_s(self, report: JobReport) -> float:
        """The load is told once: with the first recording that waited for it."""
        load_s, self._load_s = self._load_s or 0.0, 0.0
        return load_s + report.load_s

    def _tell_result(self, name: str, result: PipelineResult, segments: int) -> None:
        report, gaps = result.report, result.transcript.gaps
        if not self._quiet:
            if report.replayed_segments:
                done = f"{report.replayed_segments} of {segments}"
                print(f"{name}: {done} segments were done before", file=sys.stderr)
            cues = f"{len(result.cues)} subtitle{'' if len(result.cues) == 1 else 's'}"
            language = LANGUAGES.get(report.language or "", "no language")
            print(
                f"{name}: {clock(report.audio_s)} in {clock(report.elapsed_s)}"
                f" ({report.speed:.1f}x), {cues}, {language}, {report.model}",
                file=sys.stderr,
            )
        message = verdict(result.transcript)
        if message and not (self._quiet and not gaps):
            print(f"{name}: {message}", file=sys.stderr)
        for gap in gaps[:MAX_GAPS_SHOWN]:
            times = f"{clock(gap.start_s)}-{clock(gap.end_s)}"
            print(f"  no text {times}: {one_line(gap.reason)}", file=sys.stderr)
        if len(gaps) > MAX_GAPS_SHOWN:
            print(f"  and {len(gaps) - MAX_GAPS_SHOWN} more", file=sys.stderr)


def _failed(source: str, error: SubtitleError) -> _Outcome:
    return _Outcome(exit_code(error), report_entry(source, JobState.FAILED, None, error))


class _Interrupt:
    """Whether Ctrl-C was pressed."""

    asked = False


@contextmanager
def _stoppable() -> Iterator[_Interrupt]:
    """Ctrl-C, a hang-up and SIGTERM end the command in good order; a second one at once."""
    stop = _Interrupt()
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


def _endpoints(where: str, settings: Settings) -> tuple[Endpoint, ...]:
    """What ``jobs.endpoints.endpoints_for`` says, and raises."""
    if where == LOCAL:
        return ()
    # Only these need the database, which takes as long to load as all the rest.
    from jobs.endpoints import endpoints_for

    return endpoints_for(where, settings)


@contextmanager
def _work_folder(settings: Settings) -> Iterator[Path]:
    """Where recordings' audio lies: in the data directory, if one was chosen; otherwise a temporary
    folder: a command leaves nothing in the folder it was called from but its outputs."""
    if "data_dir" not in settings.model_fields_set:
        with tempfile.TemporaryDirectory(prefix="whisper-for-subs-") as temporary:
            yield Path(temporary)
        return
    # A service with that directory removes what a killed command leaves in such a folder.
    folders, name = JobFolders(settings.data_dir), secrets.token_urlsafe(12)
    with folders.locked(name) as folder:
        try:
            yield folder
        finally:
            folders.remove(name)


def _log_level(settings: Settings, quiet: bool, on_terminal: bool) -> str:
    """Log lines would tear the bar; where there is none they are the only news."""
    if "log_level" in settings.model_fields_set:
        return settings.log_level
    return "warning" if quiet or on_terminal else settings.log_level
