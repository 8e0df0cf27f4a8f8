"""What a training child and its supervisor say to each other: one JSON object a line.

The child writes *reports* on its own descriptor (its number stands in HEADRACE_REPORT_FD; standard output when absent), so that
a library's print cannot break one. The supervisor writes *commands* on the child's standard input. A line holds `kind`
and the fields of its class. Unknown kinds are refused: both ends come from one release.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypedDict

import orjson

SKIPPED_ROWS_TOLD = 100
"""Rows named one by one in the log of a job; more are only counted."""


class SkippedRow(TypedDict):
    """A row that training does without."""

    source: str
    file: str
    """The shard that it lies in."""
    line: int
    reason: str


Phase = Literal["loading", "probing", "waiting_for_data", "sampling", "training", "evaluating", "saving"]
CheckpointKind = Literal["listed", "recovery", "final"]
FailureKind = Literal["user", "memory", "infrastructure"]


class Line:
    kind: ClassVar[str]

    def to_line(self) -> bytes:
        return orjson.dumps({"kind": self.kind, **dataclasses.asdict(self)}, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n"  # pyright: ignore[reportArgumentType]


@dataclass(frozen=True)
class Started(Line):
    kind = "started"
    from_step: int
    """Steps already done (0, or the step of the checkpoint that was restored)."""
    total_steps: int
    parameters: int
    trainable_parameters: int
    device: str
    dtype: str
    ranks: int = 1
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class PhaseChanged(Line):
    kind = "phase"
    phase: Phase


@dataclass(frozen=True)
class Alive(Line):
    """Progress inside a long phase (an evaluation, a load): `done` grows, so that a watchdog sees movement."""

    kind = "alive"
    done: int


@dataclass(frozen=True)
class StepDone(Line):
    kind = "step"
    step: int
    train_loss: float
    train_mean_token_accuracy: float
    learning_rate: float
    grad_norm: float
    epoch: float
    examples: int
    tokens: int
    trained_tokens: int
    step_seconds: float
    data_wait_seconds: float
    memory_bytes: int
    truncated: int = 0
    overlong: dict[str, int] = field(default_factory=dict)
    """Rows of the step that were too long, by what was done with them."""
    spelled: int = 0
    """Examples that spell a control token, which stays ordinary text."""
    by_reference: int = 0
    """Examples that the fast tokenizer left to the reference."""
    source_losses: dict[str, float] = field(default_factory=dict)
    """Mean loss of each source's trained tokens."""
    source_examples: dict[str, int] = field(default_factory=dict)
    source_tokens: dict[str, int] = field(default_factory=dict)
    source_drawn: dict[str, int] = field(default_factory=dict)
    """Rows drawn from each source since step 1, holes included."""
    source_skipped: dict[str, int] = field(default_factory=dict)
    """Rows at fault of each source that were skipped since step 1, each counted once, as are the next two."""
    overlong_rows: dict[str, int] = field(default_factory=dict)
    """Rows that were too long since step 1, by what was done with them."""
    untrained_rows: int = 0
    """Rows since step 1 in which nothing is trained on."""
    skipped: list[SkippedRow] = field(default_factory=list)
    """The rows that are missed for the first time, up to `SKIPPED_ROWS_TOLD` of them."""
    rows_digest: str = ""
    """xxh3-64 of the rows trained on, hex (core/data/proof.py)."""
    row_losses: str = ""
    """Loss of each slot, packed (worker/training/lineage.py)."""
    valid_loss: float | None = None
    valid_mean_token_accuracy: float | None = None
    full_valid_loss: float | None = None
    full_valid_mean_token_accuracy: float | None = None
    source_valid_losses: dict[str, float] = field(default_factory=dict)
    """Mean loss of each source's held-out tokens."""


@dataclass(frozen=True)
class MemoryRecovered(Line):
    """A step ran out of memory and goes on with the same rows in smaller micro-batches."""

    kind = "memory_recovered"
    step: int
    micro_batches: int
    """How many the step has now."""
    limit_tokens: int
    """Tokens of a micro-batch of several examples, at most, from now on."""


@dataclass(frozen=True)
class MemoryProbed(Line):
    """The longest rows went through the model before the first step: how many tokens of them fit at once."""

    kind = "memory_probed"
    tokens: int
    """Of the largest micro-batch that fitted."""
    limit_tokens: int
    """Tokens of a micro-batch of several examples, at most, from now on."""
    asked_tokens: int
    """The budget that was tried first."""
    halvings: int
    peak_bytes: int
    room: str
    """How the device's memory stands then, in words."""


