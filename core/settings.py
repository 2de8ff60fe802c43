"""Every setting of the app, read once at the edge and passed down.

This is the only module that reads the environment (``tests/test_architecture.py`` holds it to
that). Precedence: command-line flag, then environment, then a ``.env`` file, then the default.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field
from pydantic_settings import BaseSettings, DotEnvSettingsSource, SettingsConfigDict

from core.logs import LogFormat

Device = Literal["auto", "cpu", "cuda"]

MAX_BEAM, MAX_BATCH = 20, 128

PROJECT = Path(__file__).resolve().parent.parent
"""The project's folder: models and jobs lie in it wherever a command is run from, and only its own
``.env`` is read, not that of a folder of strangers' recordings."""


class Settings(BaseSettings):
    """Frozen: build one in ``main`` and pass it on. Every field stands in docs/settings.md."""

    model_config = SettingsConfigDict(
        env_prefix="WHISPER_",
        env_file=PROJECT / ".env",
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        env_ignore_empty=True,
    )

    model: str = "auto"
    """Model to use where a request names none: ``auto``, a name of ``core.models``, a local
    CTranslate2 directory, or an allowed hub id."""

    device: Device = "auto"
    """``auto``: every visible GPU, or the CPU where there is none. ``cuda`` without a GPU is an
    error, never a silent fall back."""

    compute_type: str = "auto"
    """CTranslate2 compute type; ``auto``: int8 on a CPU, on each GPU the best that it can do and
    that fits, float16 mostly."""

    cuda_visible_devices: str | None = Field(
        default=None, validation_alias=AliasChoices("CUDA_VISIBLE_DEVICES", "cuda_visible_devices")
    )
    """GPUs to use: indices as nvidia-smi counts, ``GPU-…`` UUIDs or ``MIG-…`` ids. Unset: all GPUs
    of the machine."""

    workers: int = Field(default=0, ge=0, le=256)
    """CPU workers; 0: one per ``threads`` cores, bounded by memory."""

    threads: int = Field(default=1, ge=1, le=256)
    """CPU threads of each CPU worker."""

    batch_size: int = Field(default=0, ge=0, le=MAX_BATCH)
    """Windows decoded together on one device; 0: the largest useful batch for its memory and kind,
    each device for itself."""

    beam_size: int = Field(default=5, ge=1, le=MAX_BEAM)
    """Beams of the search; 1 is faster and less accurate."""

    preload_model: bool = True
    """Load the model when the server starts instead of at the first job."""

    unload_after_s: float = Field(default=0.0, ge=0)
    """Seconds without work after which a worker gives its model's memory back; the next job loads
    the model again. 0: models stay loaded."""

    models_dir: Path = PROJECT / "models"
    """Where installed and downloaded models lie."""

    data_dir: Path = PROJECT / "data"
    """Where jobs keep their audio and subtitles."""

    cache_mib: int = Field(default=256, ge=0)
    """Size of the cache in which commands keep finished segments (:func:`cache_dir`), so that one
    that was killed goes on where it was; 0: none."""

    allowed_hub_models: tuple[str, ...] = ()
    """Hub ids (``owner/name``) users may name besides the table; JSON list in the environment."""

    model_aliases: Mapping[str, str] = {}
    """More names of models for programs that speak OpenAI's protocol, and what each stands for:
    ``auto`` or a name of ours; JSON object in the environment."""

    where: str = "local"
    """Where jobs are decoded that do not say it: ``local``; ``shared``: here and on all active
    speech endpoints; ``remote``: on the endpoints alone; or the id of one."""

    endpoints: Literal["on", "off"] = "on"
    """``off``: no audio is sent to a speech endpoint, whatever is set up."""

    cluster: str | None = Field(default=None, pattern=r"^(auto|ray://[^\s/]+:\d+)$")
    """Ray cluster whose devices work beside this machine's: ``ray://HOST:10001``, or ``auto`` where
    this machine belongs to it; unset: this machine alone. Needs ``requirements-cluster.txt``."""

    cluster_token: str | None = Field(default=None, min_length=32, repr=False)
    """What the machines of a cluster show each other, 32 random characters or more: the same for
    the service, ``cluster head`` and every ``cluster join``."""

    hub_timeout_s: float = Field(default=5.0, gt=0)
    """Longest wait for a model hub to answer before going on without it."""

    offline: bool = False
    """Never contact a model hub."""

    host: str = Field(
        default="127.0.0.1",
        validation_alias=AliasChoices("WHISPER_HOST", "GRADIO_SERVER_NAME", "host"),
    )
    """Address the web page listens on."""

    port: int = Field(
        default=7860,
        ge=1,
        le=65535,
        validation_alias=AliasChoices("WHISPER_PORT", "GRADIO_SERVER_PORT", "port"),
    )
    """Port the web page listens on."""

    max_upload_mib: int = Field(default=4096, ge=1)
    """Largest upload."""

    max_audio_hours: float = Field(default=24.0, gt=0)
    """Longest recording; counted while decoding, whatever the container declares."""

    links: Literal["auto", "on", "off"] = "auto"
    """Whether the page and the API take links. ``auto``: not where strangers may come in
    (``access`` is ``open``). The command line always does."""

    download_sites: tuple[str, ...] = ("youtube", "bilibili")
    """Sites recordings may be fetched from by link: yt-dlp's extractors, by the beginning of their
    names; JSON list in the environment. Empty: none."""

    download_networks: tuple[str, ...] = ()
    """Private networks links may lead into, such as an own media server's; JSON list of addresses
    or ``10.0.5.0/24``. Every other private address is refused."""

    download_cookies: Path | None = None
    """Cookies (Netscape format) for sites that ask for a login or for proof of being human."""

    download_timeout_s: float = Field(default=3600.0, gt=0)
    """Longest time one download may take."""

    webhook_secret: str | None = Field(default=None, min_length=16, repr=False)
    """With which calls of webhooks are signed, 16 characters or more; unset: no webhooks."""

    webhook_networks: tuple[str, ...] = ()
    """Private networks webhooks may lead into; JSON list of addresses or ``10.0.5.0/24``. Every
    other private address is refused."""

    max_running_jobs: int = Field(default=2, ge=1)
    """Jobs that share the workers at a time; the others wait."""

    max_waiting_jobs: int = Field(default=100, ge=0)
    """Jobs that may wait; one more is refused."""

    max_client_jobs: int = Field(default=20, ge=0)
    """Jobs one user, API key or address may have running and waiting; 0: no limit. Does not bind
    the only user of a service on 127.0.0.1."""

    min_free_mib: int = Field(default=512, ge=0)
    """Disk space jobs leave free: less, and uploads and jobs are refused or stopped."""

    shutdown_grace_s: float = Field(default=20.0, ge=0)
    """Longest wait at shutdown for segments that are being decoded; the rest goes on after the next
    start. Keep it under the container's stop_grace_period."""

    cpu_fallback: bool = False
    """Go on with a CPU worker when no GPU is left, instead of waiting for one."""

    endpoints_down: Literal["local", "wait"] = "local"
    """When none of the remote endpoints can be used that a job was sent to: go on with it on this
    machine, or wait for one."""

    database_url: str | None = Field(
        default=None,
        validation_alias=AliasChoices("DATABASE_URL", "WHISPER_DATABASE_URL", "database_url"),
        repr=False,  # it may hold a password
    )
    """Database of the jobs, ``postgresql://user:password@host/name``; unset: SQLite in the data
    directory."""

    access: Literal["auto", "login", "open"] = "auto"
    """Who may use the page and the API: ``login``: users and API keys; ``open``: everybody who
    reaches the port; ``auto``: open on 127.0.0.1, login elsewhere."""

    admins: tuple[str, ...] = ("admin",)
    """Users who may set up speech endpoints, and API keys as ``key:NAME``; JSON list. The only user
    of a service on 127.0.0.1 always may."""

    users_file: Path | None = None
    """Users and their hashed passwords, one ``name:hash`` a line; unset: ``users.txt`` in the data
    directory."""

    api_keys_file: Path | None = None
    """Hashed API keys, one ``name:hash`` a line; unset: ``api_keys.txt`` in the data directory."""

    api_key: str | None = Field(default=None, repr=False)
    """API key with which commands such as ``unload`` ask a running service for something."""

    login_hours: float = Field(default=168.0, gt=0)
    """How long a login lasts."""

    secret_key: str | None = Field(default=None, min_length=16, repr=False)
    """With which keys of speech endpoints are encrypted in the database, 16 random characters or
    more; unset: a secret in the data directory."""

    root_path: str | None = None
    """Path under which a reverse proxy serves the app, ``/subs`` for example."""

    trusted_proxies: str = "127.0.0.1"
    """Addresses of reverse proxies whose ``X-Forwarded-*`` headers are believed, with commas."""

    metrics_token: str | None = Field(default=None, repr=False)
    """Bearer token with which Prometheus reads ``/metrics`` from anywhere."""

    metrics_networks: tuple[str, ...] = ()
    """Networks that read ``/metrics`` without a token: JSON list of addresses or ``10.0.5.0/24``.
    Where the service listens on its own machine alone, programs there always do."""

    otlp_endpoint: str | None = Field(default=None, repr=False)  # it may hold a password
    """OpenTelemetry collector that gets a trace of each job by OTLP/HTTP,
    ``http://collector:4318``; unset: no traces."""

    keep_jobs_hours: float = Field(default=24.0, gt=0)
    """Finished jobs and their files are removed after this time."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe log line that is written."""

    log_format: LogFormat = "plain"
    """``plain``: lines for people. ``json``: one JSON object an event, for log collectors."""


