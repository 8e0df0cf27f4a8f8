from __future__ import annotations

from itertools import product

import pytest

from core.db.session import Ledger
from core.errors import IllegalMove
from core.events.service import events_after
from core.jobs import states
from core.jobs.endings import LEADS_TO, MAX_BAD_ENDS, Ending, verb_of
from core.jobs.models import Job
from core.jobs.moves import move
from core.jobs.states import FINISHED, HELD, MOVES, UNFINISHED, WAITING, is_finished, sources_of
from tests.factories import NOW, a_job, a_queued_job


def test_every_state_has_its_paragraph():
    assert all(f"\n{state}\n    " in (states.__doc__ or "") for state in MOVES)


def test_nothing_leaves_a_finished_state():
    assert {"succeeded", "failed", "cancelled"} == FINISHED
    assert not any(MOVES[state] for state in FINISHED)


def test_every_unfinished_job_can_be_cancelled_and_reach_an_end():
    assert sources_of("cancelled") == UNFINISHED
    assert HELD | WAITING == UNFINISHED
    assert is_finished("failed")
    assert not is_finished("paused")


def test_every_end_of_a_run_is_a_legal_move():
    outcomes = ("succeeded", "failed", "cancelled", "paused", "handed_back", "interrupted", "lost")
    failures = (None, "user", "memory", "infrastructure")
    marks = (None, "cancel", "pause")
    for state, outcome, failure, wanted, bad in product(HELD, outcomes, failures, marks, range(MAX_BAD_ENDS)):
        job = Job(id="ftjob-x", state=state, wanted=wanted, failed_attempts=bad)
        assert LEADS_TO[verb_of(job, Ending(outcome, failure))] in MOVES[state], (state, outcome, failure, wanted, bad)


def test_move_writes_its_event_and_its_changes_together(ledger: Ledger):
    with ledger.write() as session:
        job = a_job(session)
        move(session, job.id, "queued", code="job.queued", message="ready", now=NOW, total_steps=7)
    with ledger.read() as session:
        job = session.get_one(Job, job.id)
        event = events_after(session, job.id, 2, 10)[0]
    assert (job.state, job.total_steps, job.last_event, event.message, event.number) == ("queued", 7, 3, "ready", 3)


def test_illegal_move_names_the_present_state_and_leaves_no_trace(ledger: Ledger):
    with ledger.write() as session:
        job = a_queued_job(session)
        before = job.last_event
        with pytest.raises(IllegalMove, match="is queued; only a job that is pausing, running can become succeeded"):
            move(session, job.id, "succeeded", code="job.succeeded", message="done", now=NOW)
        session.refresh(job)
        assert (job.state, job.last_event) == ("queued", before)


def test_of_two_moves_that_race_one_is_told_where_the_job_stands(ledger: Ledger):
    with ledger.write() as session:
        job = a_queued_job(session)
    with ledger.write() as session:
        stale = session.get_one(Job, job.id)
        move(session, job.id, "cancelled", code="job.cancelled", message="by one", now=NOW)
        with pytest.raises(IllegalMove, match="is cancelled"):
            move(session, stale.id, "running", code="run.started", message="by another", now=NOW)
