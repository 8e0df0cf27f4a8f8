"""Text in zstd frames that can be sought: what compressed files and lists are turned into once.

    frame, frame, …      each an ordinary zstd frame of about `FRAME_BYTES` of text, cut behind a line wherever there is one
    skippable frame      for each frame where its text and its bytes end (two uint64), how many there are (uint64), a mark

So `zstd -d` gives the text back, and any byte of it is found by one bisection and one frame. The table is mapped, never
loaded: 16 bytes for each frame. A random row costs the unpacking of its frame, about 60 µs; the last few frames are kept,
so rows that lie together cost one unpacking for all.
"""

from __future__ import annotations

import os
import struct
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Protocol, Self

import numpy as np
import zstandard

from core.data.sources.local import LocalShard
from core.errors import DataError

FRAME_BYTES = 1 << 16
LEVEL = 1
KEPT_FRAMES = 16
_SKIPPABLE = struct.Struct("<II")
_SKIPPABLE_MAGIC = 0x184D2A5E
_END = struct.Struct("<Q8s")
_MARK = b"HRFRAME1"


class Bytes(Protocol):
    """A file that gives the bytes between two offsets."""

    def read(self, start: int, end: int) -> bytes: ...

    def close(self) -> None: ...


class FrameWriter:
    """Takes text piece by piece; `finish` makes the file whole."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True)
        self._held = bytearray()
        self._ends: list[np.ndarray] = []
        self._few: list[int] = []
        self.text_bytes = self.file_bytes = 0

    def write(self, text: bytes | memoryview) -> None:
        self._held += text
        start = 0
        while len(self._held) - start >= FRAME_BYTES:
            cut = self._held.rfind(b"\n", start, start + FRAME_BYTES) + 1 or start + FRAME_BYTES
            self._write_frame(memoryview(self._held)[start:cut])
            start = cut
        del self._held[:start]

    def finish(self) -> int:
        """Write what is held and the table, bring all to the disk, and give the file's bytes."""
        if self._held:
            self._write_frame(self._held)
        self._keep_ends()
        table = b"".join(part.tobytes() for part in self._ends)
        self._file.write(_SKIPPABLE.pack(_SKIPPABLE_MAGIC, len(table) + _END.size))
        self._file.write(table)
        self._file.write(_END.pack(len(table) // 16, _MARK))
        self._file.flush()
        os.fsync(self._file.fileno())
        size = self._file.tell()
        self._file.close()
        return size

    def close(self) -> None:
        self._file.close()

    def _write_frame(self, text: bytearray | memoryview) -> None:
        self.text_bytes += len(text)
        self.file_bytes += self._file.write(self._compressor.compress(text))
        if isinstance(text, memoryview):
            text.release()
        self._few += (self.text_bytes, self.file_bytes)
        if len(self._few) >= 1 << 12:
            self._keep_ends()

    def _keep_ends(self) -> None:
        self._ends.append(np.array(self._few, "<u8"))
        self._few = []


class FramesShard:
    """Reads like the text itself; safe to read from several threads."""

    def __init__(self, name: str, file: Bytes, ends: np.ndarray) -> None:
        self.name = name
        self._file, self._ends = file, ends
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._decompressor = zstandard.ZstdDecompressor()

    @classmethod
    def open(cls, name: str, path: str) -> FramesShard:
        """Open frames on a local disk; raise DataError when they are missing or torn."""
        return cls(name, LocalShard(name, path), _table(name, path))

    @classmethod
    def open_remote(cls, name: str, file: Bytes, size: int) -> FramesShard:
        """Open frames of so many bytes that are read from elsewhere; their table is read into memory."""
        return cls(name, file, _remote_table(name, file, size))

    def read(self, start: int, end: int) -> bytes:
        """Give the text from `start` up to `end`; raise DataError where it is shorter, or a frame is torn."""
        if start >= end:
            return b""
        first = int(np.searchsorted(self._ends[:, 0], start, side="right"))
        parts: list[bytes] = []
        at = start
        for number in range(first, len(self._ends)):
            begin = int(self._ends[number - 1, 0]) if number else 0
            text = self._frame(number)
            parts.append(text[at - begin : end - begin])
            at = begin + len(text)
            if at >= end:
                return parts[0] if len(parts) == 1 else b"".join(parts)
        raise DataError(f"shard {self.name!r} ends at byte {at:,} of its text, and bytes {start:,} to {end:,} were asked for; "
                        "register the data set again")

    def close(self) -> None:
        self._file.close()
        self._kept.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def _frame(self, number: int) -> bytes:
        with self._lock:
            text = self._kept.get(number)
            if text is None:
                text = self._kept[number] = self._unpacked(number)
                if len(self._kept) > KEPT_FRAMES:
                    self._kept.popitem(last=False)
            else:
                self._kept.move_to_end(number)
            return text

    def _unpacked(self, number: int) -> bytes:
        start = int(self._ends[number - 1, 1]) if number else 0
        try:
            return self._decompressor.decompress(self._file.read(start, int(self._ends[number, 1])))
        except zstandard.ZstdError as error:
            raise DataError(f"frame {number:,} of shard {self.name!r} is torn ({error}); register the data set again"
                            ) from error


def _remote_table(name: str, file: Bytes, size: int) -> np.ndarray:
    count, mark = _END.unpack(file.read(size - _END.size, size)) if size >= _END.size else (0, b"")
    if mark != _MARK or 16 * count + _END.size > size:
        raise DataError(f"the frames of shard {name!r} have no table at their end; register the data set again")
    start = size - _END.size - 16 * count
    return np.frombuffer(file.read(start, start + 16 * count), "<u8").reshape(-1, 2)


def _table(name: str, path: str) -> np.ndarray:
    """Map the table: uint64, shape (frames, 2): where the text and the bytes of each frame end."""
    try:
        size = os.stat(path).st_size
        with open(path, "rb") as file:
            file.seek(size - _END.size)
            count, mark = _END.unpack(file.read(_END.size))
        if mark != _MARK or 16 * count + _END.size > size:
            raise ValueError("no table at its end")
        if not count:
            return np.zeros((0, 2), np.uint64)
        return np.memmap(path, "<u8", "r", offset=size - _END.size - 16 * count, shape=(count, 2))
    except (OSError, ValueError, struct.error) as error:
        raise DataError(f"the frames of shard {name!r} are missing or torn ({error}); register the data set again") from error
