from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from core.db.session import Ledger
from core.jobs import claims
from core.jobs.claims import Claim
from core.projects.service import create_key
from core.projects.usage import note_use
from core.quotas.limits import Limits, Rules
from core.quotas.service import set_limits
from core.quotas.standing import read_standing
from tests.factories import LEASE_SECONDS, NOW, a_project, a_queued_job, later

ONE = Rules(Limits(running_jobs=1))


def claim(session, rules: Rules, *, worker_id: str = "wrk_1", now=NOW) -> Claim | None:
    return claims.claim_next(session, worker_id=worker_id, host="host", devices=(), lease_seconds=LEASE_SECONDS, rules=rules,
                             now=now)


def test_a_project_that_runs_all_it_may_is_passed_over_until_one_ends(ledger: Ledger):
    with ledger.write() as session:
        busy, quiet = a_project(session, "busy"), a_project(session, "quiet")
        first, second = (a_queued_job(session, busy, priority=9) for _ in range(2))
        other = a_queued_job(session, quiet)
        taken = [claim(session, ONE), claim(session, ONE), claim(session, ONE)]
        assert [each and each.job.id for each in taken] == [first.id, other.id, None]
        assert taken[0] is not None
        hold = read_standing(session, rules=ONE, now=NOW).hold(busy.id, None, has_begun=False)
        assert hold is not None
        assert hold.words == "its project runs 1 job, and 1 is the most that it may run at once"
        claims.settle(session, taken[0].run.id, taken[0].run.fence, "cancelled", now=NOW)
        again = claim(session, ONE)
        assert again is not None
        assert again.job.id == second.id


def test_a_key_that_runs_all_it_may_is_passed_over(ledger: Ledger):
    with ledger.write() as session:
        key_id = create_key(session, name="laptop", project="acme", is_admin=False, now=NOW)[0].id
        set_limits(session, key_id, {"running_jobs": 1})
        mine = [a_queued_job(session, key_id=key_id, priority=5) for _ in range(2)]
        other = a_queued_job(session)
        taken = [each.job.id for _ in range(3) if (each := claim(session, Rules()))]
    assert taken == [mine[0].id, other.id]


def test_a_project_out_of_device_seconds_waits_for_the_next_period_but_goes_on_with_what_has_begun(ledger: Ledger):
    rules = Rules(Limits(device_seconds=100), "day")
    with ledger.write() as session:
        project = a_project(session)
        begun, new = a_queued_job(session, queued_at=later(1)), a_queued_job(session, queued_at=later(0))
        begun.started_at = NOW
        note_use(session, project.id, devices=1, since=NOW, until=later(200))
        taken = [each and each.job.id for each in [claim(session, rules, now=later(200)) for _ in range(2)]]
        assert taken == [begun.id, None]
        hold = read_standing(session, rules=rules, now=later(200)).hold(project.id, None, has_begun=False)
        assert hold is not None
        assert hold.words == ("its project has used 200 of its 100 device-seconds; a job that has not begun waits until "
                              "2026-11-25 00:00 UTC")
        tomorrow = claim(session, rules, now=later(86400))
        assert tomorrow is not None
        assert tomorrow.job.id == new.id


def test_workers_that_claim_at_once_start_no_more_than_a_quota_allows(ledger: Ledger):
    rules = Rules(Limits(running_jobs=2))
    with ledger.write() as session:
        for _ in range(8):
            a_queued_job(session)
    together = threading.Barrier(4)

    def work(number: int) -> int:
        together.wait()
        claimed = 0
        for _ in range(3):
            with ledger.write() as session:
                claimed += claim(session, rules, worker_id=f"wrk_{number}") is not None
        return claimed

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(work, range(4))) == 2
