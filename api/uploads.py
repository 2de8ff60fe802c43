"""Recordings on their way in: streamed straight to the disk they stay on, counted as they come.

    data_dir/incoming/<random>/recording.mp4 ── submit(adopt="move") ──► the job's folder

The size limit and the free disk space are checked before the first byte, if the request declares
its length, and while the bytes arrive. Whatever ends an upload early, nothing of it stays.
"""

from __future__ import annotations

import logging
import secrets
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from fastapi import Request
from python_multipart.multipart import parse_options_header

from api.asgi import in_threads
from api.errors import Refused
from api.upload_body import MAX_FIELD_BYTES, MAX_FIELDS, FormBody, JsonBody, PlainBody, Upload
from core.errors import DiskFull, InvalidOption, MediaLimitExceeded
from core.files import disk_is_full
from core.settings import Settings
from jobs.admission import MIB, Admission
from jobs.folders import in_use
from jobs.idempotency import HEAD_BYTES

log = logging.getLogger(__name__)

WRITE_BYTES = MIB
LOOK_AT_DISK_BYTES = 8 * MIB

SILENCE_S = 60.0
"""Longest wait for the next bytes."""

FORM_BYTES = MAX_FIELDS * MAX_FIELD_BYTES
"""What a form may hold besides the recording."""

PAGE_UPLOADS_S = 24 * 3600.0
"""Gradio removes what pages have sent, but forgets about it when it is killed. A page that has been
open that long sends again."""

WRITERS = 8
"""Threads for the disk; they are not the ones that answer other requests."""


def too_large(settings: Settings) -> MediaLimitExceeded:
    return MediaLimitExceeded(
        f"The recording is larger than {settings.max_upload_mib} MiB.",
        hint="Send only its audio, for example as .m4a, or split it into shorter files.",
    )


def declared_bytes(length: str | None) -> int:
    """What a Content-Length says; 0 where it says nothing."""
    return int(length) if length is not None and length.isascii() and length.isdigit() else 0


def page_uploads(settings: Settings) -> Path:
    """Where Gradio keeps what its page is sent."""
    return settings.data_dir.resolve() / "uploads"


class Uploads:
    """Takes uploads for one data directory."""

    def __init__(self, settings: Settings, admission: Admission) -> None:
        self._settings = settings
        self._admission = admission
        self._root = settings.data_dir / "incoming"
        self._of_pages = page_uploads(settings)
        self._limit = settings.max_upload_mib * MIB
        self._in_thread = in_threads(WRITERS)
        for folder in (self._root, self._of_pages):
            folder.mkdir(parents=True, exist_ok=True)

    def sweep(self) -> None:
        """Remove what uploads of a service that died have left."""
        for folder in self._root.iterdir():
            try:
                with in_use(folder, wait=False):
                    shutil.rmtree(folder)
            except OSError as error:
                log.debug("%s is in use or gone: %s", folder, error)
        oldest = time.time() - PAGE_UPLOADS_S
        for path in self._of_pages.iterdir():
            if path.lstat().st_mtime < oldest:
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    @asynccontextmanager
    async def receive(
        self, request: Request, *, prefix: bytes = b"", only_head: bool = False
    ) -> AsyncIterator[Upload]:
        """The recording of a request, in a folder that is removed when the block ends.

        Args:
            prefix: comes before it in its file.
            only_head: what is needed to recognise the recording is enough.

        Raises:
            MediaLimitExceeded: it is larger than the settings allow.
            DiskFull: it leaves too little space.
            InvalidOption: there is no recording, or the form cannot be read.
            ClientDisconnect: the client has gone.
        """
        expected = declared_bytes(request.headers.get("content-length"))
        if expected > self._limit + FORM_BYTES:
            raise too_large(self._settings)
        await self._in_thread(self._admission.check_disk)(expected)
        folder = self._root / secrets.token_hex(12)
        try:
            folder.mkdir()
            with in_use(folder):
                yield await self._body(request, folder, prefix, only_head)
        except OSError as error:
            if disk_is_full(error):
                raise DiskFull("No disk space was left for the upload.") from error
            raise
        finally:
            with anyio.CancelScope(shield=True):
                await self._in_thread(shutil.rmtree)(folder, ignore_errors=True)

    async def _body(self, request: Request, folder: Path, prefix: bytes, only_head: bool) -> Upload:
        kind, options = parse_options_header(request.headers.get("content-type", ""))
        if kind == b"application/json":
            body: PlainBody = JsonBody(folder)
        elif kind != b"multipart/form-data":
            body = PlainBody(folder, request.query_params.get("name", ""), prefix)
        elif b"boundary" in options:
            body = FormBody(folder, options[b"boundary"], prefix)
        else:
            raise InvalidOption("The form has no boundary.")
        try:
            whole = await self._stream(request, body, HEAD_BYTES if only_head else None)
            return await self._in_thread(body.end if whole else body.beginning)()
        finally:
            body.close()

    async def _stream(self, request: Request, body: PlainBody, enough: int | None) -> bool:
        """Whether all was read, or as many bytes of the recording as are enough."""
        received = looked_at = 0
        async for block in _blocks(request.stream()):
            await self._in_thread(body.feed)(block)
            received += len(block)
            if body.size > self._limit or received > self._limit + FORM_BYTES:
                raise too_large(self._settings)
            if received - looked_at >= LOOK_AT_DISK_BYTES:
                looked_at = received
                await self._in_thread(self._admission.check_disk)()
            if enough is not None and body.size >= enough:
                return False
        return True


async def _blocks(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The bytes of a request, gathered so that each block is worth a write."""
    block = bytearray()
    more = True
    while more:
        try:
            with anyio.fail_after(SILENCE_S):
                block += await anext(stream)
        except StopAsyncIteration:
            more = False
        except TimeoutError as error:
            message = f"No data arrived for {SILENCE_S:g} s."
            raise Refused(408, "UploadStalled", message) from error
        if len(block) >= WRITE_BYTES or (block and not more):
            yield bytes(block)
            block.clear()
