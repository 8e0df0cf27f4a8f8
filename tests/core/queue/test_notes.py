from __future__ import annotations

from sqlalchemy import select

from core.db.session import Ledger
from core.forecast.models import Forecast
from core.forecast.record import accuracy
from core.queue.notes import has_unnoted, note_starts
from core.queue.service import Sharing
from core.quotas.limits import NO_RULES
from core.scheduling.policy import DEFAULT
from tests.core.queue.test_service import a_worker, half_done, running
from tests.factories import NOW, a_claim, a_queued_job, later

SHARING = Sharing(DEFAULT, NO_RULES)


def test_each_waiting_job_is_foretold_once(ledger: Ledger):
    with ledger.write() as session:
        (device,) = a_worker(session, seen_at=later(5))
        a_queued_job(session)
        half_done(session, running(session, device))
        job = a_queued_job(session)
        assert has_unnoted(session)
        assert [note_starts(session, sharing=SHARING, now=later(6)) for _ in range(2)] == [1, 0]
        assert not has_unnoted(session)
        (note,) = session.scalars(select(Forecast).where(Forecast.job_id == job.id))
        assert note.predicted_at is not None
        a_claim(session, now=later(16))
        told = accuracy(session, "start")
    assert told.count == 1
    assert told.median is not None
    assert 0.2 < told.median < 0.6, "foretold in six seconds, it took ten"


def test_what_nobody_can_tell_is_noted_as_that(ledger: Ledger):
    with ledger.write() as session:
        a_queued_job(session)
        assert note_starts(session, sharing=SHARING, now=NOW) == 1
        assert session.scalars(select(Forecast.predicted_at)).all() == [None]
        assert not has_unnoted(session)
