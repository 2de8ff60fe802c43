"""What sites and yt-dlp say when they refuse, told so that people can act on it."""

from __future__ import annotations

import pytest

from core.errors import DiskFull, DownloadFailed, DownloadRefused, EncryptedMedia, SubtitleError
from media.download_errors import MAX_CHARACTERS, cleaned, explain

LOGIN = (
    "Use --cookies-from-browser or --cookies for the authentication. See "
    " https://github.com/yt-dlp/yt-dlp/wiki/FAQ#how-do-i-pass-cookies-to-yt-dlp  for how to"
    " manually pass cookies"
)
REPORT = (
    "; please report this issue on  https://github.com/yt-dlp/yt-dlp/issues?q= , filling out the"
    " appropriate issue template. Confirm you are on the latest version using  yt-dlp -U"
)

# The texts are those of yt-dlp 2026.10.26: its extractors of YouTube and Bilibili and its core.
TEXTS: list[tuple[str, type[SubtitleError], str, str]] = [
    (
        f"ERROR: [youtube] dQw4w9WgXcQ: Sign in to confirm you’re not a bot. {LOGIN}. Also see "
        " https://github.com/yt-dlp/yt-dlp/wiki/Extractors#exporting-youtube-cookies  for tips",
        DownloadFailed,
        "The site asks for proof that you are human.",
        "WHISPER_DOWNLOAD_COOKIES",
    ),
    (
        "ERROR: [youtube] abc: Please try later. YouTube is requiring a captcha challenge before"
        " playback",
        DownloadFailed,
        "proof that you are human",
        "WHISPER_DOWNLOAD_COOKIES",
    ),
    (
        f"ERROR: [youtube] abc: Private video. Sign in if you've been granted access to this"
        f" video. {LOGIN}",
        DownloadFailed,
        "The recording is private.",
        "WHISPER_DOWNLOAD_COOKIES",
    ),
    (
        "ERROR: [youtube] abc: Sign in to confirm your age. This video may be inappropriate for"
        f" some users. {LOGIN}",
        DownloadFailed,
        "to prove your age",
        "WHISPER_DOWNLOAD_COOKIES",
    ),
    (
        "ERROR: [youtube] abc: Join this channel to get access to members-only content like this"
        " video, and other exclusive perks.",
        DownloadFailed,
        "members or buyers only",
        "WHISPER_DOWNLOAD_COOKIES",
    ),
    (
        "ERROR: [youtube] abc: The uploader has not made this video available in your country\n"
        "This video is available in Japan.\nYou might want to use a VPN or a proxy server (with"
        " --proxy) to workaround.",
        DownloadFailed,
        "in this machine's country",
        "yourself",
    ),
    (
        "ERROR: [youtube] abc: This content isn't available, try again later. The current session"
        " has been rate-limited by YouTube for up to an hour. It is recommended to use `-t sleep`",
        DownloadFailed,
        "too many requests",
        "later",
    ),
    (
        "ERROR: [youtube] abc: Video unavailable. This video has been removed by the uploader",
        DownloadFailed,
        "removed by the uploader.",
        "Check the link",
    ),
    (
        "ERROR: [youtube] abc: Video unavailable. This video is not available",
        DownloadFailed,
        "The site says: Video unavailable. This video is not available.",
        "Check the link",
    ),
    (
        "ERROR: [youtube] abc: This live event will begin in 3 hours.",
        DownloadFailed,
        "not available yet: This live event will begin in 3 hours.",
        "beginning to end",
    ),
    (
        "ERROR: [youtube] abc: Premieres in 2 days",
        DownloadFailed,
        "not available yet",
        "beginning to end",
    ),
    (
        "ERROR: [youtube:truncated_url] Did you forget to quote the URL? Remember that & is a meta"
        " character in most shells",
        DownloadFailed,
        "The link is incomplete.",
        "quotes",
    ),
    (
        f"ERROR: [BiliBili] 1xx: This video is for premium members only. {LOGIN}",
        DownloadFailed,
        "members or buyers only",
        "WHISPER_DOWNLOAD_COOKIES",
    ),
    (
        "This is a supporter-only video, only the preview will be extracted: 充电专属",
        DownloadFailed,
        "members or buyers only",
        "WHISPER_DOWNLOAD_COOKIES",
    ),
    (
        "ERROR: [BiliBili] 1xx: You have exceeded the rate limit. Try again later",
        DownloadFailed,
        "too many requests",
        "later",
    ),
    (
        "ERROR: [BilibiliSpaceVideo] 1: Request is blocked by server (412), please wait and try"
        " later.",
        DownloadFailed,
        "too many requests",
        "later",
    ),
    (
        "ERROR: [BiliBili] 1xx: This video may be deleted or geo-restricted. You might want to try"
        " a VPN or a proxy server (with --proxy)",
        DownloadFailed,
        "country",
        "yourself",
    ),
    (
        f"ERROR: [BiliBili] 1xx: This video is only available for registered users. {LOGIN}",
        DownloadFailed,
        "asks for a login: This video is only available for registered users.",
        "WHISPER_DOWNLOAD_COOKIES",
    ),
    (
        "ERROR: No suitable extractor found for URL http://example.org/",
        DownloadRefused,
        "not allowed here",
        "WHISPER_DOWNLOAD_SITES",
    ),
    ("ERROR: [x] 1: This video is DRM protected", EncryptedMedia, "copy-protected", "yourself"),
    (
        "ERROR: unable to download video data: HTTP Error 403: Forbidden",
        DownloadFailed,
        "403",
        "update yt-dlp",
    ),
    (
        "ERROR: [generic] Unable to download webpage: HTTP Error 404: Not Found (caused by"
        " <HTTPError 404: Not Found>)",
        DownloadFailed,
        "nothing at this link",
        "Check the link",
    ),
    (
        "ERROR: [generic] Unable to download webpage: HTTP Error 429: Too Many Requests",
        DownloadFailed,
        "too many requests",
        "later",
    ),
    (
        "ERROR: [youtube] abc: Unable to download API page: [Errno -2] Name or service not known"
        " (caused by TransportError('[Errno -2] Name or service not known'))",
        DownloadFailed,
        "cannot be reached: Unable to download API page: [Errno -2] Name or service not known.",
        "network",
    ),
    (
        "ERROR: unable to write data: [Errno 28] No space left on device",
        DiskFull,
        "disk is full",
        "Free some disk space",
    ),
    (
        f"ERROR: [youtube] abc: Unable to extract yt initial data{REPORT}",
        DownloadFailed,
        "The download failed: Unable to extract yt initial data",
        "update yt-dlp",
    ),
]


@pytest.mark.parametrize(("text", "kind", "message", "hint"), TEXTS)
def test_the_usual_refusals_are_recognised(
    text: str, kind: type[SubtitleError], message: str, hint: str
) -> None:
    error = explain(text)
    assert type(error) is kind
    assert message in error.message
    assert hint in error.hint
    for noise in ("--cookies", "please report", "caused by", "ERROR", "--proxy", "https://"):
        assert noise not in error.message


def test_what_nobody_knows_is_one_clean_line() -> None:
    text = "\x1b[0;31mERROR:\x1b[0m [site] x1: Bad\x07 thing\n\non \u202eline 2" + REPORT
    assert cleaned(text) == "Bad\\x07 thing on \\u202eline 2"
    assert cleaned("") == "no reason was given"
    assert len(cleaned("word " * 1000)) <= MAX_CHARACTERS
