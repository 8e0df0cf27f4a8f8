"""From a version's row to what the stream reads it by."""

from __future__ import annotations

from collections.abc import Iterable

from core.data.spec import ShardKind, ShardSpec, SourceSpec, layout_for
from core.datasets.models import DatasetShard, DatasetVersion
from core.datasets.shape import fields_of
from core.errors import DataError, shown
from core.storage.artifacts import Artifacts, file_key
from core.storage.manifest import FolderDamaged


def source_of(version: DatasetVersion, artifacts: Artifacts, *, name: str) -> SourceSpec:
    """Describe a version that is ready, wherever its indexes lie; whoever opens them fetches them first (`fetch_indexes`)."""
    shards = tuple(_shard(shard, artifacts) for shard in version.shards)
    assert version.status == "ready"
    assert version.row_format is not None
    return SourceSpec(name, shards, version.row_format, version.digest or "", columns=fields_of(version),  # pyright: ignore[reportArgumentType]
                      layout=layout_for(shards))


def fetch_indexes(versions: Iterable[DatasetVersion], artifacts: Artifacts) -> None:
    """Have the indexes of versions that are ready on this host, which may take a while where they lie in a bucket: call it
    before a transaction that needs them. Raises DataError where the storage has lost one."""
    for version in versions:
        for shard in version.shards if version.status == "ready" else ():
            _fetch_index(shard, artifacts)


def _fetch_index(shard: DatasetShard, artifacts: Artifacts) -> None:
    try:
        artifacts.fetch(shard.index_key)
    except FolderDamaged as error:
        raise DataError(f"the index of file {shown(shard.name)} is gone from the storage, or damaged there; register the data "
                        "set again", code="index_missing") from error


def _shard(shard: DatasetShard, artifacts: Artifacts) -> ShardSpec:
    """Frames lie in our storage, wherever the file lies that they were made of."""
    kind: ShardKind = shard.kind or "lines"  # pyright: ignore[reportAssignmentType]
    if kind == "frames":
        return _stored(shard, artifacts, shard.frames_key, kind, bytes=shard.converted_bytes or 0)
    if shard.place is None:
        return _stored(shard, artifacts, file_key(shard.file_id or ""), kind, bytes=shard.bytes)
    return ShardSpec(shard.path or "", str(artifacts.path(shard.index_key)), shard.digest or "", kind=kind, place=shard.place,
                     name=shard.name, bytes=shard.bytes, tag=shard.tag or "")


def _stored(shard: DatasetShard, artifacts: Artifacts, key: str, kind: ShardKind, *, bytes: int) -> ShardSpec:
    """A file in our storage: on this host's disk, or in the place that a bucket is."""
    index_path, digest = str(artifacts.path(shard.index_key)), shard.digest or ""
    if artifacts.place is None:
        return ShardSpec(str(artifacts.path(key)), index_path, digest, kind=kind, name=shard.name)
    return ShardSpec(key, index_path, digest, kind=kind, place=artifacts.place, name=shard.name, bytes=bytes)
