"""The rows that a step is due → its Batch, with the position after it.

Each rank reads and tokenises all rows of the step and keeps its own share, slots rank, rank + ranks, …: so every rank knows
the tokens trained on in the whole step without asking another. The price is that reading and tokenising, which a GPU never
waits for, is done once a rank; a step of 32 rows of 500 tokens takes about 20 ms of one core.

A row that cannot be used leaves a hole in its step, and nothing behind it moves; with `on_bad_row` "fail" a row that is at
fault stops the stream instead, with its file and line. Rows that the spec itself leaves out, for their length or because
nothing in them is trained on, are holes either way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from core.data.packing import pack
from core.data.rows import BadRow, RowReader
from core.data.spec import Batch, Example, Hole, OnBadRow, Position, Row, RowFormat, RowRef, SourceSpec
from core.data.templates import RowRefused, RowTemplate
from core.data.tokens import Encoded, RowEncoder, RowLeftOut
from core.errors import DataError


@dataclass(frozen=True)
class Due:
    """What a step is to hold, over all ranks."""

    step: int
    epoch: float
    rows: tuple[RowRef, ...]
    position: Position


@dataclass(frozen=True)
class Share:
    """Which part of each step is this rank's, and how it is laid out."""

    rank: int
    ranks: int
    micro_batch_tokens: int


class BatchMaker:
    def __init__(self, reader: RowReader, templates: Mapping[RowFormat, RowTemplate], encoder: RowEncoder, *,
                 sources: Sequence[SourceSpec], on_bad_row: OnBadRow, share: Share) -> None:
        self._reader = reader
        self._templates = templates
        self._encoder = encoder
        self._sources = sources
        self._on_bad_row = on_bad_row
        self._share = share

    def batch(self, due: Due) -> Batch:
        """Read, tokenise and lay out a step; raises DataError when a row is at fault and that is to stop the stream."""
        slots = self.encode(due.rows)
        mine = slots[self._share.rank::self._share.ranks]
        examples = [slot for slot in mine if isinstance(slot, Encoded)]
        return Batch(
            step=due.step, epoch=due.epoch, position=due.position,
            micro_batches=pack([each.tokens for each in examples], budget_tokens=self._share.micro_batch_tokens),
            rows=tuple(each.tokens.ref for each in examples),
            trained_tokens=sum(slot.trained for slot in slots if isinstance(slot, Encoded)),
            holes=tuple(slot for slot in mine if isinstance(slot, Hole)),
            truncated=sum(each.is_truncated for each in examples),
        )

    def encode(self, rows: Sequence[RowRef]) -> list[Encoded | Hole]:
        """Read and tokenise rows, each in its place."""
        slots: list[Example | Hole] = [self._example(row) for row in self._reader.read_many(rows)]
        encoded = iter(self._encoder.encode([slot for slot in slots if isinstance(slot, Example)]))
        return [slot if isinstance(slot, Hole) else self._told(slot.ref, next(encoded)) for slot in slots]

    def _example(self, row: Row | BadRow) -> Example | Hole:
        if isinstance(row, BadRow):
            return self._hole(row.ref, row)
        try:
            return self._templates[self._sources[row.ref.source].format].example(row)
        except RowRefused as refused:
            return self._hole(row.ref, refused)

    def _told(self, ref: RowRef, encoded: Encoded | RowRefused) -> Encoded | Hole:
        return self._hole(ref, encoded) if isinstance(encoded, RowRefused) else encoded

    def _hole(self, ref: RowRef, error: BadRow | RowRefused) -> Hole:
        file, line = self._reader.where(ref)
        hole = Hole(ref, line, error.reason, file)
        if self._on_bad_row == "fail" and not isinstance(error, RowLeftOut):
            source = self._sources[ref.source]
            place = f"source '{source.name}'" + (f", file '{file}'," if file != source.name else "")
            raise DataError(f"line {line:,} of {place} cannot be trained on: {hole.reason}; correct the "
                            "row and register the data again, or submit with on_bad_row 'skip'") from error
        return hole
