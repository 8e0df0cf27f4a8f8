"""What is asked of endpoints and of their outbox."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import exists, false, func, not_, or_, select
from sqlalchemy.orm import Session

from core.db.paging import Page, read_page
from core.errors import NotFound, shown
from core.webhooks.models import WebhookDelivery, WebhookEndpoint


def get_endpoint(session: Session, project_id: str, endpoint_id: str, *, param: str | None = None) -> WebhookEndpoint:
    mine = (WebhookEndpoint.id == endpoint_id, WebhookEndpoint.project_id == project_id)
    found = session.scalar(select(WebhookEndpoint).where(*mine))
    if found is None:
        raise NotFound(f"no webhook endpoint {shown(endpoint_id)} in this project; create one, or list yours with "
                       "GET /v1/webhook_endpoints", param=param)
    return found


def endpoints_of(session: Session, project_id: str) -> Sequence[WebhookEndpoint]:
    query = select(WebhookEndpoint).where(WebhookEndpoint.project_id == project_id)
    return session.scalars(query.order_by(WebhookEndpoint.id)).all()


def count_endpoints(session: Session, project_id: str) -> int:
    query = select(func.count()).select_from(WebhookEndpoint).where(WebhookEndpoint.project_id == project_id)
    return session.scalar(query) or 0


def page_of_endpoints(session: Session, project_id: str, *, after: str | None, limit: int) -> Page[WebhookEndpoint]:
    """Newest first."""
    seen = get_endpoint(session, project_id, after, param="after") if after is not None else None
    query = select(WebhookEndpoint).where(WebhookEndpoint.project_id == project_id)
    return read_page(session, query, table=WebhookEndpoint, after=seen, limit=limit)


def page_of_deliveries(session: Session, endpoint: WebhookEndpoint, *, after: str | None, limit: int) -> Page[WebhookDelivery]:
    """Newest first."""
    query = select(WebhookDelivery).where(WebhookDelivery.endpoint_id == endpoint.id)
    seen = session.scalar(query.where(WebhookDelivery.id == after)) if after is not None else None
    if after is not None and seen is None:
        raise NotFound(f"endpoint {endpoint.id} has no delivery {shown(after)}; list them without `after`", param="after")
    return read_page(session, query, table=WebhookDelivery, after=seen, limit=limit)


def due_endpoints(session: Session, *, now: datetime, limit: int, most_of_project: int) -> Sequence[WebhookEndpoint]:
    """Endpoints that something is due for and no request is under way to. Those of projects with the fewest under way come
    first, of those the ones that were let go longest ago; of a project only so many that with those under way it has
    `most_of_project`. Locked, those that others lock left out."""
    is_due = exists().where(WebhookDelivery.endpoint_id == WebhookEndpoint.id, *_due(now))
    is_held = func.coalesce(WebhookEndpoint.held_until > now, false())
    longest_ago = WebhookEndpoint.held_until.asc().nulls_first(), WebhookEndpoint.id
    place = func.row_number().over(partition_by=WebhookEndpoint.project_id, order_by=(is_held.desc(), *longest_ago))
    ranked = select(WebhookEndpoint.id, place.label("place")).where(or_(is_held, is_due)).subquery()
    query = select(WebhookEndpoint).join(ranked, ranked.c.id == WebhookEndpoint.id)
    query = query.where(not_(is_held), ranked.c.place <= most_of_project).order_by(ranked.c.place, *longest_ago).limit(limit)
    query = query.with_for_update(of=WebhookEndpoint, skip_locked=True, key_share=True)
    return session.scalars(query.execution_options(populate_existing=True)).all()


def first_due(session: Session, endpoint_id: str, *, now: datetime) -> WebhookDelivery | None:
    query = select(WebhookDelivery).where(WebhookDelivery.endpoint_id == endpoint_id, *_due(now))
    query = query.order_by(WebhookDelivery.due_at, WebhookDelivery.id).limit(1)
    return session.scalar(query.execution_options(populate_existing=True))


def is_any_due(session: Session, *, now: datetime) -> bool:
    return session.scalar(select(WebhookDelivery.id).where(*_due(now)).limit(1)) is not None


def _due(now: datetime):
    return WebhookDelivery.state == "waiting", WebhookDelivery.due_at <= now
