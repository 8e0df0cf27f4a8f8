from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select

from core.db.session import Ledger
from core.errors import InvalidValue
from core.events.models import Event
from core.events.service import append_message, append_metrics, event_id, events_after, list_events, parse_event_id
from core.jobs.models import Job
from tests.factories import NOW, a_job, a_queued_job, a_step


def test_event_id_holds_job_and_number():
    assert parse_event_id(event_id("ftjob-Ab9", 17)) == ("ftjob-Ab9", 17)


@pytest.mark.parametrize("text", ["", "ftevent-", "ftevent-ab", "ftevent-ab-x", "ftevent-a/b-1", "evt-ab-1", "ftevent-ab-1\n"])
def test_strange_event_id_is_refused(text: str):
    with pytest.raises(InvalidValue, match="is not one of this server's"):
        parse_event_id(text)


def test_messages_are_numbered_from_one_and_carry_their_code(ledger: Ledger):
    with ledger.write() as session:
        job = a_job(session)
        event = append_message(session, job, code="row.skipped", message="line 3 is skipped", level="warn", data={"line": 3},
                               now=NOW)
    assert (event.number, event.type, event.data) == (3, "message", {"code": "row.skipped", "line": 3})


def test_steps_already_in_the_log_are_left_out(ledger: Ledger):
    with ledger.write() as session:
        job = a_queued_job(session)
        start = job.last_event
        assert append_metrics(session, job, [a_step(1), a_step(2)], now=NOW) == 2
        assert append_metrics(session, job, [a_step(2, train_loss=9.0), a_step(3), a_step(3)], now=NOW) == 1
        assert append_metrics(session, job, [a_step(1)], now=NOW) == 0
        assert append_metrics(session, job, [], now=NOW) == 0
        found = events_after(session, job.id, start, 10)
    told = [(e.number - start, e.step, (e.data or {})["train_loss"]) for e in found]
    assert told == [(1, 1, 2.0), (2, 2, 1.0), (3, 3, 2 / 3)]
    assert found[0].message == "Step 1/12: training loss=2.00"


def test_loss_that_is_no_number_is_kept_as_none(ledger: Ledger):
    with ledger.write() as session:
        job = a_queued_job(session)
        append_metrics(session, job, [a_step(1, train_loss=float("nan"), source_losses={"chats": float("inf")})], now=NOW)
    with ledger.read() as session:
        data = events_after(session, job.id, job.last_event - 1, 9)[0].data or {}
        assert (session.get_one(Job, job.id).progress or {})["train_loss"] is None
    assert (data["train_loss"], data["source_losses"]) == (None, {"chats": None})


def test_message_that_no_column_takes_is_made_storable(ledger: Ledger):
    with ledger.write() as session:
        event = append_message(session, a_job(session), code="x.said", message="a\0b\ud800c é", now=NOW)
    assert event.message == "a\N{REPLACEMENT CHARACTER}b?c é"


def test_metrics_move_the_job_s_progress(ledger: Ledger):
    with ledger.write() as session:
        job = a_queued_job(session)
        append_metrics(session, job, [a_step(1), a_step(2)], now=NOW)
    with ledger.read() as session:
        job = session.get_one(Job, job.id)
        progress = job.progress or {}
    assert (job.step, job.processed_tokens) == (2, 200)
    assert progress["tokens_per_second"] == pytest.approx(200)
    assert progress["eta_seconds"] == pytest.approx(5.0)
    assert progress["estimated_finish"] == int(NOW.timestamp()) + 5
    assert progress["data_wait_share"] == pytest.approx(0.1)


def test_writers_at_once_leave_no_gap(ledger: Ledger):
    with ledger.write() as session:
        job_id = a_queued_job(session).id

    def write(worker: int) -> None:
        for n in range(15):
            with ledger.write() as session:
                job = session.get_one(Job, job_id)
                append_message(session, job, code="row.skipped", message=f"{worker}.{n}", now=NOW)
                append_metrics(session, job, [a_step(n + 1), a_step(n + 2)], now=NOW)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(write, range(3)))
    with ledger.read() as session:
        numbers = list(session.scalars(select(Event.number).where(Event.job_id == job_id).order_by(Event.number)))
        steps = list(session.scalars(select(Event.step).where(Event.job_id == job_id, Event.step.is_not(None))))
        assert numbers == list(range(1, session.get_one(Job, job_id).last_event + 1))
    assert sorted(steps) == list(range(1, 17))


def test_rolled_back_write_takes_no_number(ledger: Ledger):
    with ledger.write() as session:
        job_id = a_job(session).id
    with contextlib.suppress(ZeroDivisionError), ledger.write() as session:
        append_message(session, session.get_one(Job, job_id), code="x.lost", message="lost", now=NOW)
        raise ZeroDivisionError
    with ledger.write() as session:
        assert append_message(session, session.get_one(Job, job_id), code="x.kept", message="kept", now=NOW).number == 3


def test_pages_run_from_new_to_old_while_the_log_grows(ledger: Ledger):
    with ledger.write() as session:
        job = a_job(session)
        for n in range(5):
            append_message(session, job, code="x.said", message=str(n), now=NOW)
        first = list_events(session, job.id, after=None, limit=3)
        append_message(session, job, code="x.said", message="meanwhile", now=NOW)
        second = list_events(session, job.id, after=event_id(job.id, first.items[-1].number), limit=10)
    assert [e.number for e in first.items] == [7, 6, 5]
    assert first.has_more
    assert [e.number for e in second.items] == [4, 3, 2, 1]
    assert not second.has_more


def test_after_must_be_an_event_of_this_job(ledger: Ledger):
    with ledger.write() as session:
        job, other = a_job(session), a_job(session)
        for after in (event_id(other.id, 1), event_id(job.id, 99), "nonsense"):
            with pytest.raises(InvalidValue) as caught:
                list_events(session, job.id, after=after, limit=3)
            assert caught.value.param == "after"
