from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy.orm import Session

from core.db.session import Ledger
from core.devices import service as devices
from core.devices.models import Device
from core.errors import LeaseLost
from core.events.service import events_after
from core.jobs import claims
from core.jobs import service as jobs
from core.jobs.claims import Claim
from core.jobs.endings import LONGEST_WAIT_SECONDS
from core.jobs.models import Job, Run
from tests.factories import (
    LEASE_SECONDS,
    NOW,
    a_checkpoint,
    a_claim,
    a_device,
    a_project,
    a_queued_job,
    a_running_job,
    later,
    report_steps,
    succeed,
)


def settle(session, claim: Claim, outcome, **told) -> Job:
    return claims.settle(session, claim.run.id, claim.run.fence, outcome, **{"now": NOW, **told})


def test_claim_takes_the_job_under_a_fence_with_an_event(ledger: Ledger):
    with ledger.write() as session:
        job = a_queued_job(session)
        claim = a_claim(session)
    assert claim is not None
    assert (claim.job.id, claim.job.state, claim.job.fence, claim.job.run_id) == (job.id, "running", 1, claim.run.id)
    assert claim.run.folder_key == f"jobs/{job.id}/runs/000001-{claim.run.id}"
    with ledger.read() as session:
        last = events_after(session, job.id, 0, 100)[-1]
        assert last.data is not None
        assert last.data["code"] == "run.started"


def test_second_claim_finds_nothing(ledger: Ledger):
    with ledger.write() as session:
        a_running_job(session)
        assert a_claim(session) is None


def test_highest_priority_goes_first_then_the_longest_wait(ledger: Ledger):
    with ledger.write() as session:
        late, early, urgent = (a_queued_job(session, queued_at=later(s), priority=p) for s, p in ((-1, 0), (-9, 0), (0, 5)))
        order = [claim.job.id for _ in range(3) if (claim := a_claim(session))]
    assert order == [urgent.id, early.id, late.id]


def test_projects_take_turns(ledger: Ledger):
    with ledger.write() as session:
        busy, quiet = a_project(session, "busy"), a_project(session, "quiet")
        ids = [a_queued_job(session, busy).id for _ in range(3)] + [a_queued_job(session, quiet).id]
        order = [claim.job.id for n in range(4) if (claim := a_claim(session, now=later(n)))]
    assert order == [ids[0], ids[3], ids[1], ids[2]]


def test_job_waits_for_its_not_before(ledger: Ledger):
    with ledger.write() as session:
        job = a_queued_job(session)
        job.not_before = later(2)
        assert a_claim(session, now=later(1)) is None
        assert a_claim(session, now=later(2)) is not None


def test_claim_takes_all_devices_or_none(ledger: Ledger):
    with ledger.write() as session:
        first, second = a_device(session, ordinal=0), a_device(session, ordinal=1)
        job = a_queued_job(session)
        a_queued_job(session)
        one = a_claim(session, devices=(first.id,))
        assert one is not None
        assert one.job.id == job.id
        assert a_claim(session, devices=(first.id,)) is None
        assert [d.id for d in devices.free(session, "host")] == [second.id]
        settle(session, one, "handed_back")
        assert a_claim(session, devices=(first.id, second.id)) is not None


def test_two_workers_claim_fifty_jobs_and_none_twice(ledger: Ledger):
    with ledger.write() as session:
        ids = {a_queued_job(session).id for _ in range(50)}

    def work(worker_id: str) -> list[str]:
        got = []
        while True:
            with ledger.write() as session:
                claim = a_claim(session, worker_id=worker_id)
            if claim is None:
                return got
            got.append(claim.job.id)

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(work, ("wrk_a", "wrk_b"))
    assert len(first) + len(second) == 50
    assert set(first) | set(second) == ids


def test_renewal_extends_the_lease(ledger: Ledger):
    with ledger.write() as session:
        claim = a_running_job(session)
        claims.renew(session, claim.run.id, claim.run.fence, lease_seconds=LEASE_SECONDS, now=later(10))
        session.refresh(claim.run)
        assert (claim.run.renewals, claim.run.lease_until) == (1, later(40))


def test_late_worker_can_neither_renew_nor_write_nor_settle(ledger: Ledger):
    with ledger.write() as session:
        late = a_running_job(session)
        assert claims.end_lapsed(session, late.run.id, 0, now=later(31))
        heir = a_claim(session, worker_id="wrk_2", now=later(60))
        assert heir is not None
        assert heir.run.fence == late.run.fence + 1
        late_run = (late.run.id, 1)
        for write in (lambda: claims.renew(session, *late_run, lease_seconds=1), lambda: claims.hold(session, *late_run),
                      lambda: claims.settle(session, *late_run, "succeeded", now=NOW)):
            with pytest.raises(LeaseLost, match="stop its child"):
                write()
        assert claims.hold(session, heir.run.id, heir.run.fence)[0].id == late.job.id


