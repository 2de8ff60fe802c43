"""The forms a recording may be sent in, parsed as the bytes arrive.

A plain body is the recording itself; a form (``multipart/form-data``, as browsers and ``curl -F``
send) holds one file or its link, and some fields. Neither is ever in memory as a whole. JSON holds
a link and fields.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from core.errors import InvalidOption
from core.logs import plain_line
from jobs.folders import harmless_extension
from jobs.folders import recording_name as stored_name
from jobs.idempotency import HEAD_BYTES

MAX_FIELDS = 40
MAX_FIELD_BYTES = 16 * 1024
MAX_NAME = 200


@dataclass(frozen=True, slots=True)
class Upload:
    """A recording that has arrived, and the fields that came with it."""

    path: Path | None
    """None: the field ``url`` has its link."""
    name: str
    fields: Mapping[str, Any]
    """A field of a form that is there more than once is a list."""
    head: str = ""
    """Hash of the recording's beginning (``jobs.idempotency``)."""
    whole: bool = True
    """False: only the beginning has been read."""


def recording_name(name: str) -> str:
    """The name to show for a file that a client named: no folders, no control characters."""
    last = plain_line(name.replace("\\", "/").rsplit("/", 1)[-1]).strip(" .")
    if len(last) > MAX_NAME:
        extension = harmless_extension(last)
        last = last[: MAX_NAME - len(extension)] + extension
    return last or "recording"


class PlainBody:
    """The body is the recording. All calls wait for the disk."""

    def __init__(self, folder: Path, name: str, prefix: bytes = b"") -> None:
        """``prefix``: what the recording's file begins with, before what is sent."""
        self._folder = folder
        self._prefix = prefix
        self._name = recording_name(name)
        self._file: BinaryIO | None = None
        self._fields: dict[str, Any] = {}
        self._head = hashlib.sha256()
        self.size = 0
        """Bytes of the recording so far."""

    def feed(self, data: bytes) -> None:
        """Take the next bytes. Raises InvalidOption, OSError."""
        if self._file is None:
            self._begin_file()
        self._keep(data)

    def end(self) -> Upload:
        """What has arrived. Raises InvalidOption."""
        self.close()
        if self._fields.get("url"):
            if self.size:
                raise InvalidOption("Send a recording or a link, not both.")
            return Upload(None, "", self._fields, self._head.hexdigest())
        if self._file is None or not self.size:
            raise InvalidOption(
                "No recording was sent.",
                hint="Send it as the field 'file' of a form, or as the body of the request; or send"
                " its link as the field 'url' of a form or of JSON.",
            )
        return Upload(Path(self._file.name), self._name, self._fields, self._head.hexdigest())

    def beginning(self) -> Upload:
        """What has arrived, before the end."""
        self.close()
        return Upload(None, self._name, self._fields, self._head.hexdigest(), whole=False)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _begin_file(self) -> None:
        self._file = (self._folder / stored_name(self._name)).open("xb")
        self._file.write(self._prefix)

    def _keep(self, data: bytes) -> None:
        assert self._file is not None
        self._file.write(data)
        self._head.update(data[: max(0, HEAD_BYTES - self.size)])
        self.size += len(data)


class FormBody(PlainBody):
    """The body is a form with one file."""

    def __init__(self, folder: Path, boundary: bytes, prefix: bytes = b"") -> None:
        super().__init__(folder, "", prefix)
        self._header_name, self._header_value = b"", b""
        self._headers: dict[bytes, bytes] = {}
        self._field: str | None = None
        self._value = bytearray()
        self._count = 0
        self._complete = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._name_part,
                "on_header_value": self._value_part,
                "on_header_end": self._header,
                "on_headers_finished": self._headers_finished,
                "on_part_data": self._data,
                "on_part_end": self._part_end,
                "on_end": self._end,
            },
        )

    def feed(self, data: bytes) -> None:
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise InvalidOption(f"The form cannot be read: {error}.") from error

    def end(self) -> Upload:
        if not self._complete:
            raise InvalidOption("The form ends too early.", hint="Send the recording again.")
        return super().end()

    # What the parser calls, in this order for each part.

    def _begin(self) -> None:
        self._headers, self._field = {}, None
        self._value.clear()
        self._count += 1
        if self._count > MAX_FIELDS:
            raise InvalidOption(f"The form has more than {MAX_FIELDS} fields.")

    def _name_part(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _value_part(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _header(self) -> None:
        self._headers[self._header_name.lower()] = self._header_value
        self._header_name, self._header_value = b"", b""

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        if b"filename" not in options:
            self._field = _text(options.get(b"name", b""))
            return
        if self._file is not None:
            raise InvalidOption(
                "The form holds more than one recording.", hint="Send each as its own job."
            )
        self._name = recording_name(_text(options[b"filename"]))
        self._begin_file()

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._field is None:
            self._keep(data[start:end])
            return
        self._value += data[start:end]
        if len(self._value) > MAX_FIELD_BYTES:
            raise InvalidOption(f"The field {self._field!r} is too long.")

    def _part_end(self) -> None:
        if self._field is None:
            return
        value = _text(bytes(self._value))
        if self._field in self._fields:
            before = self._fields[self._field]
            self._fields[self._field] = [*(before if isinstance(before, list) else [before]), value]
        else:
            self._fields[self._field] = value

    def _end(self) -> None:
        self._complete = True


class JsonBody(PlainBody):
    """The body is JSON: a link and options."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "")
        self._text = bytearray()

    def feed(self, data: bytes) -> None:
        self._text += data
        if len(self._text) > MAX_FIELD_BYTES:
            raise InvalidOption("The JSON is too long.")

    def end(self) -> Upload:
        try:
            fields = json.loads(self._text)
        except (ValueError, RecursionError) as error:
            raise InvalidOption(f"The JSON cannot be read: {error}.") from error
        if not isinstance(fields, dict):
            raise InvalidOption("The JSON is not an object.", hint='Send {"url": "https://…"}.')
        self._fields = fields
        return super().end()


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
