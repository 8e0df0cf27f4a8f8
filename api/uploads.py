"""Multipart uploads, written to disk as they arrive.

Blocks of the body go through the parser, the digest and the file in one thread hop each; memory is that of one block.
One part is the file, named `file`; the others are short fields, before or after it. The file lies under a temporary
name until it is taken; whatever else happens (a fault, a client that goes away, a full disk), it is removed.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from api.filenames import plain_name
from core.errors import InvalidValue, TooLarge, shown

BLOCK_BYTES = 256 * 1024
FIELD_BYTES = 4096
FIELDS = 8
FILE_FIELD = "file"
FRAME_BYTES = 64 * 1024
"""What the fields and the frame of a multipart body may add to the file's own bytes."""
BYTES_PER_CHECK = 64 * 1024 * 1024
"""So often the disk's free space is looked at again: bodies may come unannounced, and several at once."""


class Upload:
    """What has arrived of one multipart body."""

    def __init__(self, temporary: Path, *, boundary: bytes, limit: int, known_fields: frozenset[str],
                 check_space: Callable[[], None]) -> None:
        self.temporary = temporary
        self.fields: dict[str, str] = {}
        self.filename = ""
        self.bytes = 0
        self._digest = hashlib.sha256()
        self._limit = limit
        self._known = known_fields
        self._check_space = check_space
        self._checked = 0
        self._is_whole = False
        self._out: BinaryIO | None = None
        self._has_file = False
        self._part = ""
        self._text = bytearray()
        self._header = (bytearray(), bytearray())
        self._disposition = b""
        self._parser = MultipartParser(boundary, {
            "on_part_begin": self._begin_part,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._open_part,
            "on_part_data": self._take,
            "on_part_end": self._end_part,
            "on_end": self._end,
        })

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def feed(self, block: bytes) -> None:
        """Take the next bytes of the body; raise InvalidValue or TooLarge for what cannot be taken."""
        try:
            self._parser.write(block)
        except FormParserError:
            raise _refused("the body is no multipart form that can be read") from None

    def finish(self) -> None:
        """Check that the form came whole, with its file; safe to call once, at the body's end."""
        if not self._is_whole:
            raise _refused("the body ends before the form does")
        if not self._has_file:
            raise InvalidValue("'file' is missing; add the file as a part of that name", code="missing_required_parameter",
                               param=FILE_FIELD)
        if self.bytes == 0:
            raise InvalidValue("'file' is empty; expected at least one byte; send a file with content", param=FILE_FIELD)

    def discard(self) -> None:
        """Close and remove what was written; safe after the file was taken."""
        if self._out is not None:
            with contextlib.suppress(OSError):  # what a full disk would not take is not wanted any more
                self._out.close()
        self.temporary.unlink(missing_ok=True)

    def _begin_part(self) -> None:
        self._disposition = b""
        self._text = bytearray()
        self._header = (bytearray(), bytearray())

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._header[0].extend(data[start:end])

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1].extend(data[start:end])

    def _end_header(self) -> None:
        name, value = self._header
        if name.lower() == b"content-disposition":
            self._disposition = bytes(value)
        self._header = (bytearray(), bytearray())

    def _open_part(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._part = _decode(options.get(b"name", b""))
        if self._part == FILE_FIELD:
            self._open_file(options)
        elif self._part not in self._known:
            known = ", ".join([FILE_FIELD, *sorted(self._known)])
            raise InvalidValue(f"{shown(self._part)} is not known here; check its spelling, or leave it out; the form takes "
                               f"{known}", code="unknown_parameter", param=self._part[:80])
        elif self._part in self.fields:
            raise InvalidValue(f"{shown(self._part)} stands twice in the form; send it once", param=self._part)

    def _open_file(self, options: dict[bytes, bytes]) -> None:
        if self._has_file:
            raise InvalidValue("the form holds two parts named 'file'; send one file a request", param=FILE_FIELD)
        if b"filename" not in options:
            raise InvalidValue("'file' is a text; expected a file; send the part with a filename", code="invalid_type",
                               param=FILE_FIELD)
        self._has_file = True
        self.filename = plain_name(_decode(options[b"filename"]))
        self._out = self.temporary.open("wb")

    def _take(self, data: bytes, start: int, end: int) -> None:
        if self._part == FILE_FIELD:
            self._write(data[start:end])
            return
        self._text.extend(data[start:end])
        if len(self._text) > FIELD_BYTES:
            raise InvalidValue(f"{shown(self._part)} has more than {FIELD_BYTES} bytes; expected a short text; shorten it",
                               param=self._part)

    def _write(self, block: bytes) -> None:
        self.bytes += len(block)
        if self.bytes > self._limit:
            raise TooLarge(f"the file has more than {self._limit:,} bytes, the most that this server takes; split it, or ask "
                           "the operator to raise the limit", param=FILE_FIELD)
        if self.bytes - self._checked >= BYTES_PER_CHECK:
            self._check_space()
            self._checked = self.bytes
        assert self._out is not None
        self._out.write(block)
        self._digest.update(block)

    def _end_part(self) -> None:
        if self._part == FILE_FIELD and self._out is not None:
            self._out.close()
        elif self._part != FILE_FIELD:
            self.fields[self._part] = _decode_field(self._part, bytes(self._text))

    def _end(self) -> None:
        self._is_whole = True


@asynccontextmanager
async def receiving(
    request: Request, new_temporary: Callable[[], Path], *, limit: int, known_fields: frozenset[str],
    check_space: Callable[[], None] = lambda: None,
) -> AsyncIterator[Upload]:
    """Read the whole form of a request; give it, and remove the temporary file at the end unless it was moved away.

    `check_space` is called now and then, and raises when the disk has no room for more."""
    boundary = _boundary(request)
    upload = Upload(await run_in_threadpool(new_temporary), boundary=boundary, limit=limit, known_fields=known_fields,
                    check_space=check_space)
    try:
        async for block in _blocks(request):
            await run_in_threadpool(upload.feed, block)
        upload.finish()
        yield upload
    finally:
        upload.discard()


async def _blocks(request: Request) -> AsyncIterator[bytes]:
    waiting = bytearray()
    async for chunk in request.stream():
        waiting += chunk
        if len(waiting) >= BLOCK_BYTES:
            yield bytes(waiting)
            waiting.clear()
    if waiting:
        yield bytes(waiting)


def _boundary(request: Request) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data":
        found = f"is {shown(kind.decode('latin-1'))}" if kind else "is missing"
        raise InvalidValue(f"the content type {found}; expected multipart/form-data; send the file as a form",
                           code="unsupported_media_type")
    boundary = options.get(b"boundary", b"")
    if not 1 <= len(boundary) <= 70:
        raise _refused("the content type names no boundary of 1 to 70 characters")
    return boundary


def _decode(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _decode_field(name: str, raw: bytes) -> str:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidValue(f"{shown(name)} is no UTF-8; send it as UTF-8 text", param=name) from None
    if "\0" in text:
        raise InvalidValue(f"{shown(name)} holds the character U+0000; remove it", param=name)
    return text


def _refused(message: str) -> InvalidValue:
    return InvalidValue(f"{message}; send multipart/form-data with the part 'file' and the field 'purpose'",
                        code="invalid_multipart")
