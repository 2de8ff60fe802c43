"""The tab Doctor: what is wrong with the machine or the set-up, and a report to copy.

One examination runs at a time: pages that ask for one meanwhile watch the same one.
"""

from __future__ import annotations

import html
import logging
import threading
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
import gradio as gr

from access.identity import identity_of
from core.errors import InvalidOption
from core.logs import one_line
from core.settings import Settings
from doctor.diagnosis import MARKS, Diagnosis, Finding, Severity
from doctor.examination import examine
from ui import scripts
from ui.entries import toast
from ui.jobs_tab import QUIET
from ui.live_view import HEARTBEAT_S, MAX_WATCHERS
from ui.markup import text, with_commands

log = logging.getLogger(__name__)

_SPOKEN: dict[Severity, str] = {
    "ok": "Fine",
    "hint": "Hint",
    "warning": "Warning",
    "error": "Error",
}

_EMPTY = (
    '<div class="empty"><p>Checks the driver, GPUs, libraries, disks, models and settings,'
    " and decodes one second of audio on every device.</p><p>It changes nothing and stops no"
    " program. You can copy the report into an issue; it contains no passwords.</p></div>"
)

Frame = tuple[str, Any]


class DoctorTab:
    """Draws itself into the current Gradio block."""

    def __init__(self, settings: Settings) -> None:
        self._examinations = Examinations(settings)
        self._limiter = anyio.CapacityLimiter(MAX_WATCHERS)
        with gr.Row(elem_classes="actions"):
            self.start = gr.Button(
                "Check this machine",
                variant="primary",
                size="md",
                scale=0,
                min_width=220,
                elem_id="examine",
            )
        self.report = gr.HTML(
            _EMPTY, elem_id="doctor", apply_default_css=False, js_on_load=scripts.COPY
        )

    def wire(self) -> None:
        follow = {**QUIET, "concurrency_limit": MAX_WATCHERS}
        self.start.click(self._examine, None, [self.report, self.start], **follow)

    async def _examine(self, request: gr.Request) -> AsyncIterator[Frame]:
        if identity_of(request).unknown:
            # An anonymous user, through a proxy in front of an open service.
            raise toast(InvalidOption("Only logged-in users may check this machine."))
        running = self._examinations.begin()
        line = ""
        while not running.ended:
            yield _running(line), gr.update(interactive=False)
            look = partial(running.news, line, HEARTBEAT_S)
            line = await anyio.to_thread.run_sync(look, limiter=self._limiter)
        if running.found is None:
            failed = '<p class="problem" role="alert">The check failed; the log says why.</p>'
            yield failed, gr.update(interactive=True)
        else:
            yield report(running.found), gr.update(interactive=True, value="Check again")


class SharedExamination:
    """One, in a thread of its own, that any number of pages watch."""

    def __init__(self, settings: Settings) -> None:
        self.ended = False
        self.found: Diagnosis | None = None
        self._settings = settings
        self._line = "Checking the machine"
        self._news = threading.Condition()
        threading.Thread(target=self._run, name="doctor", daemon=True).start()

    def news(self, seen: str, timeout_s: float) -> str:
        """What it is doing, as soon as that is something else than ``seen``."""
        with self._news:
            self._news.wait_for(lambda: self.ended or self._line != seen, timeout_s)
            return self._line

    def _run(self) -> None:
        try:
            self.found = examine(self._settings, progress=self._tell)
        except Exception:
            # Pages would wait for ever for the end of a thread that is gone.
            log.exception("The check failed")
        finally:
            with self._news:
                self.ended = True
                self._news.notify_all()

    def _tell(self, line: str) -> None:
        with self._news:
            self._line = line
            self._news.notify_all()


class Examinations:
    """The one that runs, or a new one."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._running: SharedExamination | None = None

    def begin(self) -> SharedExamination:
        with self._lock:
            if self._running is None or self._running.ended:
                self._running = SharedExamination(self._settings)
            return self._running


def report(found: Diagnosis) -> str:
    """The findings as markup, with the plain text that is copied."""
    areas = "".join(
        f"<section><h3>{text(area)}</h3><ul>{''.join(map(_finding, findings))}</ul></section>"
        for area, findings in found.areas()
    )
    plain = "\n".join(html.escape(one_line(line)) for line in found.text().splitlines())
    return (
        f'<div class="doctor"><header><p class="doctor-verdict finding-{found.worst}"'
        f' role="status">{_mark(found.worst)}{text(found.summary)}</p>'
        '<button type="button" class="act" data-copy-from=".doctor textarea">Copy report</button>'
        "</header>"
        f"{areas}<details><summary>The report as plain text</summary>"
        f'<textarea readonly rows="14" aria-label="The report as plain text" spellcheck="false">'
        f"{plain}</textarea></details></div>"
    )


def _finding(finding: Finding) -> str:
    fix = ""
    if finding.fix:
        fix = f'<p class="fix"><b>Fix:</b> {with_commands(finding.fix)}</p>'
    return (
        f'<li class="finding finding-{finding.severity}">{_mark(finding.severity)}'
        f"<div><p>{with_commands(finding.text)}</p>{fix}</div></li>"
    )


def _mark(severity: Severity) -> str:
    return (
        f'<span class="mark" role="img" aria-label="{_SPOKEN[severity]}">{MARKS[severity]}</span>'
    )


def _running(line: str) -> str:
    doing = text(line or "Checking the machine")
    return f'<div class="empty doctor-running" role="status"><p>{doing} …</p></div>'
