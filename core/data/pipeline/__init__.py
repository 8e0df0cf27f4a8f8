"""StreamSpec → StreamPlan, and StreamSpec with a Position → Batches. The one module that opens every room.

`plan_stream` reads indexes alone: milliseconds, no tokenizer. `open_stream` opens the files and the tokenizer too.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.data.batches import BatchMaker, Share
from core.data.index import DatasetIndex
from core.data.order import RowOrder
from core.data.pipeline.schedule import Mixed, Passes, Schedule
from core.data.pipeline.stream import Stream
from core.data.rows import RowReader
from core.data.spec import RowFormat, SourceSpec, StreamPlan, StreamSpec
from core.data.split import kept_rows
from core.data.templates import RowTemplate, open_template
from core.data.tokens import RowEncoder, open_encoder
from core.errors import DataError

__all__ = ["Stream", "open_stream", "plan_stream"]


def plan_stream(spec: StreamSpec) -> StreamPlan:
    """Say how many rows and steps a stream has; raises DataError when a source has no row for it."""
    indexes = [DatasetIndex.open(source.index_path) for source in spec.sources]
    return _plan(*_schedule(spec, _orders(spec, indexes)))


def open_stream(spec: StreamSpec) -> Stream:
    """Open a stream for reading; close it, or use it as a context. Raises DataError for what cannot be opened."""
    encoder = open_encoder(spec.tokenizer_path)
    templates: dict[RowFormat, RowTemplate] = {
        source.format: open_template(spec.tokenizer_path, row_format=source.format, control_tokens=encoder.control_tokens,
                                     front=encoder.front)
        for source in spec.sources
    }
    reader = RowReader(spec.sources)
    try:
        orders = _orders(spec, reader.indexes)
        schedule, rows = _schedule(spec, orders)
    except BaseException:
        reader.close()
        raise
    maker = BatchMaker(
        reader, templates, RowEncoder(encoder, max_length=spec.max_length, overlong=spec.overlong),
        sources=spec.sources, on_bad_row=spec.on_bad_row, share=Share(spec.rank, spec.ranks, spec.micro_batch_tokens))
    return Stream(_plan(schedule, rows), schedule, orders, maker, mixture=spec.mixture, reader=reader)


def _orders(spec: StreamSpec, indexes: Sequence[DatasetIndex]) -> list[RowOrder]:
    return [
        RowOrder(index.rows, kept_rows(index.hashes, index.faulty, fraction=spec.validation_fraction, part=spec.part),
                 seed=spec.seed, source=number, is_shuffled=spec.is_shuffled)
        for number, index in enumerate(indexes)
    ]


def _schedule(spec: StreamSpec, orders: list[RowOrder]) -> tuple[Schedule, tuple[int, ...]]:
    rows = tuple(order.size for order in orders)
    for source, size in zip(spec.sources, rows, strict=True):
        if size == 0:
            raise DataError(_no_rows(source, spec))
    if len(rows) == 1 or spec.part == "validation":
        return Passes(rows, batch_size=spec.batch_size, epochs=spec.epochs), rows
    return Mixed(rows, spec.mixture, batch_size=spec.batch_size, epochs=spec.epochs, exhaustion=spec.exhaustion), rows


def _plan(schedule: Schedule, rows: tuple[int, ...]) -> StreamPlan:
    return StreamPlan(rows, schedule.total_steps, schedule.epoch_ends)


def _no_rows(source: SourceSpec, spec: StreamSpec) -> str:
    if spec.part == "validation":
        return (f"source '{source.name}' has no row on the validation side of a split of {spec.validation_fraction:g}; "
                "ask for a larger share, or name a validation file")
    return f"source '{source.name}' has no good row to train on; register a file with at least one"
