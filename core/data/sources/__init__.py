"""Where rows come from: a `ShardSpec` comes in, a `Shard` goes out, which gives the bytes between two offsets.

Every kind of shard shows the same three things, so the rooms behind this one never ask where the bytes lie.
"""

from __future__ import annotations

from typing import Protocol, Self

from core.data.sources.local import LocalShard
from core.data.spec import ShardSpec

__all__ = ["LocalShard", "Shard", "open_shard"]


class Shard(Protocol):
    """Frozen bytes, open for reading; safe to read from several threads."""

    name: str

    def read(self, start: int, end: int) -> bytes:
        """Give the bytes from `start` up to `end`; raise DataError where the shard is shorter."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *details: object) -> None: ...


def open_shard(spec: ShardSpec, *, source: str) -> Shard:
    """Open one frozen file of a source; raise DataError when it is not there."""
    return LocalShard(spec.name or source, spec.path)
