"""What is used of every quota: of a project and of each of its keys."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.projects.models import ApiKey, Project
from core.quotas.limits import NAMES, Name, Rules
from core.quotas.service import Subject, limits_of, used


@dataclass(frozen=True)
class Part:
    used: int
    limit: int | None


Spent = dict[Name, Part]


@dataclass(frozen=True)
class Used:
    """One project or one key."""

    subject: Subject
    spent: Spent
    keys: tuple[Used, ...] = ()
    """Of a project."""


def usage_of(session: Session, project: Project, *, rules: Rules, now: datetime) -> Used:
    """Count all that a project uses, and each key of it that is in use."""
    query = select(ApiKey).where(ApiKey.project_id == project.id, ApiKey.revoked_at.is_(None))
    found = session.scalars(query.order_by(ApiKey.created_at, ApiKey.id))
    keys = [Subject(project.id, project.name, key.id, key.name) for key in found]
    counted = tuple(Used(key, _spent(session, key, rules=rules, now=now)) for key in keys)
    whole = Subject(project.id, project.name)
    return Used(whole, _spent(session, whole, rules=rules, now=now), counted)


def all_usage(session: Session, *, rules: Rules, now: datetime) -> list[Used]:
    """Count for every project, oldest first."""
    projects = session.scalars(select(Project).order_by(Project.created_at, Project.id)).all()
    return [usage_of(session, project, rules=rules, now=now) for project in projects]


def _spent(session: Session, subject: Subject, *, rules: Rules, now: datetime) -> Spent:
    limits = limits_of(session, subject, rules)
    return {name: Part(used(session, subject, name, rules=rules, now=now), getattr(limits, name)) for name in NAMES}
