"""Answers that are the same whatever was asked: errors and web pages, as servers word them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

OOM = (
    "CUDA out of memory. Tried to allocate 1.34 GiB (GPU 0; 23.69 GiB total capacity; 20.11 GiB"
    " already allocated; 1.02 GiB free; 21.00 GiB reserved in total by PyTorch)."
    " Process 12345 has 20.1 GiB memory in use."
)
OTHER_TEXT = "has never been surpassed by anyone who tried"


@dataclass
class Answer:
    status: int
    body: bytes
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


def _fixed(status: int, body: bytes, content_type: str = "application/json", **more: str) -> Answer:
    headers = {name.replace("_", "-"): value for name, value in more.items()}
    return Answer(status, body, content_type, headers)


FIXED: dict[str, Answer] = {
    "html": _fixed(200, b"<html><title>Sign in</title></html>", "text/html"),
    "error in 200": _fixed(200, b'{"error": {"message": "model is gone", "code": 500}}'),
    "oom in 200": _fixed(200, json.dumps({"error": OOM}).encode()),
    "huge": _fixed(200, b'{"text": "' + b"a" * (9 << 20) + b'"}'),
    "busy": _fixed(429, b'{"error": {"message": "Rate limit reached"}}', Retry_After="7"),
    "busy until": _fixed(429, b"", Retry_After="Wed, 21 Oct 2099 07:28:00 GMT"),
    "oom": _fixed(500, json.dumps({"detail": OOM}).encode()),
    "actor oom": _fixed(500, b'{"detail": "Model actor is out of memory, model id: whisper-0"}'),
    "down": _fixed(503, b"Service Unavailable", "text/plain"),
    "unknown model": _fixed(404, b'{"error": {"message": "The model `x` does not exist."}}'),
    "too large": _fixed(413, b"<html><title>413 Request Entity Too Large</title></html>"),
    "elsewhere": _fixed(307, b"", Location="http://203.0.113.9/v1/audio/transcriptions"),
}
