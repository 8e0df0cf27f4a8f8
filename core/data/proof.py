"""Which rows a step was trained on, as a number that can be checked later.

A step's digest is the xxh3-64 of 20 bytes for each row trained on, in the order of its slots: the number of its source (4
bytes, little-endian), the number of the row (8 bytes) and the xxh3-64 of the row's own bytes (8 bytes). It is made where the
rows are read for training; whoever recomputes which rows a step was due, and reads them again, gets the same number only from
the same rows with the same content. The order of a run is chained: from 0, the xxh3-64 of the digest so far and that of the
next step, 8 bytes each.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

import xxhash

from core.data.spec import RowRef

_ROW = struct.Struct("<IQQ")
_LINK = struct.Struct("<QQ")


def step_digest(rows: Iterable[tuple[RowRef, int]]) -> int:
    """Digest the rows of a step, each with the xxh3-64 of its bytes, in the order of their slots."""
    return xxhash.xxh3_64_intdigest(b"".join([_ROW.pack(ref.source, ref.row, content) for ref, content in rows]))


def chained(before: int, digest: int) -> int:
    """Digest an order of steps with one more."""
    return xxhash.xxh3_64_intdigest(_LINK.pack(before, digest))
