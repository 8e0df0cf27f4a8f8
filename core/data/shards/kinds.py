"""From the kind of a place to what opens it."""

from __future__ import annotations

import os

from core.data.shards.store import Store
from core.data.spec import Place


def open_store(place: Place) -> Store:
    """Open a place; the libraries of its kind are imported here and nowhere before."""
    if place.kind == "s3":
        from core.data.shards.s3 import S3Store

        return S3Store(place)
    if place.kind in ("https", "http"):
        from core.data.shards.web import WebStore

        return WebStore(place)
    if place.kind == "hf":
        os.environ.pop("HF_HUB_OFFLINE", None)  # meant for who may fetch no model; the library reads it once, at its import
        from core.data.shards.hub import HubStore

        return HubStore(place)
    from core.data.shards.folder import FolderStore

    return FolderStore(place)
