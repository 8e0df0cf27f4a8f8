from __future__ import annotations

import pytest
from sqlalchemy import select

from core.db.session import Ledger
from core.forecast.models import Forecast
from core.forecast.record import accuracy, accuracy_of, note, relative_error
from core.jobs import stops
from tests.factories import NOW, a_claim, a_queued_job, a_running_job, later, report_steps, succeed


def test_an_error_is_told_by_the_time_that_passed():
    assert relative_error(made_at=NOW, predicted_at=later(80), actual_at=later(100)) == pytest.approx(0.2)
    assert relative_error(made_at=NOW, predicted_at=later(150), actual_at=later(100)) == pytest.approx(0.5)
    assert relative_error(made_at=NOW, predicted_at=later(1), actual_at=later(2)) == pytest.approx(0.1)


def test_accuracy_is_the_median_and_the_worst_tenth():
    told = accuracy_of([0.1 * n for n in range(11)])
    assert (told.count, told.median, told.p90) == (11, pytest.approx(0.5), pytest.approx(0.9))
    assert accuracy_of([None]) == accuracy_of([])


def test_a_foretold_start_is_measured_when_the_job_is_claimed(ledger: Ledger):
    with ledger.write() as session:
        job = a_queued_job(session)
        note(session, job.id, "start", later(40), now=NOW)
        a_claim(session, now=later(50))
        told = accuracy(session, "start")
    assert (told.count, told.median) == (1, pytest.approx(0.2))


def test_a_start_that_nobody_could_tell_is_no_error(ledger: Ledger):
    with ledger.write() as session:
        job = a_queued_job(session)
        note(session, job.id, "start", None, now=NOW)
        a_claim(session, now=later(50))
        assert accuracy(session, "start").count == 0
        assert session.scalars(select(Forecast)).one().actual_at == later(50)


def test_what_cannot_happen_any_more_is_dropped(ledger: Ledger):
    with ledger.write() as session:
        paused, cancelled = a_queued_job(session), a_queued_job(session)
        for job in (paused, cancelled):
            note(session, job.id, "start", later(40), now=NOW)
        stops.pause(session, paused.project_id, paused.id, now=later(1))
        stops.cancel(session, cancelled.project_id, cancelled.id, now=later(1))
        assert session.scalars(select(Forecast)).all() == []


def test_a_running_job_foretells_its_end_at_a_tenth_and_at_half_and_is_measured(ledger: Ledger):
    with ledger.write() as session:
        claim = a_running_job(session)
        report_steps(session, claim, 1, 2, now=later(10))
        report_steps(session, claim, 3, 4, 5, 6, 7, now=later(20))
        report_steps(session, claim, 8, 9, 10, 11, 12, now=later(30))
        made = [forecast.made_at for forecast in session.scalars(select(Forecast).order_by(Forecast.made_at))]
        succeed(session, claim, now=later(40))
        told = accuracy(session, "finish")
    assert made == [later(10), later(20)]
    assert told.count == 2


def test_of_two_that_are_made_at_one_instant_the_first_is_kept(ledger: Ledger):
    with ledger.write() as session:
        job = a_queued_job(session)
        for seconds in (40, 60):
            note(session, job.id, "start", later(seconds), now=NOW)
        assert session.scalars(select(Forecast.predicted_at)).all() == [later(40)]
