"""Which source each slot goes to, for weights that do not change: exact proportions, and any slot without its forerunners.

The rule is that of proportionate fair scheduling (S. Baruah, N. Cohen, C. Plaxton and D. Varvel, "Proportionate Progress",
Algorithmica 1996; the same problem is R. Tijdeman's chairman assignment, 1980). A source with share w is owed its j-th row
within the slots from floor((j - 1) / w) to ceil(j / w) - 1; each slot goes to the row that is open and whose window closes
first, the lower source number first among equals. Serving every row in its window is the same as: after n slots a source
has drawn floor(n w) or ceil(n w) rows. It can be done, since giving every slot in fractions w does it, and for rows of one
slot with whole windows, the earliest deadline first finds a way wherever there is one. No slot stays empty, since
after n slots sum(ceil(n w)) >= n rows have opened.

A jump to slot t needs no replay. Rows that have closed by t are drawn; each source has at most one row that is open at t,
its candidate. To the rows that close no later than a candidate, the others are as good as absent, so those that are drawn
before t are what a queue with one server has let through:

    min over s <= t of  (rows of the class opened before s) + t - s

where the rows opened before s are sum(ceil(s w)) less the later candidates opened before s. For an s before the opening
of all candidates the sum is at least s, so only the s from there to t need be looked at: at most 1 / (least share) of them.
A jump costs that many vectorised steps for each source; going on from slot to slot costs O(sources).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from core.data.mixture.shares import whole_shares

_SLOTS_AT_ONCE = 1 << 16


class Schedule:
    """Slots of one mixture entry, counted from 0; repeats after `period` slots."""

    def __init__(self, weights: Sequence[float]) -> None:
        """Raise DataError for weights that do not make a mixture."""
        self._shares = whole_shares(weights)
        self.period = sum(self._shares)
        self._drawn = [i for i, share in enumerate(self._shares) if share]
        self._last = (0, [0] * len(self._shares))
        """Where the last call ended and what was drawn before it: only a shortcut for calls in order."""

    def drawn(self, slot: int) -> tuple[int, ...]:
        """Count the rows of each source in the slots before this one."""
        if self._last[0] == slot:
            return tuple(self._last[1])
        whole, inside = divmod(slot, self.period)
        counts = self._drawn_within(inside)
        return tuple(whole * share + count for share, count in zip(self._shares, counts, strict=True))

    def slots(self, slot: int, count: int) -> list[int]:
        """Give the sources of `count` slots from this one on."""
        counts = list(self.drawn(slot))
        sources = list(self._serve(slot, count, counts))
        self._last = (slot + count, counts)
        return sources

    def _serve(self, slot: int, count: int, counts: list[int]) -> Iterator[int]:
        """Give each slot to the open row that closes first, and count it."""
        opens = {i: self._opens(i, counts[i]) for i in self._drawn}
        closes = {i: self._closes(i, counts[i]) for i in self._drawn}
        for now in range(slot, slot + count):
            source = min((closes[i], i) for i in self._drawn if opens[i] <= now)[1]
            counts[source] += 1
            opens[source] = self._opens(source, counts[source])
            closes[source] = self._closes(source, counts[source])
            yield source

    def _opens(self, source: int, row: int) -> int:
        return row * self.period // self._shares[source]

    def _closes(self, source: int, row: int) -> int:
        return -(-(row + 1) * self.period // self._shares[source])

    def _drawn_within(self, slot: int) -> list[int]:
        """Count the rows of each source before a slot of the first period, without its forerunners."""
        counts = [slot * share // self.period for share in self._shares]
        open_now = [i for i in self._drawn if slot * self._shares[i] % self.period]
        if not open_now:
            return counts
        opened = {i: self._opens(i, counts[i]) for i in open_now}
        edges = sorted(set(opened.values()))
        least = [self._least_ahead(a, b) for a, b in zip(edges, [*edges[1:], slot], strict=True)]
        by_close = sorted(open_now, key=lambda i: (self._closes(i, counts[i]), i))
        through = sum(counts)
        for place, source in enumerate(by_close):
            later = sorted(opened[i] for i in by_close[place + 1 :])
            waits = (ahead - sum(o <= edge for o in later) for edge, ahead in zip(edges, least, strict=True))
            through_now = slot + min(0, *waits)
            counts[source] += through_now - through
            through = through_now
        return counts

    def _least_ahead(self, after: int, upto: int) -> int:
        """Find the least of sum(ceil(s w)) - s over after < s <= upto."""
        least = math.inf
        for start in range(after + 1, upto + 1, _SLOTS_AT_ONCE):
            slots = np.arange(start, min(start + _SLOTS_AT_ONCE, upto + 1), dtype=np.int64)
            ahead = -slots
            for source in self._drawn:
                ahead -= -slots * self._shares[source] // self.period
            least = min(least, int(ahead.min()))
        return int(least)
