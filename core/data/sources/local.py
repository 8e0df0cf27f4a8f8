"""A shard on a local disk: one descriptor, positioned reads, nothing buffered here (the page cache does that)."""

from __future__ import annotations

import os
from typing import Self

from core.errors import DataError


class LocalShard:
    def __init__(self, name: str, path: str, *, expected_bytes: int | None = None) -> None:
        """Open a file; raise DataError when it is not there, or has not the size that is expected of it."""
        self.name = name
        self._descriptor = _open_for_reading(name, path)
        found = os.fstat(self._descriptor).st_size
        if expected_bytes is not None and found != expected_bytes:
            self.close()
            raise DataError(f"shard {name!r} has {found:,} bytes, and {expected_bytes:,} were registered; register it again, "
                            "or put the old file back", code="shard_changed")

    def read(self, start: int, end: int) -> bytes:
        """Give the bytes from `start` up to `end`; raise DataError where the file is shorter."""
        part = os.pread(self._descriptor, end - start, start)
        return part if len(part) == end - start else self._read_on(part, start, end)

    def _read_on(self, part: bytes, start: int, end: int) -> bytes:
        """Go on where a read gave less than was asked for."""
        parts = [part]
        position = start + len(part)
        while position < end:
            part = os.pread(self._descriptor, end - position, position)
            if not part:
                raise DataError(
                    f"shard {self.name!r} ends at byte {position:,}, and bytes {start:,} to {end:,} were asked for; "
                    "its file was cut after it was registered: restore the file or register it again"
                )
            parts.append(part)
            position += len(part)
        return b"".join(parts)

    def close(self) -> None:
        """Let go of the file; safe to call twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()


def _open_for_reading(name: str, path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise DataError(
            f"shard {name!r} cannot be opened ({error.strerror}); "
            "restore it, or register the data set again"
        ) from error
