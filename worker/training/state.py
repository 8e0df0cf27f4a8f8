"""The part of a checkpoint that is plain JSON: where the run stands. Read before torch is imported.

    adapter_model.safetensors, adapter_config.json   the adapter, as PEFT writes it
    optimizer.safetensors                            the moments, by parameter
    rng.safetensors                                  the random state at the border, of each rank
    state.json                                       this
    tokenizer files                                  in listed and final checkpoints
    manifest.json                                    written last (core.storage.manifest)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from core.data.row_set import RowSet
from core.data.spec import Position
from core.errors import RunInterrupted
from core.storage import manifest
from worker.training.lineage import Seen

STATE_VERSION = 2


@dataclass(frozen=True)
class Origin:
    """What a checkpoint was made from, and what goes on from it must be made from too."""

    fingerprint: str
    """Of the stream, but for its mixture log."""
    mixture_digest: Callable[[int], str]
    """Digest of the mixture log up to a step; the log may grow behind it."""
    schedule: dict[str, Any]
    """Of the learning rate."""

    def told(self, step: int) -> dict[str, Any]:
        return {"stream_fingerprint": self.fingerprint, "mixture_digest": self.mixture_digest(step), "schedule": self.schedule}


@dataclass(frozen=True)
class State:
    step: int = 0
    position: Position = field(default_factory=Position)
    limit_tokens: int | None = None
    """Limit of a micro-batch, found by running out of memory."""
    unreported: dict[str, Any] | None = None
    """The figures of `step`, where the run was stopped between its update and the evaluation that belongs to its report."""
    last: dict[str, Any] | None = None
    """The figures last reported."""
    scaler: dict[str, Any] | None = None
    seen: Seen = field(default_factory=Seen)
    skipped: RowSet = field(default_factory=RowSet)
    """The rows at fault that were skipped since step 1."""
    ranks: int = 1
    """How many wrote it; a run of another number may go on from it."""

    def to_json(self, *, origin: Origin, torch_version: str) -> bytes:
        told = {"version": STATE_VERSION, "step": self.step, "position": self.position.to_json(),
                **origin.told(self.step), "limit_tokens": self.limit_tokens, "unreported": self.unreported, "last": self.last,
                "scaler": self.scaler, "seen": self.seen.to_json(),
                "skipped": self.skipped.to_json(), "torch": torch_version, "ranks": self.ranks}
        return orjson.dumps(told, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n"


def read_state(folder: Path, origin: Origin) -> State:
    """Verify a checkpoint's files and read where it stands.

    Raises FolderDamaged where a file differs from the manifest, RunInterrupted where the checkpoint belongs to another stream,
    mixture or schedule; both values are in the message.
    """
    manifest.verify(folder)
    told = orjson.loads((folder / "state.json").read_bytes())
    if told["version"] != STATE_VERSION:
        raise _differs(folder, "version", told["version"], STATE_VERSION)
    for what, expected in origin.told(told["step"]).items():
        if told[what] != expected:
            raise _differs(folder, what.replace("_", " "), told[what], expected)
    return State(told["step"], Position.from_json(told["position"]), told["limit_tokens"], told["unreported"], told["last"],
                 told["scaler"], Seen.from_json(told["seen"]), RowSet.from_json(told.get("skipped") or {}))


def _differs(folder: Path, what: str, found: object, expected: object) -> RunInterrupted:
    return RunInterrupted(f"checkpoint {folder.name} has {what} {found}, this run has {expected}: its data or settings "
                          "changed since; start a new job, or bring the old files back", code="checkpoint_differs")
