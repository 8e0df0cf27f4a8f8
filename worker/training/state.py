"""The part of a checkpoint that is plain JSON: where the run stands. Read before torch is imported.

    adapter_model.safetensors, adapter_config.json   the adapter, as PEFT writes it
    optimizer.safetensors                            the moments, by parameter
    rng.safetensors                                  the random state at the border
    state.json                                       this
    tokenizer files                                  in listed and final checkpoints
    manifest.json                                    written last (core.storage.manifest)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from core.data.spec import Position
from core.errors import RunInterrupted
from core.storage import manifest

STATE_VERSION = 1


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

    def to_json(self, *, fingerprint: str, schedule: dict[str, Any], torch_version: str) -> bytes:
        told = {"version": STATE_VERSION, "step": self.step, "position": self.position.to_json(),
                "stream_fingerprint": fingerprint, "schedule": schedule, "limit_tokens": self.limit_tokens,
                "unreported": self.unreported, "last": self.last, "scaler": self.scaler, "torch": torch_version, "ranks": 1}
        return orjson.dumps(told, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n"


def read_state(folder: Path, *, fingerprint: str, schedule: dict[str, Any]) -> State:
    """Verify a checkpoint's files and read where it stands.

    Raises FolderDamaged where a file differs from the manifest, RunInterrupted where the checkpoint belongs to another stream
    or schedule; both values are in the message.
    """
    manifest.verify(folder)
    told = orjson.loads((folder / "state.json").read_bytes())
    if told["version"] != STATE_VERSION:
        raise _differs(folder, "version", told["version"], STATE_VERSION)
    if told["stream_fingerprint"] != fingerprint:
        raise _differs(folder, "stream fingerprint", told["stream_fingerprint"], fingerprint)
    if told["schedule"] != schedule:
        raise _differs(folder, "schedule", told["schedule"], schedule)
    return State(told["step"], Position.from_json(told["position"]), told["limit_tokens"], told["unreported"], told["last"],
                 told["scaler"])


def _differs(folder: Path, what: str, found: object, expected: object) -> RunInterrupted:
    return RunInterrupted(f"checkpoint {folder.name} has {what} {found}, this run has {expected}: its data or settings "
                          "changed since; start a new job, or bring the old files back", code="checkpoint_differs")
