"""What a process that loads is asked for: told as JSON on its standard input, keys of places included."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import orjson

from core.data.row_set import RowSet
from core.data.spec import Places, Position, Share, StreamSpec, Turn

MOST_PROCESSES = 8


@dataclass(frozen=True)
class Asked:
    stream: StreamSpec
    position: Position | None
    """Where to go on from; None for the start."""
    byte_budget: int
    """Bytes that may wait to be taken; one step always may. Processes that make steps in turn may keep half as many beside."""
    places: Places
    ranks: int = 1
    """Ranks that the steps are shared out to, one channel each. With one, it is given the share that the stream names."""
    processes: int = 1
    """Processes that make the steps in turn; 0: as many as turn out to be needed."""
    skipped: RowSet = field(default_factory=RowSet)
    """The rows at fault that were skipped up to `position`: they count against the limit."""
    turn: Turn | None = None
    """Of a process that makes its part of the steps for another one, which hands them on."""

    @property
    def shares(self) -> list[Share]:
        tokens = self.stream.micro_batch_tokens
        if self.ranks == 1:
            return [Share(self.stream.rank, self.stream.ranks, tokens)]
        return [Share(rank, self.ranks, tokens) for rank in range(self.ranks)]

    def to_line(self) -> bytes:
        return orjson.dumps({
            "stream": self.stream.to_json(), "position": self.position.to_json() if self.position else None,
            "byte_budget": self.byte_budget, "places": self.places.to_json(), "ranks": self.ranks, "processes": self.processes,
            "skipped": self.skipped.to_json(), "turn": dataclasses.astuple(self.turn) if self.turn else None})

    @classmethod
    def from_line(cls, line: bytes) -> Asked:
        told: dict[str, Any] = orjson.loads(line)
        return cls(**{
            **told, "stream": StreamSpec.from_json(told["stream"]), "places": Places.from_json(told["places"]),
            "position": Position.from_json(told["position"]) if told["position"] else None,
            "skipped": RowSet.from_json(told["skipped"]), "turn": Turn(*told["turn"]) if told["turn"] else None})
