"""Test of a connection: a clip with known words is sent, and what comes back is measured.

Blocking, and a minute at most; call it on a thread of its own.
"""

from __future__ import annotations

import asyncio
import ssl
import statistics
import time
from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import urlsplit

from core.endpoints import Endpoint
from core.errors import EndpointBusy, EndpointRefused, SubtitleError
from core.types import SpeechSpan
from endpoints import checks, faults
from endpoints.clients import client_of
from endpoints.exchange import CERTIFICATE, CONNECT_S, UNREACHABLE, tls
from endpoints.heard import ClipOptions, Heard
from endpoints.known_clip import known_clip
from endpoints.openai_client import FORMS, JSON, TEXT, OpenAIClient

WHOLE_S = 60.0
"""Seconds for all of the test."""

FULL_S, LONG_S = 29.0, 45.0
"""Audio of the clips that try a server's limit: as long as our windows are, and longer than a
window of Whisper."""

RIGHT = 0.7
"""Share of the known words that every Whisper model hears."""

OFF_S = 0.5
"""How far the times of words may be off: aligners differ by 0.3 s."""

State = Literal["ok", "warning", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the result."""

    name: str
    state: State
    text: str
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a test found. Measured values are None where it did not come so far."""

    checks: tuple[Check, ...]
    tested_at: float
    """Seconds since 1970."""
    formats: tuple[str, ...] = ()
    """Forms of answers that really come back, best first."""
    word_times: bool = False
    offset_s: float | None = None
    """Median of how much later than known words begin."""
    max_clip_s: float | None = None
    """Longest clip that was heard to its end."""
    speed: float | None = None
    """Seconds of audio heard in a second, in a clip of ``FULL_S``."""
    words_right: float | None = None
    """Share of the known words, 0–1."""
    models: tuple[str, ...] = ()


def probe(endpoint: Endpoint) -> Capabilities:
    """Test a server. Its faults are in the result; none is raised."""
    return asyncio.run(_Test(endpoint).run())


class _Test:
    def __init__(self, endpoint: Endpoint) -> None:
        # What the test needs to know is measured, not what an earlier one found.
        self._endpoint = replace(endpoint, word_times=True)
        self._client = client_of(self._endpoint)
        self._clip = known_clip()
        self._checks: list[Check] = []
        self._found = Capabilities(checks=(), tested_at=time.time())

    async def run(self) -> Capabilities:
        steps = (self._connect, self._hear, self._list, self._forms, self._limits)
        try:
            async with asyncio.timeout(WHOLE_S):
                for step in steps:
                    if not await step():
                        break
        except TimeoutError:
            self._note(
                "time",
                "warning",
                f"The test was ended after {WHOLE_S:.0f} s; what is missing was not tried.",
                "The server may be loading its model, or busy: test it again.",
            )
        return replace(self._found, checks=tuple(self._checks))

    def _note(self, name: str, state: State, text: str, fix: str = "") -> None:
        self._checks.append(Check(name, state, text, fix))

    def _note_error(self, name: str, error: SubtitleError) -> None:
        state: State = "warning" if isinstance(error, EndpointBusy) else "failed"
        self._note(name, state, error.message, error.hint)

    async def _connect(self) -> bool:
        """Name, port and certificate, each for itself."""
        parts = urlsplit(self._endpoint.api_url)
        secure = parts.scheme in ("https", "wss")
        try:
            port = parts.port or (443 if secure else 80)
            async with asyncio.timeout(CONNECT_S):
                _, writer = await asyncio.open_connection(parts.hostname, port)
        except (OSError, ValueError) as error:
            problem = str(error) or f"no answer within {CONNECT_S:.0f} s"
            self._note("reachable", "failed", f"{self._endpoint.host}: {problem}.", UNREACHABLE)
            return False
        self._note("reachable", "ok", f"{self._endpoint.host} accepts connections.")
        writer.close()
        if not secure:
            text = "Audio and key go over the network in the clear."
            fix = "Fine inside a network of your own; elsewhere use https or wss."
            self._note("TLS", "skipped", text, fix)
            return True
        try:
            async with asyncio.timeout(CONNECT_S):
                _, writer = await asyncio.open_connection(parts.hostname, port, ssl=tls())
        except (OSError, ssl.SSLError) as error:
            problem = getattr(error, "verify_message", "") or str(error) or "no answer"
            self._note("TLS", "failed", f"The certificate is not trusted: {problem}.", CERTIFICATE)
            return False
        writer.close()
        self._note("TLS", "ok", "The certificate is valid.")
        return True

    async def _hear(self) -> bool:
        """The known clip in the best form; that shows the key and the model, too."""
        try:
            heard = await self._client.transcribe(self._clip.audio, ClipOptions(language="en"))
        except EndpointRefused as error:
            about = {401: "authorised", 403: "authorised", 404: "model"}
            self._note_error(about.get(faults.status_of(error) or 0, "transcribes"), error)
            return False
        except SubtitleError as error:
            self._note_error("transcribes", error)
            return False
        key = "The key is accepted." if self._endpoint.api_key else "It asks for no key."
        self._note("authorised", "ok", key)
        right = self._clip.right(heard)
        self._found = replace(self._found, words_right=right, formats=(heard.form,))
        text = f"{100 * right:.0f} % of the {len(self._clip.words)} known words are right."
        if right < RIGHT:
            fix = "Choose a better model, and one that knows English."
            self._note("words", "failed", f"{text} It heard: “{heard.text[:100]}”", fix)
        else:
            self._note("words", "ok", text)
        self._judge_times(heard)
        return True

    def _judge_times(self, heard: Heard) -> None:
        clip = self._clip
        spans = (SpeechSpan(clip.words[0][1], clip.duration_s),)
        fault = checks.times_fault(heard.words or heard.parts, clip.duration_s, spans)
        offsets = clip.offsets_s(heard)
        if offsets:
            self._found = replace(self._found, word_times=True, offset_s=statistics.median(offsets))
        if fault is not None:
            fix = "Update the server, or use another; it is not used like this."
            self._note("times", "failed", f"It {fault}.", fix)
        elif not offsets:
            what = "times of sentences alone" if heard.parts else "no times"
            fix = "None is needed: the job's model finds them here, which costs this machine time."
            self._note("times", "warning", f"It gives {what}.", fix)
        else:
            median_s, worst_s = statistics.median(offsets), max(map(abs, offsets))
            text = f"Words are off by {median_s:+.2f} s (median), {worst_s:.2f} s at most."
            wrong = abs(median_s) > OFF_S
            fix = "Subtitles would be early or late: update the server." if wrong else ""
            self._note("times", "warning" if wrong else "ok", text, fix)

    async def _list(self) -> bool:
        try:
            models = await self._client.models()
        except SubtitleError as error:
            self._note("model", "warning", error.message, error.hint)
            return True
        name = self._endpoint.model_name
        self._found = replace(self._found, models=models or ())
        if not models:
            self._note("model", "skipped", "The server does not list its models.")
        elif name in models:
            self._note("model", "ok", f"{name} is there.")
        else:
            listed = ", ".join(models[:8])
            text = f"It does not list {name!r}, but: {listed}."
            fix = "Set the model's name to one of these if the text is not as expected."
            self._note("model", "warning", text, fix)
        return True

    async def _forms(self) -> bool:
        """What else comes back; other servers and versions take other forms."""
        client = self._client
        if not isinstance(client, OpenAIClient):
            form = self._found.formats[0]
            self._note("formats", "ok", f"It answers with {form}.")
            return True
        forms: list[str] = []
        for form in FORMS:
            try:
                heard = await client.ask(self._clip.audio, ClipOptions(language="en"), form)
            except SubtitleError:
                continue  # that is the finding: this form does not come back
            # Some answer with another form than they were asked for.
            kept = heard.form == form or (form in (JSON, TEXT) and heard.text)
            if kept:
                forms.append(form)
        self._found = replace(self._found, formats=tuple(forms))
        self._note("formats", "ok", f"These come back: {', '.join(forms) or 'none'}.")
        return True

    async def _limits(self) -> bool:
        for length_s in (FULL_S, LONG_S):
            clip = self._clip.spread(length_s)
            begun = time.monotonic()
            try:
                heard = await self._client.transcribe(clip.audio, ClipOptions(language="en"))
            except SubtitleError as error:
                problem, fix = error.message, error.hint
            else:
                if length_s == FULL_S:
                    self._measured(length_s / (time.monotonic() - begun))
                if clip.right(heard) >= RIGHT:
                    self._found = replace(self._found, max_clip_s=length_s)
                    continue
                problem, fix = "Words of its end are missing.", ""
            self._note_limit(length_s, problem, fix)
            return True
        self._note("clips", "ok", f"Clips of {LONG_S:.0f} s are heard to their end.")
        return True

    def _measured(self, speed: float) -> None:
        self._found = replace(self._found, speed=speed)
        slow = speed < 1.0
        fix = "A smaller model or a GPU on that server makes it faster." if slow else ""
        text = f"{speed:.1f} times real time."
        self._note("speed", "warning" if slow else "ok", text, fix)

    def _note_limit(self, length_s: float, problem: str, fix: str) -> None:
        if length_s == LONG_S:
            text = f"Clips of {FULL_S:.0f} s are heard to their end, longer ones are not."
            self._note("clips", "ok", f"{text} ({problem}) None longer is sent.")
            return
        shorter_s = self._clip.duration_s
        self._found = replace(self._found, max_clip_s=shorter_s)
        text = f"A clip of {length_s:.0f} s does not work: {problem}"
        fix = fix or "Set the longest clip of the endpoint to what the server takes."
        self._note("clips", "warning", text, fix)
