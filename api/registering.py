"""What a request to register rows means: uploads, or files in a place, checked as far as it can be without looking there."""

from __future__ import annotations

from collections import Counter

from api.deps import Parts, Tenant
from api.rows import places_of_tenant
from api.schemas.datasets import RowsAsked
from core.data.shards.paths import check_path
from core.datasets.service import Rows
from core.errors import InvalidValue, shown
from core.places import get_place


def asked_rows(asked: RowsAsked, parts: Parts, tenant: Tenant) -> Rows:
    """Raise InvalidValue unless exactly one way to rows is named; what a pattern means is looked up by a worker."""
    named = [name for name in ("file_id", "file_ids", "place") if getattr(asked, name) is not None]
    if len(named) != 1:
        told = f"{' and '.join(named)} are both given" if named else "neither is given"
        raise InvalidValue(f"rows come from file_id, from file_ids, or from place with path, and {told}; name one of them",
                           param=named[-1] if named else "file_id",
                           code="invalid_value" if named else "missing_required_parameter")
    if (asked.place is None) != (asked.path is None):
        raise InvalidValue("place and path belong together; give the name of a place and a path inside it",
                           param="path" if asked.path is None else "place")
    file_ids = [asked.file_id] if asked.file_id is not None else asked.file_ids or []
    twice, times = next(iter(Counter(file_ids).most_common(1)), ("", 0))
    if times > 1:
        raise InvalidValue(f"file_ids names {shown(twice)} twice; name each file once", param="file_ids")
    if asked.place is not None and asked.path is not None:
        get_place(places_of_tenant(parts, tenant), asked.place)
        check_path(asked.path)
    return Rows(file_ids, asked.place, asked.path, asked.shape, asked.columns)
