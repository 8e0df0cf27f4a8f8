"""How a run ended, from what was wanted, what the child said last, and how it left. A pure function.

What was asked for comes first: a cancelled run stays cancelled, whatever its child still said; a run that had finished
before it heard of a pause or a shutdown is finished. Then the child's own word. A child that left without one was
interrupted, and its last lines are the cause.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Any, Literal

from worker.reports import Failed, FailureKind, Finished, Line, Stopped

Kind = Literal["succeeded", "failed", "cancelled", "paused", "preempted", "handed_back", "interrupted"]
Ending = Literal["cancel", "pause", "preempt", "shutdown", "stalled", "overtime"]
"""Why the supervisor asked the child to end."""

SAVES_FIRST: dict[Ending, Kind] = {"pause": "paused", "preempt": "preempted", "shutdown": "handed_back"}
"""Endings at which the child saves its last border, and what becomes of its run."""

EXPLAINED: tuple[Ending, ...] = (*SAVES_FIRST, "overtime")
"""Endings that explain why a child failed by the infrastructure: it was told to end, and one of its ranks may have gone before
another. A run out of its time is not tried again for that, with all its time anew."""


@dataclass(frozen=True)
class Outcome:
    kind: Kind
    error: dict[str, Any] | None = None
    """{code, message, param} of a run that ended badly."""
    failure: FailureKind | None = None
    """Whose fault a failed run is."""


def decide(*, ending: Ending | None, last: Line | None, exit_code: int, last_lines: str, stall_seconds: float = 0.0,
           max_run_seconds: int | None = None) -> Outcome:
    """Decide the outcome; `last` is the child's final word (Finished, Stopped or Failed), None when it left without one."""
    if ending == "cancel":
        return Outcome("cancelled")
    if isinstance(last, Finished):
        return Outcome("succeeded")
    if isinstance(last, Failed) and (last.failure != "infrastructure" or ending not in EXPLAINED):
        return Outcome("failed", told(last.code, last.message, last.param), last.failure)
    if ending in SAVES_FIRST:
        return Outcome(SAVES_FIRST[ending])
    if ending == "overtime":
        return Outcome("failed", told("run_time_exceeded", (
            f"the run was not done after the {max_run_seconds} seconds that options.max_run_seconds allows; raise it, or "
            "train on fewer steps"), param="options.max_run_seconds"), "user")
    if ending == "stalled":
        return Outcome("interrupted", told("run_stalled", (
            f"the training process reported nothing for {stall_seconds:.0f} seconds and was ended{_lines(last_lines)}")))
    if isinstance(last, Stopped):
        return Outcome("interrupted", told("run_interrupted", "the training process stopped without being asked to"))
    return Outcome("interrupted", told("run_interrupted", f"the training process {_how(exit_code)}{_lines(last_lines)}"))


def unfinished(asked: Ending | None) -> Outcome:
    """The outcome of a run that is kept from beginning, or from ending well, by no fault of its own: it goes on elsewhere or
    later, unless something else was asked for."""
    if asked == "cancel":
        return Outcome("cancelled")
    return Outcome(SAVES_FIRST.get(asked, "handed_back") if asked else "handed_back")


def told(code: str, message: str, param: str | None = None) -> dict[str, Any]:
    return {"code": code, "message": message, "param": param}


def _how(exit_code: int) -> str:
    if exit_code >= 0:
        return f"left with exit code {exit_code} before it was done"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:
        name = str(-exit_code)
    return f"was ended by signal {name}"


def _lines(last_lines: str) -> str:
    return f"; its log ends with: {last_lines[-1000:]}" if last_lines else ""
