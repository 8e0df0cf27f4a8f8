"""From the number of a row to its value: a `RowRef` comes in, a `Row` goes out, read and checked anew.

The file may have changed since it was registered, so every row is checked again: its 16 bits of hash against the index,
then its form by the same rules. What does not hold is a `BadRow`, which names the file and the line.
"""

from __future__ import annotations

import itertools
import time
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import xxhash

from core.data.index import DatasetIndex, RowFault, ShardIndex, parse_object
from core.data.shapes import RowShape, open_shape, unknown_shape
from core.data.sources import ParquetRows, Shard, open_places, open_rows
from core.data.spec import Places, Row, RowRef, SourceSpec
from core.errors import DataError

if TYPE_CHECKING:
    from core.data.shards import OpenPlaces

MOST_OPEN = 512
"""Shards that are held open at a time."""


class BadRow(DataError):
    """A row that cannot be used: it breaks a rule, or it changed since it was registered."""

    def __init__(self, ref: RowRef, *, file: str, line: int, reason: str, code: str, unit: str = "line") -> None:
        super().__init__(f"{file}, {unit} {line:,}: {reason}", code=code)
        self.ref = ref
        self.file = file
        self.line = line
        self.reason = reason


class _Place(NamedTuple):
    """Where a row lies, in the order in which rows are read."""

    source: int
    shard: int
    start: int
    end: int
    number: int
    asked: int
    """Its place among the rows that were asked for."""
    noted: int
    """16 bits of its hash when it was registered."""


class _Stored(NamedTuple):
    shard: int
    raw: bytes
    noted: int


_NOTHING = _Stored(0, b"", 0)


def open_index(spec: SourceSpec) -> DatasetIndex:
    """Map what was noted of a source's shards; raise DataError for an index that cannot be used."""
    return DatasetIndex.open(*(shard.index_path for shard in spec.shards))


