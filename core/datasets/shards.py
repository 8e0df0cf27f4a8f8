"""The files of a version: added when it is registered, settled one by one as they are indexed.

A version that is appended to keeps its shards; the new version has them again, with the same index, before its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from core.datasets.models import DatasetShard, DatasetVersion
from core.errors import InvalidValue
from core.files.models import StoredFile
from core.storage.artifacts import frames_key, index_key

MOST_SHARDS = 4096


@dataclass(frozen=True)
class NewShard:
    """A file that nothing is known of but where it lies."""

    name: str
    bytes: int
    file_id: str | None = None
    place: str | None = None
    path: str | None = None
    tag: str = ""

    @classmethod
    def of_upload(cls, file: StoredFile) -> NewShard:
        return cls(file.filename, file.bytes, file_id=file.id)


def add_shards(session: Session, version: DatasetVersion, news: Sequence[NewShard]) -> None:
    """Put files behind those that a version has, sorted by their names; raise InvalidValue for too many."""
    first = len(version.shards)
    if first + len(news) > MOST_SHARDS:
        raise InvalidValue(f"the version would have {first + len(news):,} files; at most {MOST_SHARDS:,} make one; join small "
                           "ones, or make several data sets and mix them", code="too_many_files")
    for number, new in enumerate(sorted(news, key=lambda new: new.name), first):
        version.shards.append(DatasetShard(
            version_id=version.id, number=number, name=new.name, file_id=new.file_id, place=new.place, path=new.path,
            bytes=new.bytes, tag=new.tag or None, is_indexed=False, index_key=index_key(version.id, number),
            frames_key=frames_key(version.id, number)))
    version.bytes = sum(shard.bytes for shard in version.shards)
    session.flush()


def copy_shards(session: Session, version: DatasetVersion, former: DatasetVersion) -> None:
    """Give a version the files of another; what is indexed already is not indexed again."""
    for shard in former.shards:
        told = {column: getattr(shard, column) for column in _COPIED} if shard.is_indexed else {
            "index_key": index_key(version.id, shard.number), "frames_key": frames_key(version.id, shard.number)}
        version.shards.append(DatasetShard(
            version_id=version.id, number=shard.number, name=shard.name, file_id=shard.file_id, place=shard.place,
            path=shard.path, bytes=shard.bytes, tag=shard.tag, is_indexed=shard.is_indexed, **told))
    session.flush()


def settle_shard(session: Session, version_id: str, number: int, *, report: dict[str, Any], bytes: int | None = None,
                 tag: str = "", index_key: str | None = None, frames_key: str | None = None) -> DatasetShard:
    """Note what the pass over a file found (`IndexReport` as JSON), what its place calls the content, and where index and
    frames were published."""
    shard = session.get_one(DatasetShard, (version_id, number))
    shard.index_key, shard.frames_key = index_key or shard.index_key, frames_key or shard.frames_key
    shard.kind, shard.file_kind = report.get("kind", "lines"), report.get("file_kind", "jsonl")
    shard.digest, shard.rows, shard.faulty_rows = report["sha256"], report["rows"], report["faulty"]
    shard.converted_bytes, shard.seconds = report.get("converted_bytes"), report.get("seconds")
    shard.bytes = bytes if bytes is not None else shard.bytes
    shard.tag = tag or shard.tag
    shard.is_indexed = True
    session.flush()
    return shard


def content_digest(digests: Sequence[str]) -> str:
    """Digest the files of a version in their order: of one file its own SHA-256, of several that over theirs."""
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()


_COPIED = ("index_key", "frames_key", "kind", "file_kind", "digest", "rows", "faulty_rows", "converted_bytes", "seconds")
