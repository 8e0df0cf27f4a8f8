"""The outbox: written with what happened, sent at least once, one request at a time to an endpoint, given up at last."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core.db.session import Ledger, database_now
from core.errors import Conflict
from core.jobs import stops
from core.projects.models import Project
from core.webhooks import outbox, service
from core.webhooks.events import EVENT_TYPES
from core.webhooks.models import WebhookDelivery, WebhookEndpoint
from core.webhooks.repository import get_endpoint
from tests.factories import NOW, a_project, a_queued_job, later

URL = "https://hooks.example.com/headrace"


def an_endpoint(session: Session, project: Project | None = None, *, event_types: tuple[str, ...] = EVENT_TYPES
                ) -> WebhookEndpoint:
    project = project or a_project(session)
    return service.create_endpoint(session, project.id, name="ours", url=URL, event_types=event_types,
                                   is_private_allowed=False, now=NOW)


def end_a_job(session: Session, project: Project | None = None) -> str:
    project = project or a_project(session)
    job = a_queued_job(session, project)
    return stops.cancel(session, project.id, job.id, now=NOW).id


def deliveries(ledger: Ledger) -> list[WebhookDelivery]:
    with ledger.read() as session:
        return list(session.scalars(select(WebhookDelivery).order_by(WebhookDelivery.created_at, WebhookDelivery.id)))


def turn_clock(ledger: Ledger, *, seconds: float) -> None:
    """Let what waits become due, and holds lapse, as if so much time had passed."""
    with ledger.write() as session:
        for delivery in session.scalars(select(WebhookDelivery)):
            delivery.due_at -= timedelta(seconds=seconds)
        for endpoint in session.scalars(select(WebhookEndpoint).where(WebhookEndpoint.held_until.is_not(None))):
            endpoint.held_until = database_now(session) - timedelta(seconds=1)


def test_the_end_of_a_job_is_written_for_each_endpoint_that_wants_it(ledger: Ledger) -> None:
    with ledger.write() as session:
        one, other = an_endpoint(session), an_endpoint(session)
        an_endpoint(session, event_types=("fine_tuning.job.failed",))
        an_endpoint(session, a_project(session, "strangers"))
        job_id = end_a_job(session)
    found = deliveries(ledger)
    assert {delivery.endpoint_id for delivery in found} == {one.id, other.id}
    (event_id,) = {delivery.event_id for delivery in found}
    assert json.loads(found[0].body) == {"id": event_id, "object": "event", "created_at": int(NOW.timestamp()),
                                         "type": "fine_tuning.job.cancelled", "data": {"id": job_id}}


def test_what_is_rolled_back_is_told_to_nobody(ledger: Ledger) -> None:
    with ledger.write() as session:
        an_endpoint(session)
    with ledger.write() as session:
        end_a_job(session)
        session.rollback()
    assert deliveries(ledger) == []


def test_one_request_at_a_time_goes_to_an_endpoint(ledger: Ledger) -> None:
    with ledger.write() as session:
        an_endpoint(session)
        end_a_job(session)
        end_a_job(session)
    with ledger.write() as session:
        (first,) = outbox.take(session, limit=8)
    with ledger.write() as session:
        assert outbox.take(session, limit=8) == []
        assert outbox.note_sent(session, first, status=200, error=None)
        following = outbox.take_next(session, first)
    assert following is not None
    assert following.event_id != first.event_id
    with ledger.write() as session:
        assert outbox.take(session, limit=8) == []
        assert outbox.take_next(session, first) is None
        assert outbox.note_sent(session, following, status=204, error=None)
        assert outbox.take_next(session, following) is None
    assert [delivery.state for delivery in deliveries(ledger)] == ["delivered"] * 2


def test_a_project_whose_endpoints_are_slow_keeps_no_other_waiting(ledger: Ledger) -> None:
    with ledger.write() as session:
        slow, quick = a_project(session, "slow"), a_project(session, "quick")
        for _ in range(outbox.MOST_OF_PROJECT + 2):
            an_endpoint(session, slow)
        end_a_job(session, slow)
        first = outbox.take(session, limit=8)
        an_endpoint(session, quick)
        end_a_job(session, quick)
        second = outbox.take(session, limit=8)
        assert (len(first), len(second)) == (outbox.MOST_OF_PROJECT, 1)


def test_projects_share_what_can_be_sent_at_once(ledger: Ledger) -> None:
    with ledger.write() as session:
        endpoints: dict[str, str] = {}
        for project in [a_project(session, "large")] * 8 + [a_project(session, "small")]:
            endpoints[an_endpoint(session, project).id] = project.name
        end_a_job(session, a_project(session, "large"))
        end_a_job(session, a_project(session, "small"))
        assert {endpoints[letter.endpoint_id] for letter in outbox.take(session, limit=2)} == {"large", "small"}


def test_endpoints_take_turns(ledger: Ledger) -> None:
    with ledger.write() as session:
        project = a_project(session)
        endpoints = {an_endpoint(session, project).id for _ in range(4)}
        for _ in range(3):
            end_a_job(session, project)
        told = []
        for _ in range(4):
            (letter,) = outbox.take(session, limit=1)
            outbox.note_sent(session, letter, status=503, error=None)
            told.append(letter.endpoint_id)
        assert set(told) == endpoints


def test_a_sender_that_dies_leaves_it_to_the_next_under_the_same_id(ledger: Ledger) -> None:
    with ledger.write() as session:
        an_endpoint(session)
        end_a_job(session)
    with ledger.write() as session:
        (first,) = outbox.take(session, limit=8)
    turn_clock(ledger, seconds=outbox.HOLD.total_seconds() + 1)
    with ledger.write() as session:
        (again,) = outbox.take(session, limit=8)
    assert (again.event_id, again.body) == (first.event_id, first.body)
    assert again.headers["webhook-id"] == first.event_id


def test_a_sender_that_comes_back_late_leaves_the_hold_to_the_one_that_followed(ledger: Ledger) -> None:
    with ledger.write() as session:
        an_endpoint(session)
        for _ in range(3):
            end_a_job(session)
    with ledger.write() as session:
        (late,) = outbox.take(session, limit=8)
    turn_clock(ledger, seconds=outbox.HOLD.total_seconds() + 1)
    with ledger.write() as session:
        (following,) = outbox.take(session, limit=8)
    with ledger.write() as session:
        assert outbox.note_sent(session, late, status=200, error=None)
        assert outbox.take_next(session, late) is None
        assert outbox.take(session, limit=8) == []
        outbox.release(session, following)
        (third,) = outbox.take(session, limit=8)
    assert third.event_id not in (late.event_id, following.event_id)


def test_it_is_tried_again_after_growing_waits_and_given_up_at_last(ledger: Ledger) -> None:
    with ledger.write() as session:
        an_endpoint(session)
        end_a_job(session)
    for wait in (*outbox.WAITS_SECONDS, None):
        with ledger.write() as session:
            (letter,) = outbox.take(session, limit=8)
            outbox.note_sent(session, letter, status=503, error=None)
            now = database_now(session)
        (delivery,) = deliveries(ledger)
        assert (delivery.last_status, delivery.last_error) == (503, "the endpoint answered 503")
        if wait is not None:
            assert delivery.state == "waiting"
            assert abs((delivery.due_at - now).total_seconds() - wait) < 5
            turn_clock(ledger, seconds=wait + 1)
    assert (delivery.state, delivery.attempts) == ("given_up", len(outbox.WAITS_SECONDS) + 1)
    assert sum(outbox.WAITS_SECONDS) > 24 * 3600
    with ledger.write() as session:
        assert outbox.take(session, limit=8) == []


def test_a_late_word_about_what_another_has_settled_changes_nothing(ledger: Ledger) -> None:
    with ledger.write() as session:
        an_endpoint(session)
        end_a_job(session)
        (letter,) = outbox.take(session, limit=8)
        outbox.note_sent(session, letter, status=200, error=None)
        outbox.note_sent(session, letter, status=None, error="the connection was lost")
    (delivery,) = deliveries(ledger)
    assert (delivery.state, delivery.last_error) == ("delivered", None)


def test_a_deleted_endpoint_takes_what_waits_with_it(ledger: Ledger) -> None:
    with ledger.write() as session:
        endpoint, _ = an_endpoint(session), end_a_job(session)
        (letter,) = outbox.take(session, limit=8)
    with ledger.write() as session:
        service.delete_endpoint(session, endpoint.project_id, endpoint.id)
    with ledger.write() as session:
        assert not outbox.note_sent(session, letter, status=200, error=None)
        assert outbox.take_next(session, letter) is None
    assert deliveries(ledger) == []


def test_a_kept_old_secret_signs_beside_the_new_one_for_a_day(ledger: Ledger) -> None:
    with ledger.write() as session:
        endpoint = an_endpoint(session)
        old = endpoint.secret
        service.rotate_secret(session, endpoint.project_id, endpoint.id, is_old_kept=True, now=NOW)
        assert service.secrets_at(endpoint, later(3600)) == [endpoint.secret, old]
        assert service.secrets_at(endpoint, later(25 * 3600)) == [endpoint.secret]
        service.rotate_secret(session, endpoint.project_id, endpoint.id, is_old_kept=False, now=NOW)
        assert service.secrets_at(endpoint, NOW) == [endpoint.secret]


def test_a_sample_waits_for_no_request_that_is_under_way(ledger: Ledger) -> None:
    with ledger.write() as session:
        endpoint, _ = an_endpoint(session), end_a_job(session)
        outbox.take(session, limit=8)
    with pytest.raises(Conflict, match="is under way"), ledger.write() as session:
        outbox.hold_for_test(session, get_endpoint(session, endpoint.project_id, endpoint.id), EVENT_TYPES[0])


def test_what_ended_long_ago_is_forgotten_and_what_waits_is_kept(ledger: Ledger) -> None:
    with ledger.write() as session:
        an_endpoint(session)
        end_a_job(session)
        end_a_job(session)
        (letter,) = outbox.take(session, limit=1)
        outbox.note_sent(session, letter, status=200, error=None)
        session.execute(update(WebhookDelivery).where(WebhookDelivery.id == letter.delivery_id).values(ended_at=later(-10)))
        outbox.forget_ended(session, before=NOW)
    assert [delivery.state for delivery in deliveries(ledger)] == ["waiting"]
