"""The port of the page: free, ours, or another program's."""

from __future__ import annotations

import errno
import http.client
import json
import socket
import urllib.error
import urllib.request
from typing import Any

from core.settings import Settings
from doctor.diagnosis import Finding, error, ok, warning

AREA = "Port"

ANSWER_S = 5.0


def port(settings: Settings) -> Finding:
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::", "") else settings.host
    place = f"{settings.host}:{settings.port}"
    answer = _health(host, settings.port)
    if isinstance(answer, dict) and {"alive", "workers", "version"} <= answer.keys():
        who = f"whisper-for-subs {answer['version']}"
        if answer["alive"]:
            return ok(f"{place}: {who} runs there and is healthy.")
        text = f"{place}: {who} runs there and is unhealthy: {answer.get('reason', '')}"
        return warning(text, "See its log, or restart it.")
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            settings.host or "0.0.0.0", settings.port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind) as probe:
            # As the server does: a port that was closed a moment ago is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as problem:
        return _taken(settings, place, problem)
    return ok(f"{place} is free for the page.")


def _taken(settings: Settings, place: str, problem: OSError) -> Finding:
    if problem.errno == errno.EADDRINUSE:
        fix = (
            f"See which: `ss -ltnp 'sport = :{settings.port}'`;"
            f" or `WHISPER_PORT={settings.port + 1}`"
        )
        return error(f"{place} is in use by another program.", fix)
    if problem.errno == errno.EACCES:
        fix = "Choose a port over 1023, such as `WHISPER_PORT=7860`, behind a reverse proxy."
        return error(f"This user may not listen on {place}.", fix)
    fix = "`WHISPER_HOST=127.0.0.1` for this machine only, `0.0.0.0` for all addresses."
    why = problem.strerror or problem
    return error(f"The page cannot listen on {place}: {why}.", fix)


def _health(host: str, number: int) -> Any:
    """JSON of the service that answers ``/health`` there; None for other programs."""
    url = f"http://{f'[{host}]' if ':' in host else host}:{number}/health"
    # The answer is local: a proxy named in the environment must not be asked.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        try:
            answer = opener.open(url, timeout=ANSWER_S)
        except urllib.error.HTTPError as unhealthy:
            answer = unhealthy
        with answer:
            return json.loads(answer.read(1 << 20))
    except (OSError, ValueError, http.client.HTTPException):
        return None
