"""The rows that a step is due → its Batch, with the position after it.

Each rank reads and tokenises all rows of the step and keeps its own share, slots rank, rank + ranks, …: so every rank knows
the tokens of the whole step, and what it trains on, without asking another. The price is that reading and tokenising, which a
GPU never waits for, is done once a rank; a step of 32 rows of 500 tokens takes about 20 ms of one core.

A row that cannot be used, or that is quarantined, leaves a hole in its step, and nothing behind it moves; with `on_bad_row`
"fail" a row that is at fault stops the stream instead, with its file and line. Rows that the spec itself leaves out, for
their length or because nothing in them is trained on, are holes either way. A row that is too long may become several examples
(`fitting`), all of them in its slot.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

from core.data.fitting import Fitted, Fitter
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
                 sources: Sequence[SourceSpec], on_bad_row: OnBadRow, share: Share, max_bad_rows: int | None = None) -> None:
        self._reader = reader
        self._templates = templates
        self._fitter = Fitter(encoder, templates)
        self._sources = sources
        self._on_bad_row = on_bad_row
        self._bad_rows = BadRows(max_bad_rows)
        self._share = share
        self._watch = Stopwatch(reader, encoder)

    def batch(self, due: Due) -> Batch:
        """Read, tokenise and lay out a step; raises DataError when a row is at fault and that is to stop the stream."""
        self._watch.start()
        read = self._read(due.rows, due.quarantined)
        slots = self._encoded(read)
        mine = range(self._share.rank, len(slots), self._share.ranks)
        examples = [(number, each) for number in mine if isinstance(slot := slots[number], Fitted) for each in slot.examples]
        whole = [each for slot in slots if isinstance(slot, Fitted) for each in slot.examples]
        return Batch(
            step=due.step, epoch=due.epoch, position=due.position,
            micro_batches=self._pack([each for _, each in examples]),
            rows=tuple(each.tokens.ref for _, each in examples),
            trained_tokens=sum(slot.trained for slot in slots if isinstance(slot, Fitted)),
            holes=tuple(slot for number in mine if isinstance(slot := slots[number], Hole)),
            truncated=sum(each.is_truncated for each in whole),
            spelled=sum(each.is_spelled for each in whole),
            overlong=_counted(slots),
            slots=tuple(number for number, _ in examples), slot_count=len(slots), counts=tuple(map(_counts, slots)),
            digest=step_digest((row.ref, row.digest) for row, slot in zip(read, slots, strict=True)
                               if isinstance(row, Row) and isinstance(slot, Fitted)),
            loading=self._watch.read(),
        )

    def _pack(self, examples: Sequence[Encoded]) -> tuple[MicroBatch, ...]:
        with self._watch.stage("laying"):
            return pack([each.tokens for each in examples], budget_tokens=self._share.micro_batch_tokens)

    def encode(self, rows: Sequence[RowRef]) -> list[Fitted | Hole]:
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

    def _encoded(self, rows: Sequence[Row | BadRow | Hole]) -> list[Fitted | Hole]:
        with self._watch.stage("rendering"):
            slots = [row if isinstance(row, Hole) else self._example(row) for row in rows]
        whole: list[tuple[Row, RowFormat, Example]] = [
            (row, self._sources[row.ref.source].format, slot) for row, slot in zip(rows, slots, strict=True)
            if isinstance(row, Row) and isinstance(slot, Example)]
        with self._watch.stage("tokenising"):
            fitted = iter(self._fitter.fit(whole))
        return [slot if isinstance(slot, Hole) else self._told(slot.ref, next(fitted)) for slot in slots]

    def _example(self, row: Row | BadRow) -> Example | Hole:
        if isinstance(row, BadRow):
            return self._hole(row.ref, row)
        try:
            return self._templates[self._sources[row.ref.source].format].example(row)
        except RowRefused as refused:
            return self._hole(row.ref, refused)

    def _told(self, ref: RowRef, encoded: Fitted | RowRefused) -> Fitted | Hole:
        return self._hole(ref, encoded) if isinstance(encoded, RowRefused) else encoded

    def _hole(self, ref: RowRef, error: BadRow | RowRefused) -> Hole:
        file, line = self._reader.where(ref)
        is_sound = isinstance(error, RowLeftOut)
        hole = Hole(ref, line, error.reason, file, is_sound and error.is_long)
        if not is_sound:
            self._check_bad(hole, error)
        return hole

    def _check_bad(self, hole: Hole, error: BadRow | RowRefused) -> None:
        """Raise DataError for a row at fault where none may be skipped, or where it is one too many."""
        source = self._sources[hole.ref.source]
        place = f"source '{source.name}'" + (f", file '{hole.file}'," if hole.file != source.name else "")
        if self._on_bad_row == "fail":
            raise DataError(f"line {hole.line:,} of {place} cannot be trained on: {hole.reason}; correct the "
                            "row and register the data again, or submit with on_bad_row 'skip'") from error
        if not self._bad_rows.allow(hole.ref):
            raise DataError(f"more rows than the {self._bad_rows.most:,} that may be skipped cannot be trained on; the last "
                            f"one is line {hole.line:,} of {place}: {hole.reason}; correct the rows and register the data "
                            "again, or raise options.max_bad_rows", code="too_many_bad_rows") from error


class BadRows:
    """The rows at fault that this process has skipped, each counted once, up to the limit."""

    def __init__(self, most: int | None) -> None:
        self.most = most or 0
        self._is_limited = most is not None
        self._seen: set[RowRef] = set()

    def allow(self, ref: RowRef) -> bool:
        if self._is_limited:
            self._seen.add(ref)
        return len(self._seen) <= self.most or not self._is_limited


def _counted(slots: Iterable[Fitted | Hole]) -> dict[str, int]:
    """How many rows were too long, by what was done with them."""
    done = [slot.overlong if isinstance(slot, Fitted) else "drop" if slot.is_overlong else None for slot in slots]
    return dict(Counter(how for how in done if how is not None))


def _counts(slot: Fitted | Hole) -> tuple[int, int, int, int]:
    if isinstance(slot, Hole):
        return slot.ref.source, 0, 0, 0
    examples = slot.examples
    return examples[0].tokens.ref.source, len(examples), sum(len(each.tokens.ids) for each in examples), slot.trained
