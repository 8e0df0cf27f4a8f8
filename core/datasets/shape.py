"""What is known of a version's shape: what was found when it was indexed, else what the user said."""

from __future__ import annotations

from typing import Any

from core.datasets.models import DatasetVersion


def shape_of(version: DatasetVersion) -> dict[str, Any]:
    """The shape's `name`, the field that each part is read from (`columns`) and the names of roles (`roles`)."""
    found = (version.report or {}).get("shape")
    return found or {"name": version.asked_shape, "columns": version.columns or {}, "roles": {}}


def fields_of(version: DatasetVersion) -> dict[str, str] | None:
    """All that decides how a row's fields are read, flat: what reads another field is another stream."""
    found = (version.report or {}).get("shape")
    if not found:
        return None
    roles = {f"role {name}": role for name, role in (found.get("roles") or {}).items()}
    return {"shape": found["name"], **found["columns"], **roles}
