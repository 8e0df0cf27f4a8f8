from __future__ import annotations

from datetime import timedelta

import pytest

from core.db.session import Ledger
from core.jobs import claims
from core.projects.usage import BUCKET_SECONDS, bucket_of, buckets, decay, forget_use, note_use, recent_use, used_since
from core.scheduling.policy import Policy
from tests.factories import LEASE_SECONDS, NOW, a_claim, a_project, a_queued_job, a_running_job, later


def test_use_adds_up_by_project_and_by_key(ledger: Ledger):
    with ledger.write() as session:
        mine, other = a_project(session), a_project(session, "other")
        for key, seconds in (("key_a", 30), ("key_b", 50), ("key_a", 20)):
            assert note_use(session, mine.id, key_id=key, devices=2, since=NOW, until=later(seconds)) == 2 * seconds
        assert used_since(session, mine.id, NOW) == 200
        assert used_since(session, mine.id, NOW, key_id="key_a") == 100
        assert used_since(session, other.id, NOW) == 0


def test_a_period_begins_at_the_bucket_that_holds_its_start(ledger: Ledger):
    with ledger.write() as session:
        project = a_project(session)
        note_use(session, project.id, devices=1, since=later(-BUCKET_SECONDS), until=later(BUCKET_SECONDS))
        assert used_since(session, project.id, later(-BUCKET_SECONDS)) == 2 * BUCKET_SECONDS
        assert used_since(session, project.id, later(5)) == BUCKET_SECONDS
        forget_use(session, before=NOW)
        assert used_since(session, project.id, later(-BUCKET_SECONDS)) == BUCKET_SECONDS


def test_a_stretch_is_cut_at_the_borders_of_buckets():
    since = bucket_of(NOW) + timedelta(seconds=BUCKET_SECONDS - 10)
    cut = list(buckets(since, since + timedelta(seconds=BUCKET_SECONDS + 15)))
    assert [seconds for _, seconds in cut] == [10, BUCKET_SECONDS, 5]
    assert [begins for begins, _ in cut] == [bucket_of(NOW) + timedelta(seconds=BUCKET_SECONDS * n) for n in range(3)]


def test_use_counts_half_after_a_half_life_whatever_the_order_of_notes(ledger: Ledger):
    with ledger.write() as session:
        early, late = a_project(session, "early first"), a_project(session, "late first")
        spans = [(NOW, later(100)), (later(3600), later(3700))]
        for project, order in ((early, spans), (late, spans[::-1])):
            for since, until in order:
                note_use(session, project.id, devices=1, since=since, until=until, half_life_seconds=3600)
        recent = recent_use(session, now=later(3700), half_life_seconds=3600)
    assert recent == pytest.approx({early.id: 150.0, late.id: 150.0})
    assert decay(7200, 3600) == 0.25


def test_a_run_s_use_is_counted_while_it_holds_its_devices(ledger: Ledger):
    with ledger.write() as session:
        claim = a_running_job(session, options={"devices": 1})
        project_id = claim.job.project_id
        claims.renew(session, claim.run.id, claim.run.fence, lease_seconds=LEASE_SECONDS, now=later(10))
        assert used_since(session, project_id, NOW) == 10
        claims.settle(session, claim.run.id, claim.run.fence, "handed_back", now=later(14))
        assert used_since(session, project_id, NOW) == 14


def test_a_lost_run_is_counted_to_the_end_of_its_lease(ledger: Ledger):
    with ledger.write() as session:
        claim = a_running_job(session)
        claims.renew(session, claim.run.id, 1, lease_seconds=LEASE_SECONDS, now=later(20))
        assert claims.end_lapsed(session, claim.run.id, 1, now=later(100))
        assert used_since(session, claim.job.project_id, NOW) == 50


def test_runs_of_a_dead_worker_are_counted_to_its_end(ledger: Ledger):
    with ledger.write() as session:
        project = a_project(session)
        for _ in range(2):
            a_queued_job(session, project)
            assert a_claim(session, worker_id="wrk_dead") is not None
        claims.end_worker(session, "wrk_dead", now=later(12), policy=Policy(half_life_seconds=60))
        assert used_since(session, project.id, NOW) == 24
