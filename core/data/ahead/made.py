"""A step as it is handed over: whoever made it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.data.ahead.wire import Block
from core.data.spec import Hole


@dataclass(frozen=True)
class Made:
    step: int
    faults: Sequence[Hole]
    """Its rows at fault, which `max_bad_rows` counts."""
    blocks: tuple[Block, ...]
    """A batch for each rank."""
