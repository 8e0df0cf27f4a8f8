"""Where rows come from: a `ShardSpec` comes in, a `Shard` goes out, which gives the bytes between two offsets.

Every kind of shard shows the same three things, so the rooms behind this one never ask where the bytes lie.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

from core.data.sources.local import LocalShard
from core.data.spec import Places, ShardSpec

if TYPE_CHECKING:
    from core.data.shards import OpenPlaces

__all__ = ["LocalShard", "Shard", "open_places", "open_shard"]


class Shard(Protocol):
    """Frozen bytes, open for reading; safe to read from several threads."""

    name: str

    def read(self, start: int, end: int) -> bytes:
        """Give the bytes from `start` up to `end`; raise DataError where the shard is shorter."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *details: object) -> None: ...


def open_places(places: Places) -> OpenPlaces:
    """Open the operator's places for all shards of a process; what reads them is imported here and not before."""
    from core.data.shards import OpenPlaces

    return OpenPlaces(places)


def open_shard(spec: ShardSpec, *, source: str, places: OpenPlaces | None = None) -> Shard:
    """Open one frozen file of a source; raise DataError when it is not there. One in a place needs the places, open."""
    if spec.place is None:
        return LocalShard(spec.name or source, spec.path)
    assert places is not None
    path = places.local_path(spec.place, spec.path)
    return places.open_shard(spec) if path is None else LocalShard(spec.name or source, path)
