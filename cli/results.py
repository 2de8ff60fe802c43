"""What a command says of its recordings as they end: lines, summary, report and exit code."""

from __future__ import annotations

import sys
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from cli.display import clock
from cli.failures import COMPLETE, WITH_GAPS, exit_code, tell
from cli.report import Report, report_entry
from cli.summary import DONE_BEFORE, Summary
from core.errors import SubtitleError
from core.languages import LANGUAGES
from core.logs import one_line
from jobs.pipeline import PipelineResult, verdict
from jobs.states import JobState

MAX_GAPS_SHOWN = 10


class Results:
    """Takes each recording's end and keeps nothing of it.

    Args:
        total: recordings of the command.
        summary: file for a row of each; None: none.
        report: file for the report; None: none.
        quiet: only warnings and errors are told.

    Raises InvalidOption, DiskFull: one of the files cannot be written. So does every method.
    """

    def __init__(self, total: int, summary: Path | None, report: Path | None, quiet: bool) -> None:
        self._quiet = quiet
        with ExitStack() as files:
            self._summary = files.enter_context(closing(Summary(summary, total)))
            self._report = None
            if report is not None:
                self._report = files.enter_context(closing(Report(report)))
            self._files = files.pop_all()

    @property
    def place(self) -> str:
        """How many have ended, as a prefix; empty where there is one only."""
        total = self._summary.total
        return f"[{self._summary.ended}/{total}] " if total > 1 else ""

    def failed(self, position: int, source: str, error: SubtitleError, name: str = "") -> None:
        """It has no subtitles."""
        tell(error, name or Path(source).name)
        self._add(position, source, JobState.FAILED, exit_code(error), error=error)

    def done_before(self, position: int, source: str) -> None:
        """It was left out, because an earlier command has done it."""
        self._add(position, source, DONE_BEFORE, COMPLETE)

    def finished(
        self, position: int, source: str, result: PipelineResult, name: str, load_s: float
    ) -> None:
        """``load_s``: seconds it waited for the model before it was begun."""
        complete = result.transcript.complete
        state = JobState.COMPLETE if complete else JobState.COMPLETE_WITH_GAPS
        result = replace(
            result, report=replace(result.report, load_s=load_s + result.report.load_s)
        )
        self._add(position, source, state, COMPLETE if complete else WITH_GAPS, result)
        self._tell(self.place + one_line(name), result)
        for path in result.outputs.values() if not self._quiet else ():
            print(one_line(str(path)))
        sys.stdout.flush()

    def interrupted(self) -> None:
        """Say how to go on."""
        if self._summary.total > 1:
            print(
                f"{self._summary.line()}\nThe same command with --skip-existing goes on.",
                file=sys.stderr,
            )

    def finish(self) -> int:
        """All have ended: the exit code."""
        if self._report is not None:
            self._report.write()
        if self._summary.total > 1 and not self._quiet:
            print(self._summary.line(), file=sys.stderr)
        return self._summary.code

    def __enter__(self) -> Results:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._files.close()

    def _add(
        self,
        position: int,
        source: str,
        state: str,
        code: int,
        result: PipelineResult | None = None,
        error: SubtitleError | None = None,
    ) -> None:
        report = None if result is None else result.report
        self._summary.add(
            position, source, state, code, report, "" if error is None else error.message
        )
        if self._report is not None:
            self._report.add(position, report_entry(source, state, report, error))

    def _tell(self, name: str, result: PipelineResult) -> None:
        report, gaps = result.report, result.transcript.gaps
        if not self._quiet:
            if report.replayed_segments:
                done = f"{report.replayed_segments} of {len(report.segments)}"
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
