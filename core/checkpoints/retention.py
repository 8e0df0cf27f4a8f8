"""Which of a job's shown checkpoints stay: what the job asked for comes in, those that it lets go of come out.

| asked for | stays |
| --- | --- |
| `last: k` | the k newest |
| `best: true` | the one with the lowest `full_valid_loss`; of equal ones the earliest |
| `every: n` | each whose step is a multiple of n |
| `"all"` | each |

What any of them names stays. Beside these stay, whatever was asked for: the final one, pinned ones, those that a model or a
job in progress needs (`core/checkpoints/uses.py`), and what a run of an unfinished job goes on from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from core.checkpoints.models import Checkpoint
from core.specs.job import KeptCheckpoints

BEST_BY = "full_valid_loss"


def let_go(shown: Sequence[Checkpoint], asked: Literal["all"] | KeptCheckpoints) -> list[Checkpoint]:
    """Give those of the `shown` ones, newest first, that nothing in `asked` names; final and pinned ones are never given."""
    if asked == "all":
        return []
    kept = {c.id for c in shown[: asked.last or 0]}
    if asked.every is not None:
        kept |= {c.id for c in shown if c.step % asked.every == 0}
    if asked.best:
        kept |= {c.id for c in best_of(shown)}
    return [c for c in shown if c.id not in kept and c.kind != "final" and c.pinned_at is None]


def best_of(shown: Sequence[Checkpoint]) -> list[Checkpoint]:
    """The one whose held-out loss is lowest; none where nothing was held out."""
    measured = [c for c in shown if isinstance(loss := c.metrics.get(BEST_BY), int | float) and math.isfinite(loss)]
    return [min(measured, key=lambda c: (c.metrics[BEST_BY], c.step))] if measured else []
