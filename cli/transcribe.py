"""``transcribe`` and its sisters: recordings to subtitles on workers that stay loaded."""

from __future__ import annotations

import argparse
import logging
import secrets
import signal
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType

from cli.display import Bar, Display, NoDisplay
from cli.links import Links, folder_for_links
from cli.options import common_request, gpus_of, requests_of, settings_of
from cli.recordings import Recording, Recordings
from cli.results import Results
from cli.sources import sources_of
from core.endpoints import LOCAL, Endpoint
from core.errors import Cancelled, DeviceUnavailable, FileMissing, SubtitleError, UnreadableMedia
from core.logs import one_line, setup_logging
from core.settings import Settings, cache_dir
from jobs.folders import JobFolders
from jobs.request import JobRequest, check, check_options, targets
from jobs.segment_cache import SegmentCache

log = logging.getLogger(__name__)

REDRAW_S = 0.5
"""Longest time the bar stands still: the time left changes without events."""


def transcribe(args: argparse.Namespace) -> int:
    """Run the command; the exit code.

    Raises:
        SubtitleError: nothing at all can be done; every recording's own error is told here.
    """
    files, urls = sources_of(args)
    settings = settings_of(args)
    gpus = gpus_of(args)
    common = common_request(args, settings)
    requests = requests_of(files, common, beside=args.output_dir is None)
    if urls:
        # Before anything is fetched.
        check_options(common, settings)
    endpoints = _endpoints(common.options.where or LOCAL, settings)
    on_terminal = sys.stderr.isatty()
    level = _log_level(settings, args.quiet, on_terminal)
    display: Display = Bar() if on_terminal and not args.quiet else NoDisplay()
    with Results(len(requests) + len(urls), args.summary, args.report, args.quiet) as results:
        settings = settings.model_copy(update={"log_level": level})
        setup_logging(level, log_format=settings.log_format)
        todo = [i for i, each in enumerate(requests) if _to_do(i, each, args, settings, results)]
        if todo or urls:
            try:
                with (
                    _stoppable() as stop,
                    _work_folder(settings) as folder,
                    folder_for_links(folder) if urls else nullcontext(folder) as fetched,
                    # A GPU that is not there is told before a model or a recording is fetched.
                    Recordings(
                        settings, gpus, folder, _cache(args, settings), endpoints
                    ) as recordings,
                ):
                    taken = requests if urls else []
                    links = Links(fetched, settings, common, taken, display, lambda: stop.asked)
                    command = _Command(recordings, links, display, results, stop)
                    command.run(((i, requests[i]) for i in todo), enumerate(urls, len(requests)))
            except DeviceUnavailable as error:
                raise _with_a_way_out(error, args.command) from error
            except KeyboardInterrupt:
                display.close()
                results.interrupted()
                raise
            finally:
                display.close()
        return results.finish()


def _to_do(
    position: int,
    request: JobRequest,
    args: argparse.Namespace,
    settings: Settings,
    results: Results,
) -> bool:
    """Whether a recording is to be transcribed; otherwise it has its result already."""
    error = _refused(request, settings)
    if error is not None:
        results.failed(position, str(request.path), error)
        return False
    if args.skip_existing and _done_before(request):
        results.done_before(position, str(request.path))
        return False
    return True


def _done_before(request: JobRequest) -> bool:
    """All its subtitles are there and not older than the recording."""
    try:
        oldest_ns = min(target.stat().st_mtime_ns for target in targets(request))
        return oldest_ns >= request.path.stat().st_mtime_ns
    except FileNotFoundError:
        return False


def _refused(request: JobRequest, settings: Settings) -> SubtitleError | None:
    """What is wrong with this file alone; a wrong option is raised, because it stops all."""
    try:
        check(request, settings)
    except (FileMissing, UnreadableMedia) as error:
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
        self,
        recordings: Recordings,
        links: Links,
        display: Display,
        results: Results,
        stop: _Interrupt,
    ) -> None:
        self._recordings = recordings
        self._links = links
        self._display = display
        self._results = results
        self._stop = stop
        self._loaded = False
        self._places: dict[Recording, tuple[int, str, float]] = {}
        """Of those that run: position, path or link, and the seconds it waited for the model."""

    def run(
        self, requests: Iterable[tuple[int, JobRequest]], urls: Iterable[tuple[int, str]]
    ) -> None:
        """Files, then links, with their positions in the command."""
        for position, request in requests:
            self._make_room()
            self._start(position, str(request.path), request)
        for position, url in urls:
            self._make_room()
            self._fetch(position, url)
        while self._places:
            self._follow(REDRAW_S)

    def _make_room(self) -> None:
        """Until the next recording should begin."""
        self._follow(0.0)
        while not self._recordings.hungry:
            self._follow(REDRAW_S)

    def _fetch(self, position: int, url: str) -> None:
        try:
            request = self._links.fetch(url)
        except Cancelled:
            raise
        except SubtitleError as error:
            self._display.close()
            self._results.failed(position, url, error, one_line(url))
            return
        self._display.close()
        self._start(position, url, request)

    def _start(self, position: int, source: str, request: JobRequest) -> None:
        load_s = 0.0
        if not self._loaded:
            # Before the first recording, so that a report's speed is that of the work alone.
            self._display.say("Loading the model …")
            load_s = self._recordings.load(request.options, self._progress)
            self._loaded = True
        self._places[self._recordings.start(request)] = position, source, load_s

    def _progress(self, text: str) -> None:
        if self._stop.asked:
            raise Cancelled()
        self._display.say(text)

    def _follow(self, timeout_s: float) -> None:
        """Show what happens, and tell what has ended."""
        for recording in self._recordings.wait(timeout_s):
            self._display.close()
            position, source, load_s = self._places.pop(recording)
            if recording.result is not None:
                self._results.finished(position, source, recording.result, recording.name, load_s)
            else:
                assert recording.error is not None, "it has ended"
                self._results.failed(position, source, recording.error, recording.name)
        for recording in self._recordings.running[:1]:
            self._display.show(recording.name, recording.progress(), self._results.place)


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
