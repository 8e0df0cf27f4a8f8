"""What an upkeep worker does for a version, in the process of the test."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from core.data.index import DatasetIndex, build_index, merge_reports
from core.datasets import service as datasets
from core.datasets.models import DatasetVersion
from core.datasets.shards import content_digest
from core.storage.artifacts import Artifacts, file_key


def index_uploads(session: Session, version: DatasetVersion, artifacts: Artifacts, *, now: datetime) -> DatasetVersion:
    """Index a version's uploads as its worker would, and settle it."""
    for shard in version.shards:
        index, frames = artifacts.path(shard.index_key), artifacts.path(shard.frames_key)
        index.parent.mkdir(parents=True, exist_ok=True)
        frames.parent.mkdir(parents=True, exist_ok=True)
        report = build_index(artifacts.path(file_key(shard.file_id or "")), index, name=shard.name, frames_path=frames,
                             shape=version.asked_shape, columns=version.columns)
        datasets.settle_shard(session, version.id, shard.number, report=report.to_json())
    joined = DatasetIndex.open(*(artifacts.path(shard.index_key) for shard in version.shards))
    digest = content_digest([shard.digest or "" for shard in version.shards])
    report = merge_reports([shard.name for shard in version.shards], joined, digest=digest)
    return datasets.settle_index(session, version.id, report=report.to_json(), now=now)
