"""The least that a pass over bytes needs: something that fills a buffer."""

from __future__ import annotations

from typing import Protocol


class Readable(Protocol):
    """What is read from: a raw file, a stream made of one, or bytes in memory."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Fill the start of a buffer and give the count of bytes; 0 at the end."""
        ...


def fill(file: Readable, buffer: memoryview) -> int:
    """Fill a buffer as far as there are bytes, and give their count."""
    filled = 0
    while filled < len(buffer) and (count := file.readinto(buffer[filled:])):
        filled += count
    return filled
