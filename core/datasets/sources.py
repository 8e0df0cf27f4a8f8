"""From a version's row to what the stream reads it by."""

from __future__ import annotations

from core.data.spec import ShardSpec, SourceSpec, layout_for
from core.datasets.models import DatasetShard, DatasetVersion
from core.datasets.shape import fields_of
from core.storage.artifacts import Artifacts, file_key


def source_of(version: DatasetVersion, artifacts: Artifacts, *, name: str) -> SourceSpec:
    """Describe a version that is ready."""
    shards = tuple(_shard(shard, artifacts) for shard in version.shards)
    assert version.status == "ready"
    assert version.row_format is not None
    return SourceSpec(name, shards, version.row_format, version.digest or "", columns=fields_of(version),  # pyright: ignore[reportArgumentType]
                      layout=layout_for(shards))


def _shard(shard: DatasetShard, artifacts: Artifacts) -> ShardSpec:
    """Frames lie in our storage, wherever the file lies that they were made of."""
    index_path, digest, name = str(artifacts.path(shard.index_key)), shard.digest or "", shard.name
    kind = shard.kind or "lines"
    if kind == "frames":
        return ShardSpec(str(artifacts.path(shard.frames_key)), index_path, digest, kind="frames", name=name)
    if shard.place is not None:
        return ShardSpec(shard.path or "", index_path, digest, kind=kind, place=shard.place, name=name, bytes=shard.bytes,  # pyright: ignore[reportArgumentType]
                         tag=shard.tag or "")
    return ShardSpec(str(artifacts.path(file_key(shard.file_id or ""))), index_path, digest, kind=kind, name=name)  # pyright: ignore[reportArgumentType]
