"""Webhooks: addresses that want to hear how jobs ended, and the outbox of what they are to be told."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from core.db.base import Base


class WebhookEndpoint(Base):
    """An address of a project's, and the secret that what goes there is signed with."""

    __tablename__ = "webhook_endpoints"

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), index=True)
    name: Mapped[str]
    url: Mapped[str]
    event_types: Mapped[list[Any]]
    secret: Mapped[str]
    """Readable, since each delivery is signed anew; shown to clients once, at creation and rotation."""
    old_secret: Mapped[str | None]
    """Signs beside the new one until `old_secret_until`."""
    old_secret_until: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    held_until: Mapped[datetime | None]
    """While a request to it is under way, which at most one is, whoever sends; then when it was let go. By the database's
    clock."""


class WebhookDelivery(Base):
    """One event that one endpoint is to be told; written in the transaction in which it happened."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (Index("ix_webhook_deliveries_state_due_at", "state", "due_at"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    endpoint_id: Mapped[str] = mapped_column(ForeignKey("webhook_endpoints.id", ondelete="CASCADE"), index=True)
    event_id: Mapped[str]
    """The same for all endpoints and all tries, so that a receiver knows what it has seen."""
    event_type: Mapped[str]
    body: Mapped[str]
    """What is sent, to the byte."""
    state: Mapped[str]
    """waiting, delivered or given_up."""
    attempts: Mapped[int]
    due_at: Mapped[datetime]
    """The next try of a waiting one."""
    last_status: Mapped[int | None]
    last_error: Mapped[str | None]
    """Why the last try came to nothing, in words."""
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
