"""What every kind of place shows: the size and tag of a file, its bytes, and what there is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from core.data.shards.faults import Changed, Unusable

MOST_LISTED = 1_000_000
"""Files looked at under one folder; more are told, not read through."""


@dataclass(frozen=True)
class Stat:
    """What tells one content of a file from the next."""

    size: int
    tag: str
    """ETag, digest or time of the last change, as the place has it; "" where it has none."""


class Store(Protocol):
    """One place, open. Safe to use from several threads. Raises `StoreFault`s, and tries nothing twice."""

    def stat(self, path: str) -> Stat: ...

    def read(self, path: str, start: int, end: int, expected: Stat) -> bytes:
        """Give the bytes from `start` up to `end`, all of them, of the content that is expected."""
        ...

    def iter_paths(self, folder: str) -> Iterator[str]:
        """All files below a folder of the place, in no order, their paths relative to the place."""
        ...

    def close(self) -> None: ...


def check_same(found: Stat, expected: Stat) -> None:
    """Raise Changed when a file is not the one that was expected; a tag that either side lacks tells nothing."""
    if found.size != expected.size:
        raise Changed(f"{found.size:,} bytes, and {expected.size:,} were registered")
    if found.tag and expected.tag and found.tag != expected.tag:
        raise Changed(f"tag {found.tag[:40]!a}, and {expected.tag[:40]!a} was registered")


def total_of(content_range: str | None) -> int:
    """The size of the whole file, from the Content-Range of an answer to a ranged read."""
    total = (content_range or "").rpartition("/")[2]
    if not total.isdecimal():
        raise Unusable("its answer to a ranged read does not say how long the file is; use a server that does")
    return int(total)
