"""Compressed files as the text that they hold: one pass, in bounded memory, with an end for what would never end.

A stream that is cut, torn or blown up beyond reason raises `BrokenFile`, which says how far it was good.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from typing import Any, Protocol

from core.data.index.detecting import Packing
from core.data.sources.readable import Readable
from core.errors import DataError

MOST_RATIO = 500
"""Bytes of text for one of the file: rows compress by 3 to 50; a file that was made to fill disks by 1,000 and more."""
RATIO_FROM_BYTES = 64 << 20
"""A small file may have any ratio."""
MOST_WINDOW_BYTES = 128 << 20
_PIECE_BYTES = 1 << 16
_ZSTD_PIECE_BYTES = 1 << 10
"""zstd takes no bound on what it gives for a piece; at most 128 KiB for each three bytes bounds it so."""


class BrokenFile(DataError):
    """A file ends, or makes no sense, in its middle."""

    code = "broken_file"


class Unpacked:
    """The text of a compressed file, to be read once from its start; members that follow one another are one text."""

    def __init__(self, file: Readable, packing: Packing, *, most_bytes: int) -> None:
        self._file = file
        self._packing: Packing = packing
        self._most_bytes = most_bytes
        self._piece = memoryview(bytearray(_ZSTD_PIECE_BYTES if packing == "zst" else _PIECE_BYTES))
        self._stream: _Stream | None = None
        self._waiting = b""
        """Of the file, not yet given to the stream."""
        self._ready = memoryview(b"")
        self._taken = self._given = 0

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the start of the buffer; 0 at the end. Raise BrokenFile."""
        while not len(self._ready):
            if not self._unpack(len(buffer)):
                return 0
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def _unpack(self, most: int) -> bool:
        """Unpack one more piece, which may be without text; False at the file's end."""
        stream = self._stream
        if not self._waiting and (stream is None or stream.needs_input) and not self._take():
            return stream is not None and self._unpack_last(stream, most)
        if stream is None:
            if self._taken > len(self._waiting) and not self._waiting.strip(b"\0"):
                self._waiting = b""  # what some tools fill a file's end with
                return True
            stream = self._stream = _open_stream(self._packing)
        self._give(stream, most)
        return True

    def _unpack_last(self, stream: _Stream, most: int) -> bool:
        """Give what an unfinished stream still holds at the file's end."""
        text = stream.decompress(b"", most)
        if not text:
            raise BrokenFile(f"its {self._packing} stream is cut: the file ends in its middle, after {self._given:,} bytes of "
                             "text; upload it again, whole")
        return self._got(text)

    def _give(self, stream: _Stream, most: int) -> None:
        try:
            text = stream.decompress(self._waiting, most)
        except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, _zstd_error()) as error:
            raise BrokenFile(f"its {self._packing} stream is torn after {self._given:,} bytes of text ({error}); make it again "
                             "and upload it") from None
        self._waiting = stream.unused_data if stream.eof else b""
        if stream.eof:
            self._stream = None
        self._got(text)

    def _got(self, text: bytes) -> bool:
        self._given += len(text)
        self._ready = memoryview(text)
        self._check_size()
        return True

    def _take(self) -> bool:
        count = self._file.readinto(self._piece) or 0
        self._waiting = bytes(self._piece[:count])
        self._taken += count
        return count > 0

    def _check_size(self) -> None:
        if self._given > self._most_bytes:
            raise BrokenFile(f"it holds more than {self._most_bytes:,} bytes of text, the most that a file may be unpacked to; "
                             "split it into several files", code="file_too_large")
        if self._given > max(RATIO_FROM_BYTES, MOST_RATIO * self._taken):
            raise BrokenFile(f"{self._taken:,} of its bytes unpack to {self._given:,}, more than {MOST_RATIO} for one, as rows "
                             "never do; upload it as plain text if it is meant so", code="decompression_bomb")


class _Stream(Protocol):
    eof: bool
    unused_data: bytes

    @property
    def needs_input(self) -> bool: ...

    def decompress(self, data: bytes, most: int, /) -> bytes: ...


class _Zlib:
    """gzip, with the manner of the other two."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._stream.unconsumed_tail

    def decompress(self, data: bytes, most: int, /) -> bytes:
        return self._stream.decompress(self._stream.unconsumed_tail + data, most)


class _Zstd:
    needs_input = True

    def __init__(self) -> None:
        import zstandard

        self._stream = zstandard.ZstdDecompressor(max_window_size=MOST_WINDOW_BYTES).decompressobj()

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data

    def decompress(self, data: bytes, _most: int, /) -> bytes:
        return self._stream.decompress(data)


def _open_stream(packing: Packing) -> Any:
    if packing == "gz":
        return _Zlib()
    if packing == "bz2":
        return bz2.BZ2Decompressor()
    if packing == "xz":
        return lzma.LZMADecompressor(memlimit=MOST_WINDOW_BYTES)
    return _Zstd()


def _zstd_error() -> type[Exception]:
    """zstd's own error, without importing it where nothing needs it."""
    import sys

    module = sys.modules.get("zstandard")
    return module.ZstdError if module else ValueError
