from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy.orm import Session

from core.checkpoints import service as checkpoints
from core.checkpoints.freeing import left_behind
from core.db.session import Ledger
from core.errors import NotFound
from core.jobs import claims, stops
from core.jobs.claims import Claim
from tests.factories import NOW, a_checkpoint, a_claim, a_running_job, later


def test_clients_see_listed_and_final_ones_highest_step_first(ledger: Ledger):
    with ledger.write() as session:
        claim = a_running_job(session)
        for step, kind in ((4, "listed"), (6, "recovery"), (8, "listed"), (12, "final")):
            a_checkpoint(session, claim, step=step, kind=kind)
        first = checkpoints.list_checkpoints(session, claim.job.id, after=None, limit=2)
        rest = checkpoints.list_checkpoints(session, claim.job.id, after=first.items[-1].id, limit=2)
    assert [c.step for c in first.items] == [12, 8]
    assert first.has_more
    assert [c.step for c in rest.items] == [4]
    assert not rest.has_more


def test_recovery_points_are_no_one_s_to_ask_for(ledger: Ledger):
    with ledger.write() as session:
        claim = a_running_job(session)
        hidden = a_checkpoint(session, claim, kind="recovery")
        for unknown in (hidden.id, "ftckpt_unknown"):
            with pytest.raises(NotFound, match="has no checkpoint"):
                checkpoints.get_checkpoint(session, claim.job.id, unknown)


def test_newest_of_all_kinds_is_restored_first(ledger: Ledger):
    with ledger.write() as session:
        claim = a_running_job(session)
        for step, kind in ((4, "listed"), (7, "recovery"), (6, "recovery")):
            a_checkpoint(session, claim, step=step, kind=kind)
        assert [c.step for c in checkpoints.restorable(session, claim.job.id)] == [7, 6, 4]


def test_later_run_that_begins_before_an_old_checkpoint_supersedes_it(ledger: Ledger):
    with ledger.write() as session:
        first = a_running_job(session)
        for step in (4, 8):
            a_checkpoint(session, first, step=step)
        claims.settle(session, first.run.id, 1, "handed_back", now=NOW)
        second = a_claim(session, now=later(1))
        assert second is not None
        new = a_checkpoint(session, second, step=8)
        listed = checkpoints.list_checkpoints(session, first.job.id, after=None, limit=10).items
    assert [(c.step, c.fence) for c in listed] == [(8, 2), (4, 1)]
    assert listed[0].id == new.id


def test_recovery_point_where_a_run_began_hides_no_checkpoint(ledger: Ledger):
    with ledger.write() as session:
        first = a_running_job(session)
        listed = a_checkpoint(session, first, step=8)
        claims.settle(session, first.run.id, 1, "handed_back", now=NOW)
        second = a_claim(session, now=later(1))
        assert second is not None
        newer = a_checkpoint(session, second, step=8, kind="recovery")
        assert [c.id for c in checkpoints.restorable(session, first.job.id)] == [newer.id, listed.id]
        assert checkpoints.get_checkpoint(session, first.job.id, listed.id).step == 8


def test_prune_keeps_two_recovery_points_and_all_that_clients_see(ledger: Ledger):
    with ledger.write() as session:
        claim = a_running_job(session)
        for step, kind in ((1, "recovery"), (2, "listed"), (3, "recovery"), (5, "recovery")):
            a_checkpoint(session, claim, step=step, kind=kind)
        dropped = checkpoints.prune(session, claim.job, now=NOW)
        assert [key.rpartition("/")[2] for key in dropped] == ["step-1-recovery"]
        assert [c.step for c in checkpoints.restorable(session, claim.job.id)] == [5, 3, 2]


def test_key_is_given_again_until_it_is_known_to_be_gone(ledger: Ledger):
    with ledger.write() as session:
        claim = a_running_job(session)
        for step in (1, 2, 3):
            a_checkpoint(session, claim, step=step, kind="recovery")
        assert checkpoints.prune(session, claim.job, now=NOW) == checkpoints.prune(session, claim.job, now=NOW) != []


def cancel_while_paused(session, claim: Claim) -> None:
    stops.pause(session, claim.job.project_id, claim.job.id, now=NOW)
    claims.settle(session, claim.run.id, 1, "paused", now=NOW)
    stops.cancel(session, claim.job.project_id, claim.job.id, now=NOW)


def cancel_and_lose_the_worker(session, claim: Claim) -> None:
    stops.cancel(session, claim.job.project_id, claim.job.id, now=NOW)
    claims.end_worker(session, claim.run.worker_id, now=NOW)


def fail(session, claim: Claim) -> None:
    claims.settle(session, claim.run.id, 1, "failed", failure="user", now=NOW)


@pytest.mark.parametrize("end", [cancel_while_paused, cancel_and_lose_the_worker, fail])
def test_job_that_ended_keeps_what_clients_see_and_no_recovery_point(ledger: Ledger, end: Callable[[Session, Claim], None]):
    with ledger.write() as session:
        claim = a_running_job(session)
        for step, kind in ((2, "listed"), (3, "recovery"), (5, "recovery")):
            a_checkpoint(session, claim, step=step, kind=kind)
        end(session, claim)
        assert [c.step for c in checkpoints.restorable(session, claim.job.id)] == [2]
        assert len(left_behind(session, now=later(3600))) == 2
