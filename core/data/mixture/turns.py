"""The mixture log → the stretches of steps over which the same weights hold.

An entry that only takes rows out, or adds a source that is not drawn yet, opens no new turn, and so moves nothing: the
slots go on as if it were not there. Of several entries from one step the last one holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from core.data.mixture.shares import whole_shares
from core.data.spec import MixtureEntry
from core.errors import DataError


@dataclass(frozen=True)
class Turn:
    from_step: int
    shares: tuple[int, ...]
    """Whole shares, one a source; a source that came later than the entry has 0."""

    @property
    def drawn(self) -> tuple[int, ...]:
        """The numbers of the sources that have a share."""
        return tuple(number for number, share in enumerate(self.shares) if share)


def turns_of(log: Sequence[MixtureEntry], *, sources: int | None = None) -> list[Turn]:
    """Give the turns of a log from step 1 on; raise DataError for one out of order, or whose weights make no mixture."""
    check_log(log)
    width = max(len(entry.weights) for entry in log) if sources is None else sources
    turns: list[Turn] = []
    for entry in log:
        shares = whole_shares((*entry.weights, *(0.0,) * (width - len(entry.weights))))
        if turns and turns[-1].from_step == entry.from_step:
            turns.pop()
        if not turns or turns[-1].shares != shares:
            turns.append(Turn(entry.from_step, shares))
    return turns


def check_log(log: Sequence[MixtureEntry]) -> None:
    """Raise DataError for a log that is empty, out of order, or forgets a source."""
    if not log:
        raise DataError("the mixture log is empty; its first entry must hold from step 1")
    if log[0].from_step != 1:
        raise DataError(f"the mixture's first entry holds from step {log[0].from_step}; it must hold from step 1")
    for before, after in pairwise(log):
        if after.from_step < before.from_step:
            raise DataError(
                f"a mixture entry from step {after.from_step} follows one from step {before.from_step}; "
                "no entry may hold from an earlier step than the one before it"
            )
        if len(after.weights) < len(before.weights):
            raise DataError(
                f"the mixture entry from step {after.from_step} has {len(after.weights)} weights after one of "
                f"{len(before.weights)}; give one weight for each source, 0 for one that is left out"
            )
