"""The sizes of a base model on the operator's list: from its row, or from its folder where the row is older than they are."""

from __future__ import annotations

from pathlib import Path

from core.estimates.shape import ModelShape, read_shape
from core.models.models import Model


def shape_of(base: Model) -> ModelShape | None:
    """None where neither tells them: the estimate then has gaps, and a GPU a budget that suits most models."""
    told = (base.facts or {}).get("shape")
    if told:
        return ModelShape.from_json(told)
    return read_shape(Path(base.folder)) if base.folder else None
