from __future__ import annotations

import pytest

from core.chores.kinds import PREPARE_JOB
from core.chores.models import Chore
from core.db.session import Ledger
from core.errors import IllegalMove, NotFound
from core.events.service import events_after
from core.jobs import claims, stops
from core.jobs.models import Job
from tests.factories import (
    NOW,
    a_claim,
    a_job,
    a_project,
    a_queued_job,
    a_running_job,
    later,
    succeed,
)


def act(session, verb, job: Job) -> Job:
    return verb(session, job.project_id, job.id, now=NOW)


def last_code(session, job: Job) -> str:
    return (events_after(session, job.id, job.last_event - 1, 1)[0].data or {})["code"]


def test_waiting_job_is_cancelled_in_the_answer(ledger: Ledger):
    with ledger.write() as session:
        for job in (a_job(session), a_queued_job(session)):
            done = stops.cancel(session, job.project_id, job.id, now=NOW)
            last = events_after(session, job.id, done.last_event - 1, 9)
            assert (done.state, done.finished_at) == ("cancelled", NOW)
            assert [(e.data or {})["code"] for e in last] == ["job.cancelled"]


def test_paused_job_is_cancelled_in_the_answer(ledger: Ledger):
    with ledger.write() as session:
        job = a_queued_job(session)
        act(session, stops.pause, job)
        assert stops.cancel(session, job.project_id, job.id, now=NOW).state == "cancelled"


def test_running_job_is_marked_once(ledger: Ledger):
    with ledger.write() as session:
        job = a_running_job(session).job
        first = stops.cancel(session, job.project_id, job.id, now=NOW)
        number = first.last_event
        again = stops.cancel(session, job.project_id, job.id, now=NOW)
    assert (again.state, again.wanted, again.last_event) == ("running", "cancel", number)


def test_finished_job_is_not_cancelled(ledger: Ledger):
    with ledger.write() as session:
        job = a_job(session)
        stops.cancel(session, job.project_id, job.id, now=NOW)
        with pytest.raises(IllegalMove, match="is cancelled; only an unfinished job can be cancelled"):
            stops.cancel(session, job.project_id, job.id, now=NOW)


def test_a_waiting_job_is_paused_in_the_answer_and_nobody_claims_it(ledger: Ledger):
    with ledger.write() as session:
        job = act(session, stops.pause, a_queued_job(session))
        assert (job.state, last_code(session, job)) == ("paused", "job.paused")
        assert a_claim(session) is None


def test_a_resumed_job_has_the_place_that_it_had(ledger: Ledger):
    with ledger.write() as session:
        first, second = (a_queued_job(session, queued_at=later(s)) for s in (-9, -1))
        act(session, stops.pause, first)
        job = act(session, stops.resume, first)
        assert (job.state, job.queued_at, last_code(session, job)) == ("queued", later(-9), "job.resumed")
        assert [claim.job.id for _ in range(2) if (claim := a_claim(session))] == [first.id, second.id]


def test_a_job_paused_before_its_plan_is_validated_once_it_is_resumed(ledger: Ledger):
    with ledger.write() as session:
        job = act(session, stops.pause, a_job(session))
        session.query(Chore).filter_by(kind=PREPARE_JOB).one().state = "done"
        assert act(session, stops.resume, job).state == "validating_files"
        assert session.query(Chore).filter_by(kind=PREPARE_JOB).one().state == "waiting"


def test_a_running_job_is_marked_and_paused_when_its_run_let_go(ledger: Ledger):
    with ledger.write() as session:
        claim = a_running_job(session)
        asked = act(session, stops.pause, claim.job)
        assert (asked.state, asked.wanted, asked.run_id) == ("pausing", "pause", claim.run.id)
        done = claims.settle(session, claim.run.id, claim.run.fence, "paused", now=NOW)
        assert (done.state, done.wanted, done.run_id, done.failed_attempts) == ("paused", None, None, 0)


def test_a_pause_that_is_asked_for_again_changes_nothing(ledger: Ledger):
    with ledger.write() as session:
        running = act(session, stops.pause, a_running_job(session).job)
        waiting = act(session, stops.pause, a_queued_job(session))
        before = (running.last_event, waiting.last_event)
        assert [act(session, stops.pause, job).state for job in (running, waiting)] == ["pausing", "paused"]
        assert (running.last_event, waiting.last_event) == before


@pytest.mark.parametrize("outcome", ["paused", "interrupted"])
def test_a_pause_taken_back_in_time_lets_the_run_go_on_or_queues_the_job(ledger: Ledger, outcome):
    with ledger.write() as session:
        claim = a_running_job(session)
        act(session, stops.pause, claim.job)
        back = act(session, stops.resume, claim.job)
        assert (back.state, back.wanted, back.run_id) == ("running", None, claim.run.id)
        assert claims.settle(session, claim.run.id, claim.run.fence, outcome, now=NOW).state == "queued"


def test_a_run_lost_while_it_pauses_leaves_the_job_paused(ledger: Ledger):
    with ledger.write() as session:
        claim = a_running_job(session)
        act(session, stops.pause, claim.job)
        assert claims.end_lapsed(session, claim.run.id, 0, now=later(31))
        assert session.get_one(Job, claim.job.id, populate_existing=True).state == "paused"


def test_a_cancel_goes_before_a_pause(ledger: Ledger):
    with ledger.write() as session:
        claim = a_running_job(session)
        act(session, stops.pause, claim.job)
        assert act(session, stops.cancel, claim.job).wanted == "cancel"
        for verb in (stops.pause, stops.resume):
            with pytest.raises(IllegalMove, match="is being cancelled"):
                act(session, verb, claim.job)
        assert claims.settle(session, claim.run.id, claim.run.fence, "paused", now=NOW).state == "cancelled"


def test_what_makes_no_sense_is_refused_with_the_state(ledger: Ledger):
    with ledger.write() as session:
        done = succeed(session, a_running_job(session))
        running, queued = a_running_job(session).job, a_queued_job(session)
        for verb, job, words in ((stops.pause, done, "is succeeded; only an unfinished job can be paused"),
                                 (stops.resume, done, "is succeeded; only a job that is paused or pausing can be resumed"),
                                 (stops.resume, running, "is running; only"), (stops.resume, queued, "is queued; only")):
            with pytest.raises(IllegalMove, match=words):
                act(session, verb, job)


def test_a_foreign_job_is_not_found(ledger: Ledger):
    with ledger.write() as session:
        job, stranger = a_job(session, a_project(session, "theirs")), a_project(session, "mine")
        for verb in (stops.cancel, stops.pause, stops.resume):
            with pytest.raises(NotFound, match="no fine-tuning job"):
                verb(session, stranger.id, job.id, now=NOW)
