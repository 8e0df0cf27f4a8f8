"""Which rows the mixture log keeps out of a step: quarantined by an entry, and lifted by none since."""

from __future__ import annotations

from collections.abc import Iterable

from core.data.spec import MixtureEntry, RowRef


class Quarantines:
    """The turns of every row that was ever quarantined; what an entry says holds from its step until another says otherwise."""

    def __init__(self, log: Iterable[MixtureEntry]) -> None:
        self._turns: dict[RowRef, list[tuple[int, bool]]] = {}
        for entry in log:
            for rows, is_out in ((entry.quarantined, True), (entry.lifted, False)):
                for row in rows:
                    self._turns.setdefault(row, []).append((entry.from_step, is_out))

    def at(self, step: int, rows: Iterable[RowRef]) -> frozenset[RowRef]:
        """Those of the rows that a step does without."""
        return frozenset(row for row in rows if self._is_out(row, step)) if self._turns else frozenset()

    def _is_out(self, row: RowRef, step: int) -> bool:
        said = [is_out for from_step, is_out in self._turns.get(row, ()) if from_step <= step]
        return bool(said) and said[-1]
