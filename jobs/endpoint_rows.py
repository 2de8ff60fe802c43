"""A row of the table ``asr_configs``: what may stand there, and what it is used as.

One model makes the fields of the page, of the API and of the command line, and judges what people
wrote by psql: a row that is wrong is shown with the reason and not used.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from core.endpoints import LOCAL, REMOTE, SHARED, Endpoint, EndpointKind, kind_of
from core.errors import InvalidOption, SubtitleError
from core.logs import plain_line
from jobs.endpoint_keys import EndpointKeys, said
from jobs.options import read_options

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

_SCHEMES = {"openai": ("http", "https"), "asr": ("http", "https"), "funasr": ("ws", "wss")}


def _address(url: str) -> str:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in ("http", "https", "ws", "wss") or not parts.hostname or port == 0:
        raise PydanticCustomError(
            "address",
            "it is no full address, such as http://10.0.5.4:8000/v1/audio/transcriptions"
            " or ws://10.0.5.4:10095",
        )
    if "@" in parts.netloc:
        raise PydanticCustomError("address", "a user or password belongs into api_key")
    if any(ord(sign) <= 32 or ord(sign) == 127 for sign in url):
        raise PydanticCustomError("address", "there are spaces or control characters in it")
    return url


class AsrConfig(BaseModel):
    """What an administrator sets of an endpoint."""

    model_config = ConfigDict(
        frozen=True,
        use_attribute_docstrings=True,
        str_strip_whitespace=True,
        extra="forbid",
        hide_input_in_errors=True,
    )

    name: Annotated[str, Field(max_length=100), AfterValidator(plain_line)] = ""
    """For people; left out: the id."""
    api_url: Annotated[str, Field(max_length=1000), AfterValidator(_address)]
    """In full: http://10.0.5.4:8000/v1/audio/transcriptions, http://10.0.5.4:9000/asr or
    ws://10.0.5.4:10095."""
    model_name: Annotated[str, Field(max_length=300)] = ""
    """The server's name for the model."""
    kind: Literal["", EndpointKind] = ""
    """Protocol: openai, asr (whisper-asr-webservice) or funasr; left out, the address tells."""
    api_key: Annotated[str, Field(max_length=2000, repr=False)] = ""
    """Key, or env:NAME_API_KEY for that variable of the service. It is never shown."""
    is_active: bool = False
    """Jobs may use it."""
    is_default: bool = False
    """It is asked before all others."""
    priority: Annotated[int, Field(ge=0, le=1_000_000)] = 100
    """Lower is asked earlier."""
    parallel: Annotated[int, Field(ge=1, le=64)] = 2
    """Requests at a time."""
    timeout_s: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] = 60.0
    """Seconds that an answer may take, and …"""
    timeout_per_audio_s: Annotated[float, Field(ge=0, le=600, allow_inf_nan=False)] = 4.0
    """… so many more for each second of audio."""
    max_clip_s: Annotated[float, Field(ge=1, le=3600, allow_inf_nan=False)] = 30.0
    """Longest clip in seconds that the server takes."""
    mode: Literal["offline", "2pass"] = "offline"
    """FunASR's way of decoding."""

    @property
    def protocol(self) -> EndpointKind:
        return self.kind or kind_of(self.api_url)


FIELDS = tuple(AsrConfig.model_fields)


class KeptCheck(BaseModel):
    """One line of a test."""

    name: str
    state: Literal["ok", "warning", "failed", "skipped"]
    text: str = ""
    fix: str = ""


class KeptTest(BaseModel):
    """What the last test of an endpoint found, as ``capabilities`` keeps it."""

    model_config = ConfigDict(extra="ignore")

    subject: str = ""
    """What was tested: protocol, address, model."""
    tested_at: float = 0.0
    """Seconds since 1970."""
    checks: tuple[KeptCheck, ...] = ()
    word_times: bool = True
    max_clip_s: float | None = None
    offset_s: float | None = None
    speed: float | None = None
    words_right: float | None = None

    @property
    def passed(self) -> bool:
        return bool(self.checks) and all(check.state != "failed" for check in self.checks)


