"""The states of a data set version.

indexing
    Its file is whole; an upkeep worker has a chore to read it once: check each row, count, digest, note where rows begin.
ready
    Its index is published. It may hold faulty rows, which its report names by line; whether they matter is for a job to say.
failed
    Nothing in it can be trained on, or its file could not be read; `error` says which.
"""

from __future__ import annotations

from typing import Literal, get_args

VersionStatus = Literal["indexing", "ready", "failed"]
STATUSES: tuple[VersionStatus, ...] = get_args(VersionStatus)
USABLE: tuple[VersionStatus, ...] = ("ready", "indexing")
"""A job may name such a version: what is being indexed now is waited for. The better one comes first."""
