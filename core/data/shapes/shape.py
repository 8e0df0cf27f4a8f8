"""A shape, ready to read rows with: which fields tell it, a cheap test, and two ways to the canonical value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from core.data.spec import RowFormat

Row = dict[str, Any]

ShapeName = Literal[
    "chat", "sharegpt", "alpaca", "prompt_completion", "text",
    "preference_openai", "preference_sharegpt", "preference_alpaca", "preference_trl",
]
SHAPES: tuple[ShapeName, ...] = (
    "preference_openai", "preference_sharegpt", "preference_alpaca", "preference_trl",
    "chat", "sharegpt", "alpaca", "prompt_completion", "text",
)
"""In the order in which they are tried: those that need more fields first."""
ASKED = ("chat", "sharegpt", "alpaca", "prompt_completion", "text", "preference", *SHAPES[:4])
"""What a user may ask for: a shape, or preference pairs of any."""


@dataclass(frozen=True)
class RowShape:
    """How rows of one shape become canonical values. `fits`, `convert` and `read` agree: what fits has no fault, and both
    ways give the same value."""

    name: ShapeName
    format: RowFormat
    columns: dict[str, str]
    """Which field each part is read from."""
    has_fields: Callable[[Any], bool]
    fits: Callable[[Any], bool]
    """The cheap test: True only for values that `read` accepts."""
    read: Callable[[Row], Row]
    """Check any object and give its canonical value; raises RowFault."""
    convert: Callable[[Row], Row] | None = None
    """The canonical value of one that fits; None when it is the value itself."""
    roles: dict[str, str] = field(default_factory=dict)
    """What each role's name stands for, where the rows have names of their own."""

    def canonical(self, value: Row) -> Row:
        """Give the canonical value of an object; raise RowFault."""
        if self.fits(value):
            return self.convert(value) if self.convert else value
        return self.read(value)

    def to_json(self) -> dict[str, Any]:
        """What `open_shape` makes the same shape of."""
        return {"name": self.name, "format": self.format, "columns": self.columns, "roles": self.roles}