def test_hold_refuses_a_wrong_fence_and_an_unknown_run(ledger: Ledger):
    with ledger.write() as session:
        claim = a_running_job(session)
        for run_id, fence in ((claim.run.id, 2), ("run_unknown", 1)):
            with pytest.raises(LeaseLost):
                claims.hold(session, run_id, fence)


def test_renewed_run_is_not_ended_by_who_saw_it_before(ledger: Ledger):
    with ledger.write() as session:
        claim = a_running_job(session)
        claims.renew(session, claim.run.id, 1, lease_seconds=LEASE_SECONDS, now=later(30))
        assert not claims.end_lapsed(session, claim.run.id, 0, now=later(90))
        assert not claims.end_lapsed(session, claim.run.id, 1, now=later(59))
        assert claims.end_lapsed(session, claim.run.id, 1, now=later(61))


def test_lost_run_puts_the_job_back_and_frees_its_device(ledger: Ledger):
    with ledger.write() as session:
        device = a_device(session)
        a_queued_job(session)
        claim = a_claim(session, devices=(device.id,))
        assert claim is not None
        claims.end_lapsed(session, claim.run.id, 0, now=later(31))
        session.refresh(claim.job)
        assert (claim.job.state, claim.job.run_id, claim.job.not_before) == ("queued", None, later(32))
        assert session.get_one(Run, claim.run.id).outcome == "lost"
        assert devices.free(session, "host")


def test_dead_worker_s_runs_end_at_once(ledger: Ledger):
    with ledger.write() as session:
        a_queued_job(session)
        a_queued_job(session)
        mine, other = a_claim(session, worker_id="wrk_dead"), a_claim(session, worker_id="wrk_alive")
        assert mine is not None
        assert other is not None
        assert claims.end_worker(session, "wrk_dead", now=NOW) == [mine.job.id]
        assert claims.hold(session, other.run.id, other.run.fence)


def test_three_bad_ends_without_progress_fail_the_job_with_the_cause(ledger: Ledger):
    with ledger.write() as session:
        a_queued_job(session)
        waits = []
        for number in range(3):
            claim = a_claim(session, now=later(number * 100))
            assert claim is not None
            cause = {"code": "child_died", "message": "the child was killed by signal 9"}
            job = settle(session, claim, "interrupted", error=cause, now=later(number * 100))
            waits.append(job.not_before and (job.not_before - later(number * 100)).total_seconds())
    assert waits[:2] == [1.0, 2.0]
    assert job.state == "failed"
    assert job.error is not None
    assert job.error["code"] == "child_died"
    assert "signal 9" in job.error["message"]


def test_runs_lost_with_their_workers_end_a_job_only_when_it_happens_ten_times_over(ledger: Ledger):
    with ledger.write() as session:
        a_queued_job(session)
        jobs = []
        for number in range(10):
            claim = a_claim(session, worker_id=f"wrk_{number}", now=later(number * 100))
            assert claim is not None
            claims.end_worker(session, f"wrk_{number}", now=later(number * 100))
            job = session.get_one(Job, claim.job.id)
            jobs.append((job.state, job.failed_attempts))
    assert jobs[:9] == [("queued", 0)] * 9
    assert job.state == "failed"
    assert "10 attempts in a row" in (job.error or {})["message"]


def test_the_deaths_of_two_workers_leave_a_child_its_own_three_attempts(ledger: Ledger):
    with ledger.write() as session:
        a_queued_job(session)
        states = []
        for number, outcome in enumerate(["lost", "lost", "interrupted", "interrupted", "lost", "interrupted"]):
            claim = a_claim(session, worker_id=f"wrk_{number}", now=later(number * 100))
            assert claim is not None
            if outcome == "lost":
                claims.end_worker(session, f"wrk_{number}", now=later(number * 100))
            else:
                settle(session, claim, "interrupted", now=later(number * 100))
            states.append(session.get_one(Job, claim.job.id).state)
    assert states == ["queued"] * 5 + ["failed"]


@pytest.mark.parametrize("progress", ["step", "checkpoint"])
def test_progress_lets_a_job_try_on(ledger: Ledger, progress: str):
    with ledger.write() as session:
        a_queued_job(session)
        for number in range(5):
            claim = a_claim(session, now=later(number * 100))
            assert claim is not None
            if progress == "step":
                report_steps(session, claim, number + 1)
            else:
                a_checkpoint(session, claim, step=number + 1, kind="recovery")
            job = settle(session, claim, "interrupted", now=later(number * 100))
    assert (job.state, job.failed_attempts) == ("queued", 1)


def test_steps_that_were_reported_before_are_no_progress(ledger: Ledger):
    with ledger.write() as session:
        a_queued_job(session)
        for number in range(4):
            claim = a_claim(session, now=later(number * 100))
            if claim is None:
                break
            report_steps(session, claim, 1, 2, 3)
            job = settle(session, claim, "interrupted", now=later(number * 100))
    assert (number, job.state) == (3, "failed")


