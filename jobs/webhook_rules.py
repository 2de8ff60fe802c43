"""Which addresses a webhook may have."""

from __future__ import annotations

from urllib.parse import urlsplit

from core.errors import InvalidOption
from core.networks import Network, networks_of
from core.settings import Settings
from media.addresses import literal_address, may_connect
from media.download import check_link


def webhook_networks(settings: Settings) -> tuple[Network, ...]:
    """Private networks webhooks may lead into. Raises InvalidOption for what is none."""
    return networks_of("WHISPER_WEBHOOK_NETWORKS", settings.webhook_networks)


def check_webhook(url: str, settings: Settings) -> None:
    """Refuse an address before there is a job; where its name leads is seen when it is called.

    Raises InvalidOption: there are no webhooks here, or it is no address, or a private one.
    """
    if not settings.webhook_secret:
        raise InvalidOption(
            "This service calls no webhooks.",
            hint="The operator of the service must set WHISPER_WEBHOOK_SECRET, with which receivers"
            " verify that a call is the service's.",
        )
    check_link(url)
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError as error:
        raise InvalidOption("The webhook's port is not a number up to 65535.") from error
    if port == 0 or parts.username is not None:
        raise InvalidOption(
            "The webhook's address holds a user name or port 0.",
            hint="Put a secret into its path or query; calls are signed anyway.",
        )
    address = literal_address(parts.hostname or "")
    if address is not None and not may_connect(address, webhook_networks(settings)):
        raise private_webhook(parts.hostname or "")


def private_webhook(host: str) -> InvalidOption:
    return InvalidOption(
        f"The webhook leads to a private address ({host}).",
        hint="The operator of the service can admit its network with WHISPER_WEBHOOK_NETWORKS.",
    )
