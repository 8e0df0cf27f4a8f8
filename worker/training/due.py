"""What a run owes at the border of a step, by its spec alone."""

from __future__ import annotations

from core.specs.run import RunSpec
from worker.reports import CheckpointKind


def checkpoint_due(spec: RunSpec, step: int, *, recovery_step: int | None) -> CheckpointKind | None:
    """Which checkpoint is to be saved; `recovery_step` is the one at which the ranks found it time for a recovery point."""
    if step == spec.total_steps:
        return "final"
    if step in spec.epoch_ends or _divides(spec.checkpoint_every_steps, step):
        return "listed"
    return "recovery" if step == recovery_step else None


def evaluation_due(spec: RunSpec, step: int) -> bool:
    return step in spec.epoch_ends or _divides(spec.eval_every_steps, step)


def _divides(every: int | None, step: int) -> bool:
    return every is not None and step % every == 0
