"""The identity behind a request: its two names, and the one function that reads them.

The access check of the web front (``api/access.py``) writes an :class:`Identity` into the state of
the request. FastAPI's requests and those of Gradio's queued events both carry that state, so one
reader serves routes and page handlers alike; the command line is always :data:`LOCAL`.

    owner    who may list, cancel and delete a job   local, user:NAME, key:NAME, visitor:ID
    client   what limits count by                    local, user:NAME, key:NAME, ip:ADDRESS

Anyone who passes the access check and has a job's id may look at it: ids cannot be guessed, and
links are shared on purpose. Changing it is for its owner (:meth:`Identity.may_change`).
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any

from core.settings import Settings

STATE_KEY = "identity"
"""Name of the identity in the state of a request."""


@dataclass(frozen=True, slots=True)
class Identity:
    owner: str
    client: str

    @property
    def unknown(self) -> bool:
        """An anonymous user of a service that is open to everyone."""
        return self.owner.startswith("visitor:")

    def may_change(self, owner: str) -> bool:
        """Whether this identity may cancel, delete or repair a job of that owner. The local user
        has the service's files in hand anyway and may change everything."""
        return self.owner in (owner, LOCAL.owner)


LOCAL = Identity("local", "local")
"""The only user of a service that listens on this machine alone."""


def identity_of(request: Any) -> Identity:
    """The identity of a request of FastAPI or of a Gradio event.

    Raises LookupError for a request that did not pass the access check.
    """
    found = getattr(getattr(request, "state", None), STATE_KEY, None)
    if not isinstance(found, Identity):
        raise LookupError("the request did not pass the access check")
    return found


def is_administrator(who: Identity, settings: Settings) -> bool:
    """Whether this identity may set up what all jobs use (``WHISPER_ADMINS``)."""
    return who.owner == LOCAL.owner or who.owner.removeprefix("user:") in settings.admins


def is_loopback(host: str) -> bool:
    """Whether an address or name can only be this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def open_to_strangers(settings: Settings) -> bool:
    """Whether anonymous users may come in from other machines. Where it is open on this
    machine's own address they come through a reverse proxy, the only reason to open it there."""
    return settings.access == "open"
