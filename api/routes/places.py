"""/v1/places: where rows may be read from beside uploads, by the names that the operator gave."""

from __future__ import annotations

from fastapi import APIRouter

from api.deps import PartsDep, TenantDep
from api.paging import ListObject, list_of
from api.rows import places_of_tenant
from api.schemas.places import PlaceObject

router = APIRouter(prefix="/places", tags=["places"])


@router.get("")
def list_all(tenant: TenantDep, parts: PartsDep) -> ListObject[PlaceObject]:
    """List the places that a data set may name. There are no pages."""
    found = places_of_tenant(parts, tenant)
    return list_of([PlaceObject.of(found.by_name[name]) for name in sorted(found.by_name)])
