"""/v1/places: where rows may be read from beside uploads, by the names that the operator gave."""

from __future__ import annotations

from fastapi import APIRouter

from api.deps import PartsDep, TenantDep
from api.paging import ListObject, list_of
from api.schemas.places import PlaceObject
from core.places import open_to_clients

router = APIRouter(prefix="/places", tags=["places"])


@router.get("")
def list_all(tenant: TenantDep, parts: PartsDep) -> ListObject[PlaceObject]:
    """List the places that a data set may name. There are no pages."""
    found = open_to_clients(parts.settings)
    return list_of([PlaceObject.of(found.by_name[name]) for name in sorted(found.by_name)])
