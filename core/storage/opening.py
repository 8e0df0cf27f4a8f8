"""Which storage the settings mean: a folder, or a bucket with a folder for this host's copies beside it."""

from __future__ import annotations

from core.places import storage_place
from core.settings import Settings
from core.storage.artifacts import Artifacts


def open_artifacts(settings: Settings) -> Artifacts:
    """Open the storage; nothing is asked of a bucket before it is used."""
    if not settings.is_bucket:
        return Artifacts(settings.storage_root)
    from core.storage.bucket import Bucket
    from core.storage.shared import SharedArtifacts

    return SharedArtifacts(settings.storage_root, Bucket(storage_place(settings)), copies_bytes=settings.cache_bytes,
                           min_free_bytes=settings.min_free_bytes)
