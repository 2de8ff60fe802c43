"""``unload``: ask the running service of this machine to give back the memory of idle models."""

from __future__ import annotations

import argparse
import http.client
import json
import urllib.error
import urllib.request
from typing import Any

from cli.options import build_settings
from core.errors import InvalidOption, SubtitleError
from core.settings import Settings, service_url
from gpu.manager import Released

TIMEOUT_S = 60.0
"""The answer comes when the workers are back: seconds, and longer from a cold disk."""

MOST_BYTES = 1 << 20


def unload(args: argparse.Namespace) -> int:
    answer = _ask(build_settings({"host": args.host, "port": args.port}))
    if args.json:
        print(json.dumps(answer, indent=2))
        return 0
    for device in answer["devices"]:
        print(Released(**device))
    if not answer["devices"]:
        print("No model is loaded: no job has run yet.")
    return 0


def _ask(settings: Settings) -> dict[str, Any]:
    url = service_url(settings)
    request = urllib.request.Request(f"{url}/api/models/unload", method="POST")
    key = (settings.api_key or "").strip()
    if not (key.isascii() and key.isprintable()):
        raise InvalidOption("WHISPER_API_KEY holds characters that are in no key.")
    if key:
        request.add_header("Authorization", f"Bearer {key}")
    # The service is on this machine: a proxy named in the environment must not be asked.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=TIMEOUT_S) as answer:
            status, body = 200, answer.read(MOST_BYTES)
    except urllib.error.HTTPError as error:
        with error:
            status, body = error.code, error.read(MOST_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise SubtitleError(
            f"No service answers at {url}: {getattr(error, 'reason', error)}.",
            hint="Start one with `whisper-for-subs serve`. If it listens elsewhere, give --host and"
            " --port, or set WHISPER_HOST and WHISPER_PORT.",
        ) from error
    try:
        found = json.loads(body)
        if status == 200:
            return {"devices": found["devices"], "freed_mib": found["freed_mib"]}
        refusal = found["error"]
        message, hint = refusal["message"], refusal["hint"]
    except (ValueError, KeyError, TypeError) as error:
        raise SubtitleError(
            f"What answers at {url} is not this program, or another version of it (HTTP {status}).",
            hint="Check --host and --port.",
        ) from error
    if status in (401, 403):
        hint = "Set WHISPER_API_KEY to a key; `whisper-for-subs keys add NAME` makes one."
    raise InvalidOption(message, hint=hint)
