"""Changes, as they were asked → the mixture log, as a stream reads it.

A change tells what becomes different; an entry of the log tells all that holds. Changes are laid over each other in the order
of their steps, at one step in that of their numbers. What was asked later has the last word: a source that was dropped or
quarantined stays out also where a schedule from the submit gives it a weight further on, until a change asked after that gives
it one again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.data.spec import MixtureEntry, RowRef


@dataclass(frozen=True)
class Asked:
    """What becomes different. Sources are told by their numbers, which never change."""

    weights: dict[int, float] = field(default_factory=dict)
    added: tuple[int, ...] = ()
    dropped: tuple[int, ...] = ()
    quarantined: tuple[int, ...] = ()
    rows: tuple[RowRef, ...] = ()
    """Rows that are trained on no more."""
    lifted: tuple[RowRef, ...] = ()
    """Quarantined rows that are trained on again."""
    reason: str | None = None

    @property
    def out(self) -> tuple[int, ...]:
        return (*self.dropped, *self.quarantined)

    def to_json(self) -> dict[str, Any]:
        return {"weights": {str(source): weight for source, weight in self.weights.items()}, "added": list(self.added),
                "dropped": list(self.dropped), "quarantined": list(self.quarantined),
                "rows": [[row.source, row.row] for row in self.rows],
                "lifted": [[row.source, row.row] for row in self.lifted], "reason": self.reason}

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Asked:
        return cls({int(source): weight for source, weight in told["weights"].items()}, tuple(told["added"]),
                   tuple(told["dropped"]), tuple(told["quarantined"]), tuple(RowRef(*row) for row in told["rows"]),
                   tuple(RowRef(*row) for row in told.get("lifted", ())), told["reason"])


@dataclass(frozen=True)
class Change:
    number: int
    from_step: int
    asked: Asked


@dataclass(frozen=True)
class Standing:
    """How things stand behind a change."""

    entry: MixtureEntry
    out: dict[int, str]
    """Sources that are out: dropped or quarantined."""


def fold(first: Sequence[float], changes: Iterable[Change]) -> list[Standing]:
    """Lay changes over the weights of the submit: what holds from step 1, and behind each change."""
    weights = list(map(float, first))
    out: dict[int, tuple[int, str]] = {}
    standings = [Standing(MixtureEntry(1, tuple(weights)), {})]
    for change in sorted(changes, key=lambda each: (each.from_step, each.number)):
        for source in change.asked.out:
            out[source] = change.number, "dropped" if source in change.asked.dropped else "quarantined"
        for source, weight in change.asked.weights.items():
            weights += [0.0] * (source + 1 - len(weights))
            if change.number > out.get(source, (0, ""))[0]:
                weights[source] = float(weight)
                out.pop(source, None)
        for source in out.keys() & range(len(weights)):
            weights[source] = 0.0
        entry = MixtureEntry(change.from_step, tuple(weights), change.asked.rows, change.asked.lifted)
        standings.append(Standing(entry, {source: how for source, (_, how) in out.items()}))
    return standings


def entries(first: Sequence[float], changes: Iterable[Change]) -> tuple[MixtureEntry, ...]:
    return tuple(standing.entry for standing in fold(first, changes))
