"""Indexes and frames that no shard names, and that none ever will: of a pass whose worker was killed between publishing them
and writing their row, after which another attempt published under a key of its own.

A key begins with the version that its file was indexed for, and that version's own shards name it, whoever else does. So the
ledger is asked by the versions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from core.datasets.models import DatasetShard


def unnamed(session: Session, keys: Sequence[str]) -> list[str]:
    """Of the indexes or frames that a storage holds (keys, a few hundred at most), those that are garbage."""
    query = select(DatasetShard.index_key, DatasetShard.frames_key).where(
        DatasetShard.version_id.in_({_version_of(key) for key in keys}),
        or_(DatasetShard.index_key.in_(keys), DatasetShard.frames_key.in_(keys)))
    named = {key for row in session.execute(query) for key in row}
    return [key for key in keys if key not in named]


def _version_of(key: str) -> str:
    return re.split(r"[/.-]", key)[1]
