"""The states of a job, and every move between them.

validating_files
    Submitted and promised. Its data set versions are being indexed or its plan is being made; an upkeep worker has a chore for
    it. No worker may claim it.
queued
    Ready: versions are whole, every "auto" is a number, the steps are counted. It waits for a train worker, and for
    `not_before` after a bad end. A job comes back here whenever a run ended and the job did not.
running
    Exactly one run holds it (`job.run_id`), under a lease and the job's newest fence. A cancel is first a mark (`wanted`), for
    the supervisor to act on.
pausing
    Still held by a run, which was asked to save and let go. Whatever ends that run, the job is then paused; only a run that had
    finished all its steps before it heard takes the job to succeeded, and one that fails by the user's fault to failed. A user
    who resumes it before that takes the pause back.
paused
    Held by nobody, claimed by nobody, until a user resumes it: then it is queued at the place it had, or validated if it was
    paused before it had a plan.
succeeded
    All steps done, the final checkpoint recorded, the model on the list. For ever.
failed
    Ended with `error`: the data or settings were at fault, memory did not suffice, or it ended badly too often without
    progress. For ever.
cancelled
    Ended because a user asked. For ever.

`MOVES` is the only place that says which move is legal. A move itself is a conditional UPDATE in `core/jobs/moves.py`.
"""

from __future__ import annotations

from typing import Literal

State = Literal["validating_files", "queued", "running", "pausing", "paused", "succeeded", "failed", "cancelled"]

MOVES: dict[State, frozenset[State]] = {
    "validating_files": frozenset({"queued", "failed", "cancelled", "paused"}),
    "queued": frozenset({"running", "failed", "cancelled", "paused"}),
    "running": frozenset({"succeeded", "failed", "cancelled", "pausing", "queued"}),
    "pausing": frozenset({"paused", "running", "succeeded", "failed", "cancelled"}),
    "paused": frozenset({"queued", "validating_files", "cancelled"}),
    "succeeded": frozenset(),
    "failed": frozenset(),
    "cancelled": frozenset(),
}

FINISHED: frozenset[State] = frozenset(state for state, nexts in MOVES.items() if not nexts)
UNFINISHED: frozenset[State] = frozenset(MOVES) - FINISHED
HELD: frozenset[State] = frozenset({"running", "pausing"})
"""A run holds the job."""
WAITING: frozenset[State] = UNFINISHED - HELD
"""Nobody holds the job, so it can be cancelled in the answer itself."""


def is_finished(state: str) -> bool:
    return state in FINISHED


def sources_of(to: State) -> frozenset[State]:
    """The states from which a job may go to `to`."""
    return frozenset(state for state, nexts in MOVES.items() if to in nexts)
