"""The rows that a step is due → its Batch, with the position after it.

Each rank reads and tokenises all rows of the step and keeps its own share, slots rank, rank + ranks, …: so every rank knows
the tokens trained on in the whole step without asking another. The price is that reading and tokenising, which a GPU never
waits for, is done once a rank; a step of 32 rows of 500 tokens takes about 20 ms of one core.

A row that cannot be used, or that is quarantined, leaves a hole in its step, and nothing behind it moves; with `on_bad_row`
"fail" a row that is at fault stops the stream instead, with its file and line. Rows that the spec itself leaves out, for
their length or because nothing in them is trained on, are holes either way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from core.data.packing import pack
from core.data.proof import step_digest
from core.data.rows import BadRow, RowReader
from core.data.spec import Batch, Due, Example, Hole, MicroBatch, OnBadRow, Row, RowFormat, RowRef, SourceSpec
from core.data.stopwatch import Stopwatch
from core.data.templates import RowRefused, RowTemplate
from core.data.tokens import Encoded, RowEncoder, RowLeftOut
from core.errors import DataError


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
        self._watch = Stopwatch(reader, encoder)

    def batch(self, due: Due) -> Batch:
        """Read, tokenise and lay out a step; raises DataError when a row is at fault and that is to stop the stream."""
        self._watch.start()
        read = self._read(due.rows, due.quarantined)
        slots = self._encoded(read)
        mine = range(self._share.rank, len(slots), self._share.ranks)
        examples = {number: slot for number in mine if isinstance(slot := slots[number], Encoded)}
        return Batch(
            step=due.step, epoch=due.epoch, position=due.position,
            micro_batches=self._pack([*examples.values()]),
            rows=tuple(each.tokens.ref for each in examples.values()),
            trained_tokens=sum(slot.trained for slot in slots if isinstance(slot, Encoded)),
            holes=tuple(slot for number in mine if isinstance(slot := slots[number], Hole)),
            truncated=sum(each.is_truncated for each in examples.values()),
            spelled=sum(each.is_spelled for each in examples.values()),
            slots=tuple(examples), slot_count=len(slots),
            digest=step_digest((row.ref, row.digest) for row, slot in zip(read, slots, strict=True)
                               if isinstance(row, Row) and isinstance(slot, Encoded)),
            loading=self._watch.read(),
        )

    def _pack(self, examples: Sequence[Encoded]) -> tuple[MicroBatch, ...]:
        with self._watch.stage("laying"):
            return pack([each.tokens for each in examples], budget_tokens=self._share.micro_batch_tokens)

    def encode(self, rows: Sequence[RowRef]) -> list[Encoded | Hole]:
        """Read and tokenise rows, each in its place."""
        return self._encoded(self._read(rows, frozenset()))

    def _read(self, rows: Sequence[RowRef], quarantined: Set[RowRef]) -> list[Row | BadRow | Hole]:
        """Read what is not quarantined; what is, is a hole unread."""
        with self._watch.stage("reading"):
            if not quarantined:
                return list(self._reader.read_many(rows))
            read = iter(self._reader.read_many([ref for ref in rows if ref not in quarantined]))
            return [self._quarantined(ref) if ref in quarantined else next(read) for ref in rows]

    def _quarantined(self, ref: RowRef) -> Hole:
        file, line = self._reader.where(ref)
        return Hole(ref, line, "it is quarantined", file)

    def _encoded(self, rows: Sequence[Row | BadRow | Hole]) -> list[Encoded | Hole]:
        with self._watch.stage("rendering"):
            slots = [row if isinstance(row, Hole) else self._example(row) for row in rows]
        with self._watch.stage("tokenising"):
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