class RowReader:
    """Holds the sources of a stream and their indexes open. `places` are those that shards lie in, if any do."""

    def __init__(self, sources: Sequence[SourceSpec], places: Places | None = None) -> None:
        self._specs = tuple(sources)
        self.parsing_seconds = 0.0
        """Spent on parsing and checking rows, of all that `read_many` took."""
        self.place = next((shard.place for spec in self._specs for shard in spec.shards if shard.place), "")
        """A place that rows lie in, where not all of them are on a local disk."""
        self._open = ExitStack()
        self._places: OpenPlaces | None = None
        try:
            self.indexes = tuple(open_index(spec) for spec in self._specs)
            self._shapes = tuple(tuple(map(_shape_of, index.shards)) for index in self.indexes)
            if any(shard.place is not None for spec in self._specs for shard in spec.shards):
                self._places = self._open.enter_context(open_places(places or Places()))
            self._shelf = self._open.enter_context(_Shelf(self._specs, self._places))
        except BaseException:
            self._open.close()
            raise

    def read(self, ref: RowRef) -> Row:
        """Read and check one row; raise BadRow when it cannot be used."""
        (row,) = self.read_many([ref])
        if isinstance(row, BadRow):
            raise row
        return row

    def stored(self, ref: RowRef) -> dict[str, Any]:
        """Give the fields of a good row as its file has them."""
        (stored,) = self._stored([ref])
        report = self.indexes[ref.source].shards[stored.shard].report
        return parse_object(stored.raw, report.layout, report.header)

    def read_many(self, refs: Sequence[RowRef]) -> list[Row | BadRow]:
        """Read rows in the order asked for, with the BadRow itself in the place of one that cannot be used."""
        stored = self._stored(refs)
        started = time.perf_counter()
        rows = [self._read_or_tell(ref, each) for ref, each in zip(refs, stored, strict=True)]
        self.parsing_seconds += time.perf_counter() - started
        return rows

    def size(self, ref: RowRef) -> int:
        """Tell how many bytes a row has, without reading it where that can be known."""
        shard, number = self.indexes[ref.source].place(ref.row)
        index = self.indexes[ref.source].shards[shard]
        if not index.has_offsets:
            return len(self._stored([ref])[0].raw)
        start, end = index.span(number)
        return end - start

    def where(self, ref: RowRef) -> tuple[str, int]:
        """Name the file that a row lies in, and its line in there, counted from 1."""
        spec = self._specs[ref.source]
        shard, line = self.indexes[ref.source].line(ref.row)
        return spec.shards[shard].name or spec.name, line

    def close(self) -> None:
        """Let go of the files; safe to call twice."""
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def _stored(self, refs: Sequence[RowRef]) -> list[_Stored]:
        """The bytes of rows, read in the order in which they lie."""
        found: list[_Place] = []
        for source in {ref.source for ref in refs}:
            asked = [k for k, ref in enumerate(refs) if ref.source == source]
            of = self.indexes[source].find(np.array([refs[k].row for k in asked], np.int64))
            found += map(_Place, itertools.repeat(source), of.shards, of.starts, of.ends, of.numbers, asked, of.hashes)
        found.sort()
        if self._places is not None:
            self._expect(found)
        stored = [_NOTHING] * len(refs)
        for source, number, start, end, row, place, noted in found:
            shard = self._shelf.take(source, number)
            raw = shard.row(row) if isinstance(shard, ParquetRows) else shard.read(start, end)
            stored[place] = _Stored(number, raw, noted)
        return stored

    def _expect(self, found: Sequence[_Place]) -> None:
        """Have the remote ones fetched together: waiting for each in turn would cost a round trip a row."""
        for place in found:
            expect = getattr(self._shelf.take(place.source, place.shard), "expect", None)
            if expect is not None:
                expect([(place.start, place.end)])

    def _read_or_tell(self, ref: RowRef, stored: _Stored) -> Row | BadRow:
        shard, raw, noted = stored
        digest = xxhash.xxh3_64_intdigest(raw)
        if digest & 0xFFFF != noted:
            return self._bad(ref, "the row changed after the data set was registered; register it again", "row_changed")
        report, shape = self.indexes[ref.source].shards[shard].report, self._shapes[ref.source][shard]
        try:
            value = parse_object(raw, report.layout, report.header)
            if shape is None:
                raise unknown_shape(value)
            return Row(ref, shape.canonical(value), digest)
        except RowFault as fault:
            return self._bad(ref, fault.message, fault.code)

    def _bad(self, ref: RowRef, reason: str, code: str) -> BadRow:
        file, line = self.where(ref)
        unit = self.indexes[ref.source].shards[self.indexes[ref.source].place(ref.row)[0]].report.unit
        return BadRow(ref, file=file, line=line, reason=reason, code=code, unit=unit)


class _Shelf:
    """The shards that are open: all of them, or where there are very many those that were read last."""

    def __init__(self, specs: Sequence[SourceSpec], places: OpenPlaces | None) -> None:
        self._specs, self._places = specs, places
        self._open: OrderedDict[tuple[int, int], Shard | ParquetRows] = OrderedDict()
        try:
            for source, spec in enumerate(specs):
                for number in range(len(spec.shards)):
                    if len(self._open) < MOST_OPEN:
                        self.take(source, number)
        except BaseException:
            self.close()
            raise

    def take(self, source: int, number: int) -> Shard | ParquetRows:
        found = self._open.get((source, number))
        if found is None:
            spec = self._specs[source]
            found = self._open[source, number] = open_rows(spec.shards[number], source=spec.name, places=self._places)
            if len(self._open) > MOST_OPEN:
                self._open.popitem(last=False)[1].close()
        elif len(self._open) == MOST_OPEN:
            self._open.move_to_end((source, number))
        return found

    def close(self) -> None:
        while self._open:
            self._open.popitem()[1].close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()


def _shape_of(shard: ShardIndex) -> RowShape | None:
    """The shape that a shard's rows were checked by; None for a shard without a row that has any."""
    return open_shape(shard.report.shape) if shard.report.shape else None
