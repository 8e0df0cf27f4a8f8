"""Where rows come from: a `SourceSpec` comes in, a `Source` goes out, which gives the bytes between two offsets.

Every kind of source shows the same three things, so the rooms behind this one never ask where the bytes lie.
"""

from __future__ import annotations

from typing import Protocol, Self

from core.data.sources.local import LocalSource
from core.data.spec import SourceSpec

__all__ = ["LocalSource", "Source", "open_source"]


class Source(Protocol):
    """Frozen bytes, open for reading; safe to read from several threads."""

    name: str

    def read(self, start: int, end: int) -> bytes:
        """Give the bytes from `start` up to `end`; raise DataError where the source is shorter."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *details: object) -> None: ...


def open_source(spec: SourceSpec) -> Source:
    """Open the frozen file of a data set version; raise DataError when it is not there."""
    return LocalSource(spec.name, spec.path)
