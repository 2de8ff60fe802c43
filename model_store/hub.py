"""Models from a hub: what is cached, whether the hub answers, and the download itself.

A machine without a way to the hub must say so in seconds, not minutes. The hub's client retries
and waits for name resolution without a limit of ours, so :func:`reachable` asks first, in a
thread that is left behind when the time is over.
"""

from __future__ import annotations

import io
import logging
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm.asyncio import tqdm_asyncio

from core.errors import DiskFull, ModelError
from core.files import disk_is_full

if TYPE_CHECKING:
    _Bar = tqdm_asyncio[Any]  # Generic for the type checker only.
else:
    _Bar = tqdm_asyncio

logger = logging.getLogger(__name__)

TextProgress = Callable[[str], None]
"""Takes one line for people; called from download threads."""

WANTED_FILES = [
    "config.json",
    "preprocessor_config.json",
    "model.bin",
    "tokenizer.json",
    "vocabulary.*",
]
"""What faster-whisper reads; repositories hold other formats of the same weights too."""

LOG_EVERY_S = 10.0


def cached(repo_id: str) -> Path | None:
    """Snapshot of a repository in the hub's cache on this machine; without network access."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        found = snapshot_download(repo_id, local_files_only=True, allow_patterns=WANTED_FILES)
    except (LocalEntryNotFoundError, HFValidationError):
        return None
    return Path(found)


def reachable(timeout_s: float) -> str | None:
    """None if the hub answers within the time, otherwise why not."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    silent = f"no answer within {timeout_s:g} s"
    answer: list[str | None] = []

    def ask() -> None:
        request = urllib.request.Request(constants.ENDPOINT, method="HEAD")
        try:
            urllib.request.urlopen(request, timeout=timeout_s).close()
        except urllib.error.HTTPError as error:
            # Any answer below 500 shows the way is open; a proxy's or a broken hub's does not.
            answer.append(f"it answers HTTP {error.code}" if error.code >= 500 else None)
            error.close()
        except (OSError, ValueError) as error:
            cause = getattr(error, "reason", error)
            late = isinstance(cause, TimeoutError)
            answer.append(silent if late else str(getattr(cause, "strerror", None) or cause))
        else:
            answer.append(None)

    thread = threading.Thread(target=ask, name="hub-reachable", daemon=True)
    thread.start()
    thread.join(timeout_s)
    return answer[0] if answer else silent


def download(
    name: str, repo_id: str, folder: Path, *, progress: TextProgress | None = None
) -> None:
    """Download a repository into a folder, telling how far it is; ``ModelError`` if it fails.

    A file gets its name when it is whole. What arrived before an error stays, so another try
    goes on where this one ended.
    """
    from huggingface_hub import snapshot_download

    started = time.monotonic()
    try:
        # Two files at a time are enough: model.bin is nearly all of it.
        snapshot_download(
            repo_id,
            local_dir=folder,
            allow_patterns=WANTED_FILES,
            tqdm_class=_line_bar(name, progress),
            max_workers=2,
        )
    except Exception as error:
        # The client lets errors of two HTTP libraries and of its transfer engine through, and
        # whichever it was, the model is not here.
        raise _download_error(name, repo_id, error) from error
    logger.info("Downloaded model %s in %.0f s", name, time.monotonic() - started)


def _download_error(name: str, repo_id: str, error: Exception) -> ModelError | DiskFull:
    from huggingface_hub.errors import RepositoryNotFoundError

    if disk_is_full(error):
        return DiskFull(f"No space left to download the model {name}.")
    if isinstance(error, RepositoryNotFoundError):
        return ModelError(
            f"The hub has no model {repo_id}, or does not show it to you.",
            hint="Check the spelling; for a private one log in with `hf auth login`.",
        )
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return ModelError(
        f"The model {name} cannot be downloaded: {reason}",
        hint="Check the network and try again; what has arrived is kept.",
    )


def _line_bar(name: str, progress: TextProgress | None) -> type[_Bar]:
    """A progress bar class for the hub's client that writes lines instead of drawing."""
    logged_at = time.monotonic()

    class LineBar(_Bar):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            # The client opens one bar for files and two for bytes: received, and on disk.
            self.tells = kwargs.get("unit") == "B" and "total" in str(kwargs.get("desc"))
            super().__init__(*args, **{**kwargs, "file": io.StringIO(), "mininterval": 0.5})

        def display(self, msg: str | None = None, pos: int | None = None) -> None:
            nonlocal logged_at
            if not self.tells or not self.n or not self.total:
                return
            line = (
                f"Downloading {name}: {self.n / 2**20:.0f} of {self.total / 2**20:.0f} MiB"
                f" ({100 * self.n / self.total:.0f} %)"
            )
            if progress is not None:
                progress(line)
            if time.monotonic() - logged_at >= LOG_EVERY_S:
                logged_at = time.monotonic()
                logger.info("%s", line)

    return LineBar
