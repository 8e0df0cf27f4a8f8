"""Every row of a file, checked and hashed: blocks come in, hashes and the numbers of faulty rows go out.

The first rows tell the shape; from then on its cheap test passes the ordinary rows and only the others take the way that
explains. Explaining has a bound: of each kind of fault the first `EXPLAINED` are put into words, later ones only counted, so
that a file of nothing but faults costs little more than a good one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import xxhash

from core.data.index.decoding import Layout, Parse, open_parser
from core.data.index.duplicates import DuplicateCount
from core.data.index.lines import MAX_ROW_BYTES, Block
from core.data.index.report import Fault
from core.data.index.rules import broken_row, code_of_broken, not_an_object, too_long
from core.data.shapes import MOST_TRIED, RowFault, RowShape, find_shape, unknown_shape

FAULTS_SHOWN = 100
EXPLAINED = 1000
HOPELESS_ROWS = 1_000_000
"""So many faulty rows, nearly all there are, end the pass: more of the same would teach nobody anything."""


class RowChecker:
    """Counts rows and faults over the blocks of one file. `candidates` are the shapes that its rows may have."""

    def __init__(self, candidates: Sequence[RowShape], layout: Layout, *, unit: str = "line") -> None:
        self.shape: RowShape | None = candidates[0] if len(candidates) == 1 else None
        self.layout: Layout = layout
        self.rows = 0
        self.faulty = 0
        self.faults: list[Fault] = []
        self.fault_counts: Counter[str] = Counter()
        self.duplicates = DuplicateCount()
        self._candidates = candidates
        self._named = candidates[0] if len({shape.name for shape in candidates}) == 1 else None
        self.header: tuple[str, ...] | None = None
        self._parse: Parse = open_parser(layout)
        self._unit = unit

    @property
    def is_hopeless(self) -> bool:
        return self.faulty >= HOPELESS_ROWS and self.faulty * 10 > self.rows * 9

    def take_header(self, header: tuple[str, ...]) -> None:
        """Say what the columns of the records are called."""
        self.header = header
        self._parse = open_parser(self.layout, header)

    def check(self, block: Block) -> tuple[np.ndarray, list[int]]:
        """Give the hash of each row of the block (uint64), and the numbers of its faulty rows."""
        if block.is_too_long:
            self._note(int(block.lines[0]), too_long(int(block.ends[0] - block.starts[0]), self.layout))
            self.rows += 1
            return np.zeros(1, np.uint64), [self.rows - 1]
        spans = list(zip((block.starts - block.base).tolist(), (block.ends - block.base).tolist(), strict=True))
        if self.shape is None:
            self.shape = self._find_shape(block, spans)
        hashed, faulty = self._sift(block, spans)
        hashes = np.array(hashed, np.uint64)
        self.duplicates.add(hashes)
        numbers = [self.rows + place for place in faulty]
        self.rows += len(hashed)
        return hashes, numbers

    def finish(self) -> None:
        """Note a fault of the file as a whole, when it has one."""
        if not self.rows:
            self._tell(0, RowFault("empty_file", "the file has no rows", "write one JSON object a line, and upload it again"))
        elif self.is_hopeless:
            self._tell(0, RowFault("too_many_faults", f"{self.faulty:,} of the first {self.rows:,} rows are faulty, so the "
                                   "rest was not read", "correct what the first faults name, and register the file again"))
        elif self.rows == self.faulty:
            self._tell(0, RowFault("no_good_row", f"none of the file's {self.rows:,} rows can be trained on", "correct them"))

    def _sift(self, block: Block, spans: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
        """Give the hashes, and the places in the block of the rows that are faulty."""
        parse, digest, buffer = self._parse, xxhash.xxh3_64_intdigest, block.buffer
        fits = self.shape.fits if self.shape else _never
        hashes: list[int] = []
        faulty: list[int] = []
        for start, end in spans:
            raw = buffer[start:end]
            hashes.append(digest(raw))
            if end - start <= MAX_ROW_BYTES:
                try:
                    value = parse(raw)
                except (ValueError, MemoryError) as error:
                    self._note_broken(int(block.lines[len(hashes) - 1]), bytes(raw), error)
                    faulty.append(len(hashes) - 1)
                    continue
                except RowFault as fault:
                    self._note(int(block.lines[len(hashes) - 1]), fault)
                    faulty.append(len(hashes) - 1)
                    continue
                if fits(value):
                    continue
                fault = self._fault_of(value)
            else:
                fault = too_long(end - start, self.layout)
            if fault:
                self._note(int(block.lines[len(hashes) - 1]), fault)
                faulty.append(len(hashes) - 1)
        return hashes, faulty

    def _fault_of(self, value: Any) -> RowFault | None:
        if not isinstance(value, dict):
            return not_an_object(value)
        shape = self.shape or self._named
        if shape is None:
            return unknown_shape(value)
        try:
            shape.read(value)
        except RowFault as fault:
            return fault
        return None

    def _find_shape(self, block: Block, spans: list[tuple[int, int]]) -> RowShape | None:
        """Look at the first rows of the block that have the fields of some shape."""
        rows: list[Any] = []
        for start, end in spans:
            try:
                value = self._parse(bytes(block.buffer[start:end])) if end - start <= MAX_ROW_BYTES else None
            except (ValueError, MemoryError, RowFault):
                continue
            if isinstance(value, dict) and any(shape.has_fields(value) for shape in self._candidates):
                rows.append(value)
                if len(rows) == MOST_TRIED:
                    break
        return find_shape(rows, self._candidates)

    def _note_broken(self, line: int, raw: bytes, error: ValueError | MemoryError) -> None:
        """Note a row that could not be parsed; when many have been, its kind alone."""
        code = code_of_broken(raw, error)
        if self.fault_counts[code] < EXPLAINED:
            return self._note(line, broken_row(raw, error))
        self.faulty += 1
        self.fault_counts[code] += 1
        return None

    def _note(self, line: int, fault: RowFault) -> None:
        self.faulty += 1
        self._tell(line + 1, fault)

    def _tell(self, line: int, fault: RowFault) -> None:
        self.fault_counts[fault.code] += 1
        if len(self.faults) < FAULTS_SHOWN or not line:
            where = f"{self._unit} {line:,}: " if line else ""
            self.faults.append(Fault(line, fault.code, f"{where}{fault.message}", fault.reason, fault.remedy))


def _never(_row: object) -> bool:
    return False