def root_path_of(settings: Settings) -> str:
    """The prefix of a reverse proxy with a leading and no trailing slash; empty without one."""
    path = (settings.root_path or "").strip("/")
    return f"/{path}" if path else ""


def service_url(settings: Settings) -> str:
    """Where a service with these settings is reached on its own machine, without a last slash."""
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::", "") else settings.host
    host = f"[{host}]" if ":" in host else host
    return f"http://{host}:{settings.port}{root_path_of(settings)}"


def cache_dir() -> Path:
    """Our folder in the user's cache folder, which may not exist yet. Raises RuntimeError: the user
    has no home."""
    # A relative path is to be ignored, says the XDG Base Directory Specification.
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (named if named.is_absolute() else Path.home() / ".cache") / "whisper-for-subs"


LIBRARY_VARIABLES = (
    "CUDA_CACHE_DISABLE",
    "CUDA_CACHE_PATH",
    "HF_ENDPOINT",
    "KUBERNETES_SERVICE_HOST",
    "LD_LIBRARY_PATH",
    "NVIDIA_DRIVER_CAPABILITIES",
    "NVIDIA_VISIBLE_DEVICES",
    "PYTORCH_ALLOC_CONF",
    "PYTORCH_CUDA_ALLOC_CONF",
)
"""Variables that are no settings of ours and decide what works, or seem to: of drivers, libraries
and containers."""


def library_variables() -> dict[str, str]:
    """Those of ``LIBRARY_VARIABLES`` that are set, for ``doctor``."""
    return {name: os.environ[name] for name in LIBRARY_VARIABLES if name in os.environ}


def variable(name: str) -> str:
    """A variable that is no setting of ours: one that an administrator named as the place of a key,
    or one of Python's or a driver's. Empty where it is not set."""
    return os.environ.get(name, "")


def setting_names() -> tuple[str, ...]:
    """Names of all settings as the environment has them."""
    names: list[str] = []
    for field, info in Settings.model_fields.items():
        alias = info.validation_alias
        if isinstance(alias, AliasChoices):
            names += [choice for choice in alias.choices if isinstance(choice, str)]
        else:
            names.append(f"WHISPER_{field}")
    return tuple(dict.fromkeys(name.upper() for name in names if name != name.lower()))


def unknown_names() -> tuple[str, ...]:
    """Names of the environment and of ``.env`` that look like settings but are not: nothing reads
    them."""
    given = {name.upper() for name in [*os.environ, *DotEnvSettingsSource(Settings).env_vars]}
    looks_so = {name for name in given if name.startswith("WHISPER_")}
    return tuple(sorted(looks_so - {*setting_names()}))