@pytest.mark.parametrize("failure", ["user", "memory"])
def test_failure_of_the_user_s_or_of_memory_is_not_tried_again(ledger: Ledger, failure: str):
    error = {"code": "bad_row", "message": "line 3 has no answer", "param": "training_file"}
    with ledger.write() as session:
        job = settle(session, a_running_job(session), "failed", failure=failure, error=error)
    assert (job.state, job.error, job.finished_at) == ("failed", error, NOW)


def test_handed_back_job_is_due_at_once_and_counts_no_bad_end(ledger: Ledger):
    with ledger.write() as session:
        job = settle(session, a_running_job(session), "handed_back")
        assert (job.state, job.failed_attempts, job.not_before) == ("queued", 0, None)
        again = a_claim(session)
        assert again is not None
        assert (again.run.attempt, again.run.fence) == (2, 2)


def test_job_handed_back_with_a_cause_waits_and_counts_no_bad_end(ledger: Ledger):
    error = {"code": "insufficient_storage", "message": "the disk is full", "param": None}
    with ledger.write() as session:
        job = settle(session, a_running_job(session), "handed_back", error=error)
        assert (job.state, job.failed_attempts, job.not_before) == ("queued", 0, later(LONGEST_WAIT_SECONDS))
        assert a_claim(session) is None
        assert a_claim(session, now=later(LONGEST_WAIT_SECONDS)) is not None


@pytest.mark.parametrize("outcome", ["cancelled", "handed_back", "interrupted", "failed"])
def test_cancel_wins_over_every_end_but_success(ledger: Ledger, outcome: str):
    with ledger.write() as session:
        claim = a_running_job(session)
        assert jobs.cancel(session, claim.job.project_id, claim.job.id, now=NOW).wanted == "cancel"
        job = settle(session, claim, outcome, failure="user")
    assert (job.state, job.wanted, job.run_id) == ("cancelled", None, None)


def test_job_that_ended_before_it_heard_the_cancel_has_succeeded(ledger: Ledger):
    with ledger.write() as session:
        claim = a_running_job(session)
        jobs.cancel(session, claim.job.project_id, claim.job.id, now=NOW)
        assert succeed(session, claim).state == "succeeded"


def test_success_makes_a_model_of_the_final_checkpoint(ledger: Ledger):
    with ledger.write() as session:
        project = a_project(session)
        claim = a_running_job(session, project, suffix="wise")
        report_steps(session, claim, *range(1, 13))
        job = succeed(session, claim)
        last = events_after(session, job.id, job.last_event - 1, 10)
    short = job.id.removeprefix("ftjob-")[:8]
    assert job.fine_tuned_model == f"ft:tiny:{project.organization_id}:wise:{short}"
    assert (job.trained_tokens, job.finished_at, job.error) == (1200, NOW, None)
    assert job.fine_tuned_model in last[0].message


def test_success_without_a_final_checkpoint_is_refused(ledger: Ledger):
    from core.errors import IllegalMove

    with ledger.write() as session:
        claim = a_running_job(session)
        with pytest.raises(IllegalMove, match="no final checkpoint"):
            settle(session, claim, "succeeded")


def test_lease_times_come_from_the_database_when_none_is_given(ledger: Ledger):
    from datetime import UTC, datetime

    with ledger.write() as session:
        a_queued_job(session)
        claim = claims.claim_next(session, worker_id="w", host="h", devices=(), lease_seconds=30)
        assert claim is not None
        assert 25 < (claim.run.lease_until - datetime.now(UTC)).total_seconds() <= 31


def claim_of(session: Session, free: list[str], of: int | None = None):
    return claims.claim_next(session, worker_id="w", host="host", devices=free, of=of, lease_seconds=30, now=NOW)


def test_a_job_takes_as_many_devices_as_it_asks_for(ledger: Ledger):
    with ledger.write() as session:
        cards = [a_device(session, ordinal=number).id for number in range(3)]
        a_queued_job(session, options={"devices": 2})
        claim = claim_of(session, cards)
        assert claim is not None
        assert [d.id for d in session.query(Device).filter(Device.run_id == claim.run.id).order_by(Device.ordinal)] == cards[:2]


def test_a_job_of_several_devices_is_not_overtaken_where_it_can_run(ledger: Ledger):
    with ledger.write() as session:
        cards = [a_device(session, ordinal=number).id for number in range(2)]
        large, small = a_queued_job(session, options={"devices": 2}), a_queued_job(session)
        assert claim_of(session, cards[:1], of=2) is None
        claim = claim_of(session, cards, of=2)
        assert claim is not None
        assert (claim.job.id, small.state) == (large.id, "queued")


def test_a_job_that_a_host_could_never_run_is_passed_over_there(ledger: Ledger):
    with ledger.write() as session:
        card = a_device(session).id
        a_queued_job(session, options={"devices": 2})
        small = a_queued_job(session)
        claim = claim_of(session, [card], of=1)
        assert claim is not None
        assert claim.job.id == small.id
