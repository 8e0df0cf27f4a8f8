"""Endpoints: create, change, delete, and give one a new secret."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from core.errors import LimitReached
from core.ids import new_id
from core.names import check_name
from core.projects.repository import lock_project
from core.webhooks.addresses import check_url
from core.webhooks.models import WebhookEndpoint
from core.webhooks.repository import count_endpoints, get_endpoint
from core.webhooks.signing import new_secret

MOST_ENDPOINTS = 32
"""Of one project."""
OLD_SECRET_LIFE = timedelta(hours=24)


def create_endpoint(session: Session, project_id: str, *, name: str, url: str, event_types: Sequence[str],
                    is_private_allowed: bool, now: datetime) -> WebhookEndpoint:
    """Add an endpoint with a new secret; raise InvalidValue for a name that is none or an address nothing may be sent to."""
    check_name("webhook endpoint", name, param="name")
    check_url(url, is_private_allowed=is_private_allowed)
    lock_project(session, project_id)
    if count_endpoints(session, project_id) >= MOST_ENDPOINTS:
        raise LimitReached(f"the project has {MOST_ENDPOINTS} webhook endpoints, the most that it may have; delete one first",
                           retry_after_seconds=None)
    endpoint = WebhookEndpoint(id=new_id("webhook_endpoint"), project_id=project_id, name=name, url=url,
                               event_types=_each_once(event_types), secret=new_secret(), created_at=now, updated_at=now)
    session.add(endpoint)
    session.flush()
    return endpoint


def update_endpoint(session: Session, project_id: str, endpoint_id: str, *, name: str | None, url: str | None,
                    event_types: Sequence[str] | None, is_private_allowed: bool, now: datetime) -> WebhookEndpoint:
    """Change what is named; what waits for the endpoint goes to its new address."""
    endpoint = get_endpoint(session, project_id, endpoint_id)
    if name is not None:
        check_name("webhook endpoint", name, param="name")
    if url is not None:
        check_url(url, is_private_allowed=is_private_allowed)
    before = (endpoint.name, endpoint.url, endpoint.event_types)
    endpoint.name, endpoint.url = name or endpoint.name, url or endpoint.url
    endpoint.event_types = _each_once(event_types) if event_types else endpoint.event_types
    if (endpoint.name, endpoint.url, endpoint.event_types) != before:
        endpoint.updated_at = now
    session.flush()
    return endpoint


def rotate_secret(session: Session, project_id: str, endpoint_id: str, *, is_old_kept: bool, now: datetime) -> WebhookEndpoint:
    """Give an endpoint a new secret; the old one signs beside it for 24 hours if it is kept."""
    endpoint = get_endpoint(session, project_id, endpoint_id)
    endpoint.old_secret = endpoint.secret if is_old_kept else None
    endpoint.old_secret_until = now + OLD_SECRET_LIFE if is_old_kept else None
    endpoint.secret, endpoint.updated_at = new_secret(), now
    session.flush()
    return endpoint


def delete_endpoint(session: Session, project_id: str, endpoint_id: str) -> None:
    """Drop an endpoint; its deliveries go with it, by their foreign key."""
    session.delete(get_endpoint(session, project_id, endpoint_id))
    session.flush()


def secrets_at(endpoint: WebhookEndpoint, now: datetime) -> list[str]:
    """What a delivery is signed with, the newest first."""
    is_old_valid = endpoint.old_secret is not None and endpoint.old_secret_until is not None and now < endpoint.old_secret_until
    return [endpoint.secret, *([endpoint.old_secret] if is_old_valid and endpoint.old_secret else [])]


def _each_once(event_types: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(event_types))
