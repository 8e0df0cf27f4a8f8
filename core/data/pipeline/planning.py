"""StreamSpec → what is known before the first step: orders, schedule, plan. From indexes alone."""

from __future__ import annotations

from collections.abc import Sequence

from core.data.index import DatasetIndex
from core.data.mixture import turns_of
from core.data.order import RowOrder, rows_per_block
from core.data.pipeline.schedule import Joined, Mixed, Passes, Schedule
from core.data.rows import open_index
from core.data.spec import SourceSpec, StreamPlan, StreamSpec
from core.data.split import kept_rows
from core.errors import DataError


def plan_stream(spec: StreamSpec) -> StreamPlan:
    """Say how many rows and steps a stream has; raises DataError when a source has no row for it."""
    orders = make_orders(spec, [open_index(source) for source in spec.sources])
    return make_plan(make_schedule(spec, orders), orders)


def make_orders(spec: StreamSpec, indexes: Sequence[DatasetIndex]) -> list[RowOrder]:
    """The order of each source, without its faulty rows and the other side of the split."""
    return [
        RowOrder(index.rows, kept_rows(index.hash_parts(), index.faulty, fraction=spec.validation_fraction, part=spec.part),
                 seed=spec.seed, source=number, is_shuffled=spec.is_shuffled, block_rows=_block_rows(source, index))
        for number, (source, index) in enumerate(zip(spec.sources, indexes, strict=True))
    ]


def make_schedule(spec: StreamSpec, orders: Sequence[RowOrder]) -> Schedule:
    rows = [order.size for order in orders]
    if spec.part == "validation":
        if not any(rows):
            raise DataError(_none_held_out(spec))
        return Passes(rows, batch_size=spec.batch_size, epochs=spec.epochs)
    for source, size in zip(spec.sources, rows, strict=True):
        if size == 0:
            raise DataError(f"source '{source.name}' has no good row to train on; register a file with at least one")
    planned = rows[:len(spec.mixture[0].weights)]
    passes = spec.source_epochs or (spec.epochs,) * len(planned)
    if len(planned) == 1:
        return _passes(spec, rows, epochs=passes[0])
    return Mixed(spec.mixture, wanted=[size * epochs for size, epochs in zip(planned, passes, strict=True)], sources=len(rows),
                 batch_size=spec.batch_size, epochs=spec.epochs, exhaustion=spec.exhaustion)


def _passes(spec: StreamSpec, rows: Sequence[int], *, epochs: int) -> Schedule:
    """Passes over the first source, and the mixture from the first change on that draws from another."""
    passes = Passes(rows[:1], batch_size=spec.batch_size, epochs=epochs)
    turns = [turn for turn in turns_of(spec.mixture, sources=len(rows)) if turn.from_step > 1 or turn.drawn != (0,)]
    return Joined(passes, turns, batch_size=spec.batch_size) if turns else passes


def make_plan(schedule: Schedule, orders: Sequence[RowOrder]) -> StreamPlan:
    return StreamPlan(tuple(order.size for order in orders), schedule.total_steps, schedule.epoch_ends)


def _block_rows(source: SourceSpec, index: DatasetIndex) -> int | None:
    """What the index tells, which is as frozen as the rows, so that every run cuts the same blocks."""
    return (source.block_rows or rows_per_block(index.rows, index.bytes)) if source.layout == "blocks" else None


def _none_held_out(spec: StreamSpec) -> str:
    names = ", ".join(f"'{source.name}'" for source in spec.sources)
    return (f"no row of {names} is on the validation side of a split of {spec.validation_fraction:g}; ask for a larger share, "
            "or name a validation file")
