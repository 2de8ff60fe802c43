"""A remote speech server, as an administrator set it up. Pure data: what pool, clients, database
and page share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

EndpointKind = Literal["openai", "asr", "funasr"]
KINDS: tuple[EndpointKind, ...] = ("openai", "asr", "funasr")
"""OpenAI's protocol, whisper-asr-webservice's, FunASR's runtime server's."""

LOCAL, SHARED, REMOTE = "local", "shared", "remote"
"""Where a job is decoded: on this machine alone, here and on all active endpoints together, or on
the endpoints alone, the default first. The id of an endpoint: on that one alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An active remote server. Equal configurations are equal, so that a change is seen."""

    id: str
    name: str
    """For people: page, log and report."""
    api_url: str
    """In full, with the path: ``http://10.0.5.4:8000/v1/audio/transcriptions``, ``…/asr``,
    ``ws://10.0.5.4:10095``."""
    model_name: str
    """The server's name for the model; may be empty where the protocol has none."""
    kind: EndpointKind
    api_key: str = field(default="", repr=False)
    is_default: bool = False
    priority: int = 100
    """Lower is asked earlier; the default comes before all."""
    parallel: int = 2
    """Requests at a time."""
    timeout_s: float = 60.0
    """Seconds an answer may take, for a clip of no length …"""
    timeout_per_audio_s: float = 4.0
    """… and for each second of audio in it."""
    max_clip_s: float = 30.0
    """Longest clip the server takes."""
    word_times: bool = True
    """Asked for times of words; a test found that the server gives them, or nobody tested."""
    mode: Literal["offline", "2pass"] = "offline"
    """FunASR's."""

    @property
    def label(self) -> str:
        """As the log names its slot."""
        return f"Endpoint {self.name}"

    @property
    def host(self) -> str:
        """Where the audio goes, for people."""
        return urlsplit(self.api_url).netloc.rpartition("@")[2]

    @property
    def translates(self) -> bool:
        """Can give English text of other languages."""
        return self.kind != "funasr"

    @property
    def rank(self) -> tuple[bool, int, str]:
        """The order in which they are asked: the same one every time, also among two defaults."""
        return (not self.is_default, self.priority, self.id)


def kind_of(api_url: str) -> EndpointKind:
    """The protocol an address speaks where nobody said it."""
    parts = urlsplit(api_url)
    if parts.scheme in ("ws", "wss"):
        return "funasr"
    return "asr" if parts.path.rstrip("/").endswith("/asr") else "openai"
