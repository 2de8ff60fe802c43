"""Why a download failed, in words people can act on.

yt-dlp reports failures as text: the site's words, its extractors', and advice about its own command
line. :func:`explain` recognises the usual ones; :func:`cleaned` turns the rest into one line.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from core.errors import DiskFull, DownloadFailed, DownloadRefused, EncryptedMedia, SubtitleError
from core.logs import one_line, without_secrets

COOKIES = (
    "Export the cookies of a browser that is logged in there, in Netscape format, name the file in"
    " WHISPER_DOWNLOAD_COOKIES and try again; or download the recording yourself and use that file."
)
UPDATE = (
    "Sites change often: update yt-dlp (pip install --upgrade yt-dlp) and try again, or download"
    " the recording yourself and use that file."
)
LATER = "Try again later, or download the recording yourself and use that file."
BY_HAND = "Download the recording yourself and use that file."
LINK = "Check the link in a browser."
NETWORK = "Check the network connection of this machine and its proxy settings, then try again."

MAX_CHARACTERS = 300


class _Known(NamedTuple):
    """A failure people meet: how its text reads, and what is said instead."""

    pattern: str
    message: str
    """``{text}``: the site's own words."""
    hint: str
    kind: type[SubtitleError] = DownloadFailed


_KNOWN = (
    _Known(r"No space left on device|Disk quota exceeded", "The disk is full.", "", DiskFull),
    _Known(r"DRM protected", "The recording is copy-protected (DRM).", BY_HAND, EncryptedMedia),
    _Known(
        r"not a (ro)?bot|captcha|unusual traffic",
        "The site asks for proof that you are human.",
        COOKIES,
    ),
    _Known(
        r"private (video|playlist|favorites)|granted access",
        "The recording is private.",
        COOKIES,
    ),
    _Known(
        r"confirm your age|age[- ]restricted|inappropriate for some",
        "The site asks for a login to prove your age.",
        COOKIES,
    ),
    _Known(
        r"members[- ]only|premium members|supporter-only|only preview|join this channel"
        r"|purchase|requires payment|rental",
        "The site offers this recording to members or buyers only.",
        COOKIES,
    ),
    _Known(
        r"not available (from|in) your (location|country|region)|geo.?restrict"
        r"|not made this video available in your country|blocked it in your country",
        "The site does not offer this recording in this machine's country.",
        BY_HAND,
    ),
    _Known(
        r"sign in|log ?in|registered users|account credentials|authentication|HTTP Error 401",
        "The site asks for a login: {text}",
        COOKIES,
    ),
    _Known(
        r"HTTP Error 429|Too Many Requests|rate.?limit|try again later|HTTP Error 412"
        r"|blocked by server|rejected by server|wait and try later",
        "The site has had too many requests from this address.",
        LATER,
    ),
    _Known(
        r"removed by|has been removed|no longer available|account .*terminated|been deleted"
        r"|may be deleted",
        "The recording has been removed: {text}",
        LINK,
    ),
    _Known(
        r"will begin|Premieres? in|live event|not yet available|is not live",
        "The recording is not available yet: {text}",
        "Try again when it can be watched from beginning to end.",
    ),
    _Known(
        r"No suitable extractor",
        "Downloads from this site are not allowed here.",
        "WHISPER_DOWNLOAD_SITES lists the allowed sites. Or download the recording yourself and "
        "use that file.",
        DownloadRefused,
    ),
    _Known(
        r"Did you forget to quote the URL|Incomplete (YouTube|data)|looks truncated",
        "The link is incomplete.",
        "Put it in quotes, or the shell cuts it off at the &.",
    ),
    _Known(r"HTTP Error (404|410)", "There is nothing at this link.", LINK),
    _Known(r"HTTP Error 403", "The site refuses access to the recording (403 Forbidden).", UPDATE),
    _Known(r"HTTP Error 5\d\d", "The site is not working: {text}", LATER),
    _Known(
        r"CERTIFICATE_VERIFY_FAILED",
        "The site's certificate cannot be verified.",
        "If a proxy decrypts the connections, SSL_CERT_FILE must name its certificate.",
    ),
    _Known(
        r"Tunnel connection failed|Unable to connect to proxy|ProxyError|SOCKS",
        "The proxy refuses the connection: {text}",
        NETWORK,
    ),
    _Known(
        r"Name or service not known|Temporary failure in name resolution|No address associated"
        r"|Network is unreachable|No route to host",
        "The site cannot be reached: {text}",
        NETWORK,
    ),
    _Known(
        r"timed out|Connection (refused|reset|aborted)|Remote end closed|IncompleteRead"
        r"|bytes read|content too short|UNEXPECTED_EOF|Did not get any data blocks",
        "The connection to the site was lost: {text}",
        LATER,
    ),
    _Known(
        r"Unsupported URL|No video formats found|There is no video|No media found",
        "No recording was found at this link.",
        f"{LINK} {UPDATE}",
    ),
    _Known(
        r"Requested format is not available",
        "The site offers no audio track that can be downloaded without other programs.",
        UPDATE,
    ),
    _Known(r"Video unavailable|unavailable", "The site says: {text}", LINK),
)

_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_PREFIX = re.compile(r"^\s*(ERROR:\s*)?(\[[^\]]{1,60}\]\s*)?([\w-]{1,40}:\s+(?=\S))?")
_TAIL = re.compile(
    r"\s*(;? ?please report this issue on|\(caused by |Use --|See  ?https?:|Also see  ?https?:"
    r"|For more information, refer to|You might want to (use|try) a VPN|It is recommended to use"
    r"|Confirm you are on the latest version).*",
    re.IGNORECASE | re.DOTALL,
)


def explain(text: str) -> SubtitleError:
    """The error for what yt-dlp said."""
    words = cleaned(text)
    for known in _KNOWN:
        if re.search(known.pattern, text, re.IGNORECASE):
            said = words if words.endswith((".", "!", "?")) else f"{words}."
            return known.kind(known.message.format(text=said), hint=known.hint or None)
    return DownloadFailed(f"The download failed: {words}", hint=UPDATE)


def cleaned(text: str) -> str:
    """One line without colours, prefixes, secrets of links and advice that is none here."""
    text = _ANSI.sub("", text)
    text = _PREFIX.sub("", text, count=1)
    text = without_secrets(one_line(" ".join(_TAIL.sub("", text).split())).strip())
    if len(text) > MAX_CHARACTERS:
        text = f"{text[: MAX_CHARACTERS - 1]}…"
    return text or "no reason was given"