@dataclass(frozen=True, slots=True)
class EndpointRow:
    """An endpoint as it stands in the table."""

    id: str
    values: Mapping[str, Any]
    """What stands there, ``FIELDS`` without the key; it may be anything."""
    key: str
    """What may be told of the key: ``set``, ``not set``, ``from NAME``."""
    problem: str
    """Why it is not used, and what to do; empty where nothing is wrong."""
    endpoint: Endpoint | None
    """None: something is wrong. It is set as well where the endpoint is not active."""
    test: KeptTest | None
    """None: nobody has tested it as it is now."""

    @property
    def active(self) -> bool:
        return self.endpoint is not None and bool(self.values["is_active"])

    @property
    def name(self) -> str:
        return (
            self.endpoint.name if self.endpoint else plain_line(str(self.values["name"] or self.id))
        )


def check_id(name: str) -> str:
    """The id, if it can be one. Raises InvalidOption."""
    if not _ID.fullmatch(name):
        raise InvalidOption(
            f"{name[:80]!r} cannot be an endpoint's id.",
            hint="Use letters, digits and . _ -, up to 64, beginning with a letter or digit.",
        )
    if name in (LOCAL, SHARED, REMOTE):
        raise InvalidOption(
            f"No endpoint can have the id {name}.", hint="It names a way to decode; choose another."
        )
    return name


def read_config(values: Mapping[str, Any]) -> AsrConfig:
    """The fields as they may be. Raises InvalidOption, naming every one that is wrong."""
    config = read_options(values, AsrConfig)
    if urlsplit(config.api_url).scheme not in _SCHEMES[config.protocol]:
        raise InvalidOption(
            f"api_url: {config.protocol} servers are at {' or '.join(_SCHEMES[config.protocol])}"
            " addresses.",
            hint="Correct the address, or leave the protocol out.",
        )
    return config


def subject_of(config: AsrConfig) -> str:
    """What a test is about: once one of these has changed, it says nothing any more."""
    return " ".join((config.protocol, config.api_url, config.model_name, config.mode))


def read_row(found: Mapping[str, Any], keys: EndpointKeys) -> EndpointRow:
    """A row as the database gives it. Never raises for what stands in it."""
    stored_key = found["api_key"]
    key = stored_key if isinstance(stored_key, str) else str(stored_key or "")
    values = {name: _plain(found[name]) for name in FIELDS if name != "api_key"}
    endpoint, test, problem = None, None, ""
    try:
        check_id(str(found["id"]))
        config = read_config(values)
        values |= config.model_dump(exclude={"api_key"})
        test = _kept(found["capabilities"], config)
        endpoint = _endpoint(str(found["id"]), config, keys.open(key), test)
    except SubtitleError as error:
        problem = error.explain()
    return EndpointRow(str(found["id"]), values, said(key), problem, endpoint, test)


def _plain(value: object) -> object:
    """What can be written as JSON."""
    finite = not isinstance(value, float) or math.isfinite(value)
    return value if isinstance(value, str | int | float | None) and finite else str(value)


def _kept(text: object, config: AsrConfig) -> KeptTest | None:
    """The test, if one was kept that can be read and is about the endpoint as it is now."""
    try:
        kept = KeptTest.model_validate_json(text if isinstance(text, str) else "")
    except ValidationError:
        return None
    return kept if kept.subject == subject_of(config) else None


def _endpoint(row_id: str, config: AsrConfig, key: str, test: KeptTest | None) -> Endpoint:
    longest = config.max_clip_s
    if test is not None and test.max_clip_s:
        longest = min(longest, test.max_clip_s)
    return Endpoint(
        id=row_id,
        kind=config.protocol,
        api_key=key,
        name=config.name or row_id,
        word_times=test is None or test.word_times,
        max_clip_s=longest,
        **config.model_dump(exclude={"name", "kind", "api_key", "max_clip_s", "is_active"}),
    )
