"""Places on the wire: names and kinds, never where they are or what opens them."""

from __future__ import annotations

from typing import Literal

from api.paging import Entry
from core.data.spec import Place


class PlaceObject(Entry):
    id: str
    """Its name, which a data set names with a path."""
    object: Literal["place"] = "place"
    kind: Literal["file", "s3", "https", "hf"]

    @classmethod
    def of(cls, place: Place) -> PlaceObject:
        kind = "https" if place.kind == "http" else place.kind
        return cls(id=place.name, kind=kind)  # pyright: ignore[reportArgumentType]
