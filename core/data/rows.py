"""From the number of a row to its value: a `RowRef` comes in, a `Row` goes out, read and checked anew.

The file may have changed since it was registered, so every row is checked again: its 16 bits of hash against the index,
then its form by the same rules. What does not hold is a `BadRow`, which names the file and the line.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

import xxhash

from core.data.index import DatasetIndex, RowFault, ShardIndex, parse_object
from core.data.shapes import RowShape, open_shape, unknown_shape
from core.data.sources import Shard, open_places, open_shard
from core.data.spec import Places, Row, RowRef, ShardSpec, SourceSpec
from core.errors import DataError

if TYPE_CHECKING:
    from core.data.shards import OpenPlaces


class BadRow(DataError):
    """A row that cannot be used: it breaks a rule, or it changed since it was registered."""

    def __init__(self, ref: RowRef, *, file: str, line: int, reason: str, code: str) -> None:
        super().__init__(f"{file}, line {line:,}: {reason}", code=code)
        self.ref = ref
        self.file = file
        self.line = line
        self.reason = reason


def open_index(spec: SourceSpec) -> DatasetIndex:
    """Map what was noted of a source's shards; raise DataError for an index that cannot be used."""
    return DatasetIndex.open(*(shard.index_path for shard in spec.shards))


def _shape_of(shard: ShardIndex) -> RowShape | None:
    """The shape that a shard's rows were checked by; None for a shard without a row that has any."""
    return open_shape(shard.report.shape) if shard.report.shape else None


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
            self._shards = tuple(tuple(self._opened(shard, spec.name) for shard in spec.shards) for spec in self._specs)
        except BaseException:
            self._open.close()
            raise

    def read(self, ref: RowRef) -> Row:
        """Read and check one row; raise BadRow when it cannot be used."""
        index = self.indexes[ref.source]
        shard, raw = self._bytes(ref)
        digest = xxhash.xxh3_64_intdigest(raw)
        if digest & 0xFFFF != index.hash(ref.row):
            raise self._bad(ref, "the row changed after the data set was registered; register it again", "row_changed")
        try:
            value, shape = parse_object(raw, index.shards[shard].report.layout), self._shapes[ref.source][shard]
            if shape is None:
                raise unknown_shape(value)
            return Row(ref, shape.canonical(value), digest)
        except RowFault as fault:
            raise self._bad(ref, fault.message, fault.code) from None

    def stored(self, ref: RowRef) -> dict[str, Any]:
        """Give the fields of a good row as its file has them."""
        shard, raw = self._bytes(ref)
        return parse_object(raw, self.indexes[ref.source].shards[shard].report.layout)

    def read_many(self, refs: Sequence[RowRef]) -> list[Row | BadRow]:
        """Read rows in the order asked for, with the BadRow itself in the place of one that cannot be used."""
        if self._places is not None:
            self._expect(refs)
        return [self._read_or_tell(ref) for ref in refs]

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

    def _opened(self, shard: ShardSpec, source: str) -> Shard:
        return self._open.enter_context(open_shard(shard, source=source, places=self._places))

    def _expect(self, refs: Sequence[RowRef]) -> None:
        """Have the remote ones fetched together: waiting for each in turn would cost a round trip a row."""
        for ref in refs:
            shard, start, end = self.indexes[ref.source].span(ref.row)
            expect = getattr(self._shards[ref.source][shard], "expect", None)
            if expect is not None:
                expect([(start, end)])

    def _bytes(self, ref: RowRef) -> tuple[int, bytes]:
        """A row's shard, and its bytes."""
        shard, start, end = self.indexes[ref.source].span(ref.row)
        return shard, self._shards[ref.source][shard].read(start, end)

    def _read_or_tell(self, ref: RowRef) -> Row | BadRow:
        try:
            return self.read(ref)
        except BadRow as bad:
            return bad

    def _bad(self, ref: RowRef, reason: str, code: str) -> BadRow:
        file, line = self.where(ref)
        return BadRow(ref, file=file, line=line, reason=reason, code=code)
