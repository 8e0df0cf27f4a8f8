"""/v1/webhook_endpoints: addresses of a project's that are told how its jobs ended. As OpenAI has it; deliveries are ours."""

from __future__ import annotations

from fastapi import APIRouter

from api.bodies import JsonRoute
from api.deps import InTurn, PartsDep, TenantDep
from api.paging import MOST, After, Limit, ListObject, page_of
from api.schemas.webhooks import (
    DeliveryObject,
    EndpointCreate,
    EndpointDeleted,
    EndpointObject,
    EndpointTest,
    EndpointUpdate,
    EndpointWithSecret,
    EventTypeList,
    SecretRotate,
    TestResult,
)
from core.errors import RequestError
from core.webhooks import outbox, service
from core.webhooks.repository import get_endpoint, page_of_deliveries, page_of_endpoints
from core.webhooks.sending import Unsent, send

router = APIRouter(tags=["webhooks"], route_class=JsonRoute)

PATH = "/webhook_endpoints"
PAGE = 20


@router.post(PATH)
def create(asked: EndpointCreate, tenant: TenantDep, parts: PartsDep) -> EndpointWithSecret:
    """Create an endpoint. Its signing secret is in this answer, and never shown again."""
    with parts.ledger.write() as session:
        endpoint = service.create_endpoint(
            session, tenant.project_id, name=asked.name, url=asked.url, event_types=asked.event_types,
            is_private_allowed=parts.settings.private_webhooks, now=parts.clock())
        return EndpointWithSecret.of(endpoint)


@router.get(PATH)
def list_all(tenant: TenantDep, parts: PartsDep, after: After = None, limit: Limit = PAGE) -> ListObject[EndpointObject]:
    """List endpoints, newest first."""
    with parts.ledger.read() as session:
        page = page_of_endpoints(session, tenant.project_id, after=after, limit=min(limit, MOST))
        return page_of(page, EndpointObject.of)


@router.get(PATH + "/{endpoint_id}")
def retrieve(endpoint_id: str, tenant: TenantDep, parts: PartsDep) -> EndpointObject:
    """Retrieve an endpoint."""
    with parts.ledger.read() as session:
        return EndpointObject.of(get_endpoint(session, tenant.project_id, endpoint_id))


@router.post(PATH + "/{endpoint_id}")
def update(endpoint_id: str, asked: EndpointUpdate, tenant: TenantDep, parts: PartsDep) -> EndpointObject:
    """Change what is named of an endpoint; what waits for it goes to its new address."""
    with parts.ledger.write() as session:
        endpoint = service.update_endpoint(
            session, tenant.project_id, endpoint_id, name=asked.name, url=asked.url, event_types=asked.event_types,
            is_private_allowed=parts.settings.private_webhooks, now=parts.clock())
        return EndpointObject.of(endpoint)


@router.delete(PATH + "/{endpoint_id}")
def delete(endpoint_id: str, tenant: TenantDep, parts: PartsDep) -> EndpointDeleted:
    """Delete an endpoint, with all that waits for it."""
    with parts.ledger.write() as session:
        service.delete_endpoint(session, tenant.project_id, endpoint_id)
    return EndpointDeleted(id=endpoint_id)


@router.post(PATH + "/{endpoint_id}/rotate_secret")
def rotate_secret(endpoint_id: str, asked: SecretRotate, tenant: TenantDep, parts: PartsDep) -> EndpointWithSecret:
    """Give an endpoint a new signing secret; if asked, the old one signs beside it for 24 hours."""
    with parts.ledger.write() as session:
        is_old_kept = asked.keep_old_secret_active_for_24_hours
        return EndpointWithSecret.of(service.rotate_secret(session, tenant.project_id, endpoint_id, is_old_kept=is_old_kept,
                                                           now=parts.clock()))


@router.post(PATH + "/{endpoint_id}/test", dependencies=[InTurn])
def test(endpoint_id: str, asked: EndpointTest, tenant: TenantDep, parts: PartsDep) -> TestResult:
    """Send a sample event now, once, and tell what the endpoint answered."""
    with parts.ledger.write() as session:
        letter = outbox.hold_for_test(session, get_endpoint(session, tenant.project_id, endpoint_id), asked.event_type)
    try:
        status = send(letter.url, letter.body, letter.headers, is_private_allowed=parts.settings.private_webhooks)
    except Unsent as unsent:
        raise RequestError(f"webhook endpoint {endpoint_id} was not reached: {unsent.cause}; see that it listens where its url "
                           "says, and try again", code="webhook_unreachable") from unsent
    finally:
        with parts.ledger.write() as session:
            outbox.release(session, letter)
    return TestResult(webhook_endpoint_id=endpoint_id, event_type=asked.event_type, status_code=status)


@router.get(PATH + "/{endpoint_id}/deliveries")
def deliveries(endpoint_id: str, tenant: TenantDep, parts: PartsDep, after: After = None,
               limit: Limit = PAGE) -> ListObject[DeliveryObject]:
    """List what an endpoint was told and is to be told, newest first: tries, the last answer, when the next try is due."""
    with parts.ledger.read() as session:
        endpoint = get_endpoint(session, tenant.project_id, endpoint_id)
        page = page_of_deliveries(session, endpoint, after=after, limit=min(limit, MOST))
        return page_of(page, DeliveryObject.of)


@router.get("/webhook_event_types")
def event_types(_tenant: TenantDep) -> EventTypeList:
    """List the types of events that an endpoint may ask for."""
    return EventTypeList()
