"""Which rows of a stream's sources are marked, at one bit a row up to the highest of each source: a value that never changes.

It crosses to other processes and into checkpoints as JSON, deflated; a few marked rows of a large source take a few bytes.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Mapping

from core.data.spec import RowRef


class RowSet:
    """Rows, each in there once; `len` counts them."""

    def __init__(self, bits: Mapping[int, bytes] | None = None, *, size: int | None = None) -> None:
        """Take the bits of each source by its number: row r is bit r % 8 of byte r // 8. `size` is how many are set, where that
        is known; counting them takes longer than a copy."""
        self._bits = dict(bits or {})
        self._size = sum(int.from_bytes(each).bit_count() for each in self._bits.values()) if size is None else size

    def __contains__(self, ref: object) -> bool:
        if not isinstance(ref, RowRef):
            return False
        bits = self._bits.get(ref.source, b"")
        return ref.row // 8 < len(bits) and bool(bits[ref.row // 8] >> ref.row % 8 & 1)

    def __len__(self) -> int:
        return self._size

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RowSet) and self._bits == other._bits

    def __hash__(self) -> int:
        return hash(tuple(sorted(self._bits.items())))

    def new_among(self, refs: Iterable[RowRef]) -> list[RowRef]:
        """Give the rows that are not marked yet, each once, in their order."""
        return [ref for ref in dict.fromkeys(refs) if ref not in self]

    def with_rows(self, refs: Iterable[RowRef]) -> RowSet:
        """Give a set that has these rows too; costs a copy of the sources that change."""
        new = self.new_among(refs)
        if not new:
            return self
        grown = {source: _grown(self._bits.get(source, b""), [ref.row for ref in new if ref.source == source])
                 for source in {ref.source for ref in new}}
        return RowSet(self._bits | grown, size=len(self) + len(new))

    def to_json(self) -> dict[str, str]:
        return {str(source): base64.b64encode(zlib.compress(bits)).decode() for source, bits in sorted(self._bits.items())}

    @classmethod
    def from_json(cls, told: Mapping[str, str]) -> RowSet:
        return cls({int(source): zlib.decompress(base64.b64decode(bits)) for source, bits in told.items()})


def _grown(bits: bytes, rows: list[int]) -> bytes:
    grown = bytearray(bits)
    grown.extend(bytes(max(0, max(rows) // 8 + 1 - len(bits))))
    for row in rows:
        grown[row // 8] |= 1 << row % 8
    return bytes(grown)