@dataclass(frozen=True)
class DataWaiting(Line):
    """The device began to wait for data: told once a stretch."""

    kind = "data_waiting"
    step: int
    share: float
    """Of the last steps' time that was waiting."""
    steps: int
    cause: str
    """What the loader spends most of its time on: reading, network, parsing, rendering, tokenising …"""
    place: str
    """The place that is read over a network; empty for a local disk."""
    remedy: str
    stage_seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Warned(Line):
    """What the owner of the job should know, in plain words; the run goes on."""

    kind = "warned"
    message: str


@dataclass(frozen=True)
class Sampled(Line):
    kind = "sampled"
    step: int
    samples: list[dict[str, str]]
    """[{"prompt": …, "answer": …}]"""


@dataclass(frozen=True)
class Saved(Line):
    """A whole checkpoint lies under its final name, fsynced; it exists for everyone else when its row does."""

    kind = "saved"
    step: int
    checkpoint: CheckpointKind
    folder: str
    manifest_digest: str
    bytes: int
    position: dict[str, Any]
    metrics: dict[str, float] = field(default_factory=dict)
    seen: dict[str, Any] = field(default_factory=dict)
    """What the run has been trained on so far (worker/training/lineage.py)."""


@dataclass(frozen=True)
class SavingPaused(Line):
    """Checkpoints cannot be kept for the moment; training goes on. Told once, until they can again."""

    kind = "saving_paused"
    step: int
    where: str
    """disk or store."""
    cause: str
    remedy: str
    need_bytes: int | None = None
    free_bytes: int | None = None
    min_free_bytes: int | None = None


@dataclass(frozen=True)
class SavingResumed(Line):
    kind = "saving_resumed"
    step: int
    where: str
    missed: list[int] = field(default_factory=list)
    """Steps whose checkpoints clients would have seen, and that were not kept."""


@dataclass(frozen=True)
class Stopped(Line):
    """The child saved the last step's border and ends, as it was told to."""

    kind = "stopped"
    step: int


@dataclass(frozen=True)
class Finished(Line):
    kind = "finished"
    step: int
    trained_tokens: int
    """Tokens processed by this run's steps."""


@dataclass(frozen=True)
class Failed(Line):
    kind = "failed"
    failure: FailureKind
    code: str
    message: str
    param: str | None = None


@dataclass(frozen=True)
class SteerProposed(Line):
    """A change of the mixture can hold from this step: none of its rows has been trained on, and none will be unanswered."""

    kind = "steer_proposed"
    number: int
    from_step: int


@dataclass(frozen=True)
class Given(Line):
    """What opens the places that a run reads from: the first command, and again before a stream that reads from others.

    It stands in no file and shows nothing of itself."""

    kind = "places"
    places: dict[str, Any] = field(repr=False)
    """`core.data.spec.Places` as JSON, with the next two."""
    cache_folder: str | None = None
    cache_bytes: int = 0


@dataclass(frozen=True)
class Ping(Line):
    """Sent every 2 seconds; a child that hears nothing for 15 exits."""

    kind = "ping"


@dataclass(frozen=True)
class Stop(Line):
    """Save the last step's border and end (pause, preemption, shutdown)."""

    kind = "stop"


@dataclass(frozen=True)
class Steer(Line):
    """A change of the job's mixture is pending: propose the step from which it can hold."""

    kind = "steer"
    number: int


@dataclass(frozen=True)
class SteerCommitted(Line):
    """The answer to a proposal: the ledger says that the change holds from the step proposed."""

    kind = "steer_committed"
    number: int
    stream: dict[str, Any] | None
    """The training stream from there on, as JSON; None when the change was refused, and nothing changes."""


REPORTS: dict[str, type[Line]] = {
    c.kind: c for c in (Started, PhaseChanged, Alive, StepDone, MemoryRecovered, MemoryProbed, DataWaiting, Warned, Sampled,
                       Saved, SavingPaused, SavingResumed, Stopped, Finished, Failed, SteerProposed)
}
COMMANDS: dict[str, type[Line]] = {c.kind: c for c in (Given, Ping, Stop, Steer, SteerCommitted)}


def read_report(line: bytes) -> Line:
    return _read(line, REPORTS)


def read_command(line: bytes) -> Line:
    return _read(line, COMMANDS)


def _read(line: bytes, kinds: dict[str, type[Line]]) -> Line:
    told = orjson.loads(line)
    return kinds[told.pop("kind")](**told)
