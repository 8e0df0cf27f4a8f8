from __future__ import annotations

from core.checkpoints.garbage import unnamed
from core.db.session import Ledger
from core.jobs import claims
from tests.factories import NOW, a_checkpoint, a_running_job, later


def test_what_an_ended_run_left_without_a_row_is_garbage_after_an_hour(ledger: Ledger):
    with ledger.write() as session:
        claim = a_running_job(session)
        named = a_checkpoint(session, claim, step=4).folder_key
        late = f"{claim.run.folder_key}/checkpoints/step-8"
        strange = "jobs/ftjob-unknown/runs/000001-run_x/checkpoints/step-1"
        assert unnamed(session, [named, late, strange], now=later(7200)) == []
        claims.settle(session, claim.run.id, 1, "handed_back", now=NOW)
        assert unnamed(session, [named, late, strange], now=later(60)) == []
        assert unnamed(session, [named, late, strange], now=later(7200)) == [late]
