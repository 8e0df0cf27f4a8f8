"""The outbox: what happened is written down with it, taken under a hold, and tried until it arrives or is given up.

An event is told at least once: a sender that dies with a request under way leaves the delivery waiting, and whoever follows
sends it again under the same id. An endpoint is held while a request to it is under way, so there is never more than one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete
from sqlalchemy.orm import Session

from core.db.session import database_now
from core.errors import Conflict
from core.ids import new_id
from core.webhooks.events import event_body, type_of_end
from core.webhooks.models import WebhookDelivery, WebhookEndpoint
from core.webhooks.repository import due_endpoints, endpoints_of, first_due
from core.webhooks.service import secrets_at
from core.webhooks.signing import signed_headers

HOLD = timedelta(seconds=20)
"""Twice what a request may take."""
WAITS_SECONDS = (5, 30, 120, 600, 3600, 6 * 3600, 12 * 3600, 24 * 3600)
"""Before the second try, the third …; after the last one, some 47 hours after the first, it is given up."""
MOST_OF_PROJECT = 3
"""Endpoints of one project that requests are under way to: those of others have their turn whoever is slow."""


@dataclass(frozen=True)
class Letter:
    """One request, ready to be sent."""

    delivery_id: str
    endpoint_id: str
    event_id: str
    url: str
    body: bytes
    headers: Mapping[str, str]
    held_until: datetime
    """The hold that it is sent under; a later one is another's."""


def note_end(session: Session, project_id: str, job_id: str, state: str, *, now: datetime) -> None:
    """Write down for each endpoint that wants to know it how a job ended; part of the transaction that ends it."""
    event_type, event_id = type_of_end(state), new_id("event")
    wanting = [endpoint for endpoint in endpoints_of(session, project_id) if event_type in endpoint.event_types]
    if not wanting:
        return
    body, due_at = event_body(event_id, event_type, job_id, at=now).decode(), database_now(session)
    for endpoint in wanting:
        session.add(WebhookDelivery(id=new_id("delivery"), endpoint_id=endpoint.id, event_id=event_id, event_type=event_type,
                                    body=body, state="waiting", attempts=0, due_at=due_at, created_at=now))
    session.flush()


def take(session: Session, *, limit: int) -> list[Letter]:
    """Hold up to `limit` endpoints that something is due for, and give the oldest of each."""
    now = database_now(session)
    endpoints = due_endpoints(session, now=now, limit=limit, most_of_project=MOST_OF_PROJECT)
    letters = [_take_from(session, endpoint, now) for endpoint in endpoints]
    return [letter for letter in letters if letter is not None]


def note_sent(session: Session, letter: Letter, *, status: int | None, error: str | None) -> bool:
    """Let the endpoint go, and write down what came of a request; give whether it has arrived: an answer of 200 to 299."""
    release(session, letter)
    delivery, now = session.get(WebhookDelivery, letter.delivery_id, populate_existing=True), database_now(session)
    if delivery is None or delivery.state != "waiting":  # the endpoint was deleted, or another sender was told first
        return False
    has_arrived = status is not None and 200 <= status < 300
    delivery.last_status = status
    delivery.last_error = None if has_arrived else (error or f"the endpoint answered {status}")
    if has_arrived:
        delivery.state, delivery.ended_at = "delivered", now
    elif delivery.attempts > len(WAITS_SECONDS):
        delivery.state, delivery.ended_at = "given_up", now
    else:
        delivery.due_at = now + timedelta(seconds=WAITS_SECONDS[delivery.attempts - 1])
    session.flush()
    return has_arrived


def take_next(session: Session, letter: Letter) -> Letter | None:
    """Hold the endpoint of a letter again for what is due there next; None when nothing is, or another holds it."""
    endpoint, now = _locked(session, letter.endpoint_id), database_now(session)
    return _take_from(session, endpoint, now) if endpoint is not None and not _is_held(endpoint, now) else None


def hold_for_test(session: Session, endpoint: WebhookEndpoint, event_type: str) -> Letter:
    """Hold an endpoint for a sample event, which is in no outbox; raise Conflict while a request to it is under way."""
    session.refresh(endpoint, with_for_update={"key_share": True})
    now = database_now(session)
    if _is_held(endpoint, now):
        raise Conflict(f"a request to webhook endpoint {endpoint.id} is under way; try again in a few seconds")
    endpoint.held_until = now + HOLD
    event_id = new_id("event")
    sample = WebhookDelivery(id="", event_id=event_id, body=event_body(event_id, event_type, "ftjob-sample", at=now).decode())
    session.flush()
    return _letter(endpoint, sample, now=now)


def release(session: Session, letter: Letter) -> None:
    """Let an endpoint go, unless it is gone, or the hold lapsed and is another's now."""
    found = _locked(session, letter.endpoint_id)
    if found is not None and found.held_until == letter.held_until:
        found.held_until = database_now(session)
        session.flush()


def forget_ended(session: Session, *, before: datetime) -> None:
    """Drop what was delivered or given up long ago."""
    session.execute(delete(WebhookDelivery).where(WebhookDelivery.ended_at < before))


def _locked(session: Session, endpoint_id: str) -> WebhookEndpoint | None:
    return session.get(WebhookEndpoint, endpoint_id, with_for_update={"key_share": True}, populate_existing=True)


def _is_held(endpoint: WebhookEndpoint, now: datetime) -> bool:
    return endpoint.held_until is not None and endpoint.held_until > now


def _take_from(session: Session, endpoint: WebhookEndpoint, now: datetime) -> Letter | None:
    """Hold an endpoint for the delivery that has been due there longest."""
    delivery = first_due(session, endpoint.id, now=now)
    if delivery is None:
        return None
    endpoint.held_until, delivery.attempts, delivery.due_at = now + HOLD, delivery.attempts + 1, now + HOLD
    session.flush()
    return _letter(endpoint, delivery, now=now)


def _letter(endpoint: WebhookEndpoint, delivery: WebhookDelivery, *, now: datetime) -> Letter:
    body = delivery.body.encode()
    headers = signed_headers(delivery.event_id, body, secrets_at(endpoint, now), now=now)
    return Letter(delivery.id, endpoint.id, delivery.event_id, endpoint.url, body, headers, now + HOLD)
