"""Two sources whose weights change on the way: the part of a row that one is owed at the change is not forgotten.

Let one of the two be owed r of a row at the change, 0 <= r < 1, and have the share w from there on. It has then drawn
floor(n w + r) rows in n slots, the other one the rest. Counted from the change it is less than a row from n w, and counted
over all weights that held before, less than a row from n w + r. (Of three sources and more no order keeps both promises, so
theirs is counted from each change.) Any slot is a formula, so a jump costs nothing.
"""

from __future__ import annotations

from fractions import Fraction

from core.data.mixture.turns import Turn


class Pair:
    """Slots of one turn, counted from 0. `owed` is what `source` is owed of a row when the turn begins."""

    def __init__(self, turn: Turn, *, source: int, owed: Fraction) -> None:
        self._width = len(turn.shares)
        self._source = source
        self._other = next(number for number in turn.drawn if number != source)
        share = Fraction(turn.shares[source], sum(turn.shares))
        self._whole = share.denominator * owed.denominator
        self._share, self._owed = int(share * self._whole), int(owed * self._whole)

    def drawn(self, slot: int) -> tuple[int, ...]:
        """Count the rows of each source in the slots before this one."""
        counts = [0] * self._width
        counts[self._source] = self._mine(slot)
        counts[self._other] = slot - counts[self._source]
        return tuple(counts)

    def slots(self, slot: int, count: int) -> list[int]:
        """Give the sources of `count` slots from this one on."""
        mine = [self._mine(n) for n in range(slot, slot + count + 1)]
        return [self._source if mine[n + 1] > mine[n] else self._other for n in range(count)]

    def _mine(self, slot: int) -> int:
        return (slot * self._share + self._owed) // self._whole


def owed_of(turn: Turn, slots: int, drawn: tuple[int, ...], before: Fraction, source: int) -> Fraction:
    """What a source is owed after `slots` of a turn, in which it drew `drawn`, when it was owed `before` at its start."""
    return before + Fraction(slots * turn.shares[source], sum(turn.shares)) - drawn[source]
