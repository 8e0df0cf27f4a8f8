from __future__ import annotations

import base64

import numpy as np
import pytest

from core.db.session import Ledger
from core.errors import NotFound
from core.lineage import service as lineage
from tests.factories import a_running_job, report_steps


def packed(*losses: float) -> str:
    return base64.b64encode(np.array(losses, "<f4").tobytes()).decode()


def test_a_step_of_the_accepted_history_is_kept_once(ledger: Ledger) -> None:
    with ledger.write() as session:
        job = a_running_job(session).job
        lineage.record(session, job.id, [(1, "aa", packed(1.5)), (2, "bb", packed(float("nan"), 2.0))])
        lineage.record(session, job.id, [(2, "xx", packed(9.0)), (3, "cc", packed())])
        kept = [lineage.get_step(session, job, step) for step in (1, 2, 3)]
        assert [each.digest for each in kept] == ["aa", "bb", "cc"]
        assert np.frombuffer(kept[1].losses, "<f4")[1] == 2.0


def test_a_step_that_is_not_done_or_was_not_kept_is_told_apart(sqlite_ledger: Ledger) -> None:
    with sqlite_ledger.write() as session:
        claim = a_running_job(session)
        report_steps(session, claim, 1, 2)
        with pytest.raises(NotFound, match="has done 2 steps and not yet step 3"):
            lineage.get_step(session, claim.job, 3)
        with pytest.raises(NotFound, match="nothing was kept of the rows of step 2"):
            lineage.get_step(session, claim.job, 2)
