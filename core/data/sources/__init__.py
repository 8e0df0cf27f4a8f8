"""Where rows come from: a `ShardSpec` comes in, a `Shard` goes out, which gives the bytes between two offsets.

Every kind of shard shows the same three things, so the rooms behind this one never ask where the bytes lie; only Parquet, which
has no offsets, gives rows by their number (`ParquetRows`). What a kind needs (zstandard, pyarrow) is imported where a shard of
that kind is opened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

from core.data.sources.local import LocalShard
from core.data.sources.parquet import ParquetRows
from core.data.spec import Places, ShardSpec

if TYPE_CHECKING:
    from core.data.shards import OpenPlaces

__all__ = ["LocalShard", "ParquetRows", "Shard", "open_places", "open_rows", "open_shard"]


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


def open_rows(spec: ShardSpec, *, source: str, places: OpenPlaces | None = None) -> Shard | ParquetRows:
    """Open one frozen file of a source as its kind wants it; raise DataError when it is not there.

    A file in a place needs the places, open."""
    if spec.kind != "parquet":
        return open_shard(spec, source=source, places=places)
    name, path = spec.name or source, _local_path(spec, places)
    if path is not None:
        return ParquetRows(name, path)
    assert places is not None
    from core.data.shards import RemoteFile

    return ParquetRows(name, RemoteFile(places.open_shard(spec)))


def open_shard(spec: ShardSpec, *, source: str, places: OpenPlaces | None = None) -> Shard:
    """Open a file whose rows are found by offsets; raise DataError when it is not there. One in a place needs the places."""
    name, path = spec.name or source, _local_path(spec, places)
    if spec.kind == "frames":
        from core.data.sources.frames import FramesShard

        if path is not None:
            return FramesShard.open(name, path)
        assert places is not None
        return FramesShard.open_remote(name, places.open_shard(spec), spec.bytes)
    if path is not None:
        return LocalShard(name, path, expected_bytes=spec.bytes if spec.place is not None and spec.bytes else None)
    assert places is not None
    return places.open_shard(spec)


def _local_path(spec: ShardSpec, places: OpenPlaces | None) -> str | None:
    """Where the file lies on a local disk; None for one that has to be fetched."""
    if spec.place is None:
        return spec.path
    assert places is not None
    return places.local_path(spec.place, spec.path)
