"""Webhook endpoints on the wire, as OpenAI has them; the list of deliveries is ours."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StringConstraints

from api.paging import Entry
from api.schemas.times import unix
from core.webhooks.events import EVENT_TYPES, EventType
from core.webhooks.models import WebhookDelivery, WebhookEndpoint
from core.webhooks.signing import hint

Name = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Url = Annotated[str, StringConstraints(min_length=1, max_length=2048)]
EventTypes = Annotated[list[EventType], Field(min_length=1, max_length=64)]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class EndpointCreate(_Asked):
    name: Name
    url: Url
    event_types: EventTypes


class EndpointUpdate(_Asked):
    """What is absent stays as it is."""

    name: Name | None = None
    url: Url | None = None
    event_types: EventTypes | None = None


class SecretRotate(_Asked):
    keep_old_secret_active_for_24_hours: StrictBool = False


class EndpointTest(_Asked):
    event_type: EventType


class EndpointObject(Entry):
    object: Literal["webhook_endpoint"] = "webhook_endpoint"
    name: str
    url: str
    event_types: list[str]
    signing_secret_hint: str
    created_at: int
    updated_at: int

    @classmethod
    def of(cls, endpoint: WebhookEndpoint) -> EndpointObject:
        return cls(id=endpoint.id, name=endpoint.name, url=endpoint.url, event_types=endpoint.event_types,
                   signing_secret_hint=hint(endpoint.secret), created_at=unix(endpoint.created_at),
                   updated_at=unix(endpoint.updated_at))


class EndpointWithSecret(EndpointObject):
    signing_secret: str
    """Shown here and never again."""

    @classmethod
    def of(cls, endpoint: WebhookEndpoint) -> EndpointWithSecret:
        return cls(**EndpointObject.of(endpoint).model_dump(), signing_secret=endpoint.secret)


class EndpointDeleted(BaseModel):
    id: str
    object: Literal["webhook_endpoint.deleted"] = "webhook_endpoint.deleted"
    deleted: Literal[True] = True


class TestResult(BaseModel):
    object: Literal["webhook_endpoint.test"] = "webhook_endpoint.test"
    webhook_endpoint_id: str
    event_type: str
    status_code: int
    """What the endpoint answered."""
    success: Literal[True] = True
    """That it answered at all; otherwise there is an error instead of this."""


class EventTypeList(BaseModel):
    object: Literal["list"] = "list"
    data: list[str] = list(EVENT_TYPES)


class DeliveryObject(Entry):
    object: Literal["webhook_endpoint.delivery"] = "webhook_endpoint.delivery"
    event_id: str
    """The `webhook-id` of every try."""
    event_type: str
    status: Literal["waiting", "delivered", "given_up"]
    attempts: int
    last_status_code: int | None
    last_error: str | None
    """Why the last try came to nothing."""
    next_attempt_at: int | None
    created_at: int
    ended_at: int | None

    @classmethod
    def of(cls, delivery: WebhookDelivery) -> DeliveryObject:
        return cls(id=delivery.id, event_id=delivery.event_id, event_type=delivery.event_type,
                   status=delivery.state, attempts=delivery.attempts,  # pyright: ignore[reportArgumentType]
                   last_status_code=delivery.last_status, last_error=delivery.last_error,
                   next_attempt_at=unix(delivery.due_at) if delivery.state == "waiting" else None,
                   created_at=unix(delivery.created_at), ended_at=unix(delivery.ended_at))
