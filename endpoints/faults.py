"""What went wrong with a speech server, as errors of ours that name it and say what to do there."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from core.endpoints import Endpoint
from core.errors import EndpointBusy, EndpointFailed, EndpointRefused, OutOfMemory, SubtitleError
from core.known_errors import recognise
from core.shortage import shortage_of

SAID = 400
"""Characters of a server's own words that are quoted."""

BUSY_S = 10.0
"""Seconds until a server that is busy is asked again where it does not say when."""

MOST_BUSY_S = 3600.0
"""No server is left alone for longer, whatever it says."""

_REFUSALS = {
    401: "Check its key: System → Speech endpoints.",
    403: "Its key may not do this: System → Speech endpoints.",
    404: "Check the path of its address and the model's name: System → Speech endpoints.",
    405: "Check the path of its address: System → Speech endpoints.",
    413: "Lower the longest clip of the endpoint, or raise the limit of the server or its proxy.",
}


def place(endpoint: Endpoint) -> str:
    """The endpoint's name and where it is."""
    return f"Endpoint {endpoint.name} ({endpoint.host})"


def failed(endpoint: Endpoint, fault: str, hint: str | None = None) -> EndpointFailed:
    """``fault`` goes on with the sentence that the endpoint's name begins."""
    return EndpointFailed(f"{place(endpoint)} {fault}.", hint=hint)


def answer_error(
    endpoint: Endpoint, status: int, headers: Mapping[str, str], body: bytes
) -> SubtitleError:
    """The error of an answer that is none of the text: by its status and by what it says."""
    text = body[: 64 << 10].decode("utf-8", "replace")
    said = server_message(text)
    told = f": {said}" if said else ""
    if status == 429:
        wait_s = retry_after_s(headers.get("retry-after", ""))
        return EndpointBusy(
            f"{place(endpoint)} is busy (HTTP 429){told.rstrip('.')}.", retry_after_s=wait_s
        )
    memory = out_of_memory(endpoint, text, said)
    if memory is not None:
        return memory
    known = recognise(text)
    hint = None if known is None else f"On that server: {known.fix}"
    if status >= 500 or status == 408:
        return failed(endpoint, f"answered with an error (HTTP {status}){told.rstrip('.')}", hint)
    if 300 <= status < 400:
        where = headers.get("location", "another address")
        fault = f"redirects to {where[:SAID]} (HTTP {status})"
        hint = "Redirects are not followed: set that address, if the server is yours."
    else:
        fault = f"refused the request (HTTP {status}){told.rstrip('.')}"
        hint = hint or _REFUSALS.get(status)
    return EndpointRefused(f"{place(endpoint)} {fault}.", hint=hint)


def status_of(error: EndpointRefused) -> int | None:
    """The status of HTTP by which a server refused. Errors know nothing of HTTP but what
    :func:`answer_error` wrote into their message."""
    found = re.search(r" \(HTTP (\d{3})\)", error.message)
    return int(found[1]) if found else None


def out_of_memory(endpoint: Endpoint, text: str, said: str = "") -> EndpointFailed | None:
    """The error where a text says that the server's memory has run out, with its figures."""
    known = recognise(text)
    if known is None or known.kind is not OutOfMemory:
        return None
    shortage = shortage_of(text)
    holders = [number for number, _ in shortage.holders] if shortage else []
    who = f" and `ps -fp {','.join(map(str, holders))}`" if holders else ""
    host = endpoint.host.rpartition(":")[0] or endpoint.host
    advice = (
        f"On that server ({host}): `nvidia-smi`{who} say who holds the memory. Restart the server:"
        " `docker restart NAME` or `sudo systemctl restart NAME`. Or let it load a smaller model"
        " or take fewer requests at a time, or use another endpoint: System → Speech endpoints."
    )
    figures = f"{shortage.told()} " if shortage else ""
    quoted = said or text.strip()[:SAID]
    return failed(endpoint, f"is out of GPU memory: {quoted.rstrip('.')}", figures + advice)


def server_message(text: str) -> str:
    """What a body says, in the forms that servers use; of a page in HTML its title."""
    if re.match(r"\s*<", text):
        title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
        return f"a web page, “{_short(title[1])}”" if title else "a web page"
    try:
        body = json.loads(text)
    except ValueError:
        return _short(text)
    return _short(_message(body))


def error_in(body: Any) -> str | None:
    """What an answer says that calls itself an error, whatever its status; None where it does not.
    ``error: null`` is none."""
    if not isinstance(body, dict) or body.get("text"):
        return None
    if any(body.get(name) for name in ("error", "detail")) or body.get("object") == "error":
        return _short(_message(body)) or "no reason"
    return None


def _message(body: Any) -> str:
    if isinstance(body, dict):
        for name in ("error", "detail", "message", "msg"):
            if body.get(name):
                return _message(body[name])
    if isinstance(body, list) and body:
        return "; ".join(_message(each) for each in body[:3])
    return body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SAID else f"{line[:SAID]}…"


def retry_after_s(value: str) -> float:
    """Seconds that a ``Retry-After`` asks for: a number, or a date."""
    value = value.strip()
    try:
        wait_s = float(value)
    except ValueError:
        try:
            date = parsedate_to_datetime(value)
        except ValueError:
            return BUSY_S
        if date.tzinfo is None:
            date = date.replace(tzinfo=UTC)
        wait_s = (date - datetime.now(UTC)).total_seconds()
    return min(max(wait_s, 0.0), MOST_BUSY_S) if wait_s == wait_s else BUSY_S
