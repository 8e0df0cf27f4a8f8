"""The rows that a step is due → what became of each: its examples, tokenised and fitted, or a hole.

This is where the work of a stream is done, and it is done once a step, whatever the number of ranks: what a rank gets of a
step is cut out of it afterwards (`batches`).

A row that cannot be used, or that is quarantined, leaves a hole in its step, and nothing behind it moves; with `on_bad_row`
"fail" a row that is at fault stops the stream instead, with its file and line. Rows that the spec itself leaves out, for
their length or because nothing in them is trained on, are holes either way. A row that is too long may become several examples
(`fitting`), all of them in its slot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace

from core.data.bad_rows import refusal
from core.data.fitting import Fitted, Fitter
from core.data.index import longest_rows
from core.data.proof import step_digest
from core.data.rows import BadRow, RowReader
from core.data.spec import Due, Example, Hole, HoleCause, Loading, OnBadRow, Row, RowFormat, RowRef, SourceSpec
from core.data.stopwatch import Stopwatch
from core.data.templates import RowRefused, RowTemplate
from core.data.tokens import Encoded, RowEncoder, RowLeftOut

LONGEST_BYTES = 8 << 20
"""Text that is tokenised, at most, to find the longest rows of a source."""


@dataclass(frozen=True, eq=False)
class Step:
    """A step over all ranks."""

    due: Due
    slots: tuple[Fitted | Hole, ...]
    """What became of each of `due.rows`, in their order."""
    digest: int
    """Of the rows that it is trained on, by their content (core/data/proof.py)."""
    loading: Loading
    warnings: tuple[str, ...] = ()
    """What the owner of the run should know of the stream from here on, in plain words."""

    @property
    def faults(self) -> list[Hole]:
        """The holes of rows that are at fault, in the order of the slots."""
        return [slot for slot in self.slots if isinstance(slot, Hole) and slot.cause == "fault"]


class StepMaker:
    def __init__(self, reader: RowReader, templates: Mapping[RowFormat, RowTemplate], encoder: RowEncoder, *,
                 sources: Sequence[SourceSpec], on_bad_row: OnBadRow) -> None:
        self._reader = reader
        self._templates = templates
        self._fitter = Fitter(encoder, templates)
        self._sources = sources
        self._on_bad_row = on_bad_row
        self._watch = Stopwatch(reader, encoder)

    def step(self, due: Due, *, warnings: tuple[str, ...] = ()) -> Step:
        """Read and tokenise a step; raises DataError when a row is at fault and that is to stop the stream."""
        self._watch.start()
        read = self._read(due.rows, due.quarantined)
        slots = self._encoded(read)
        digest = step_digest((row.ref, row.digest) for row, slot in zip(read, slots, strict=True)
                             if isinstance(row, Row) and isinstance(slot, Fitted))
        told = tuple(replace(slot, is_first=is_first) if isinstance(slot, Hole) else slot
                     for slot, is_first in zip(slots, due.firsts, strict=True))
        return Step(due, told, digest, self._watch.read(), warnings)

    def longest(self, count: int) -> list[Encoded]:
        """The examples of the `count` rows that are longest in bytes, the longest first; a row of no use is left out."""
        found = [RowRef(number, row) for number, index in enumerate(self._reader.indexes)
                 for row in longest_rows(index, count, most_bytes=LONGEST_BYTES)]
        slots = [slot for slot in self._encoded(self._read(found, frozenset())) if isinstance(slot, Fitted)]
        slots.sort(key=lambda slot: -sum(len(each.tokens.ids) for each in slot.examples))
        return [each for slot in slots[:count] for each in slot.examples]

    def _read(self, rows: Sequence[RowRef], quarantined: Set[RowRef]) -> list[Row | BadRow | Hole]:
        """Read what is not quarantined; what is, is a hole unread."""
        with self._watch.stage("reading"):
            if not quarantined:
                return list(self._reader.read_many(rows))
            read = iter(self._reader.read_many([ref for ref in rows if ref not in quarantined]))
            return [self._quarantined(ref) if ref in quarantined else next(read) for ref in rows]

    def _quarantined(self, ref: RowRef) -> Hole:
        file, line = self._reader.where(ref)
        return Hole(ref, line, "it is quarantined", file, "quarantined")

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
        """Raises DataError for a row at fault where none may be skipped."""
        file, line = self._reader.where(ref)
        hole = Hole(ref, line, error.reason, file, _cause(error))
        if hole.cause == "fault" and self._on_bad_row == "fail":
            raise refusal(hole, self._sources) from error
        return hole


def _cause(error: BadRow | RowRefused) -> HoleCause:
    if not isinstance(error, RowLeftOut):
        return "fault"
    return "overlong" if error.is_long else "untrained"
