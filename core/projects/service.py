"""Projects and their keys: make, list, revoke, and tell who calls.

A secret is shown once and stored as its SHA-256; with 256 random bits, finding the digest's row is the comparison, and takes no
time that depends on a stored secret.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core.db.upsert import upsert
from core.errors import Conflict, InvalidValue, NotAuthenticated, NotFound, shown
from core.ids import new_id
from core.names import check_name
from core.projects.models import ApiKey, Project
from core.projects.repository import find_key_by_digest, find_project, get_project, keys_named

PREFIX = "hr-"
SHOWN_PREFIX = 8
"""Characters of a secret that lists show."""
LAST_USED_EVERY = timedelta(minutes=1)
MIN_WEIGHT, MAX_WEIGHT = 0.01, 1000.0
HIGHEST_PRIORITY = 100


@dataclass(frozen=True)
class Caller:
    """Who asks, as its key says."""

    key_id: str
    project_id: str | None
    """None for an admin key, which belongs to no project."""
    organization_id: str | None
    is_admin: bool


def find_or_create_project(session: Session, name: str, *, now: datetime) -> Project:
    """Give the project of that name; two callers at once get the same one."""
    check_name("project", name)
    values = {"id": new_id("project"), "name": name, "organization_id": new_id("organization"), "created_at": now}
    session.execute(upsert(session, Project).values(**values).on_conflict_do_nothing(index_elements=["name"]))
    project = find_project(session, name)
    assert project is not None
    return project


def list_projects(session: Session) -> list[Project]:
    """All projects, by name."""
    return list(session.scalars(select(Project).order_by(Project.name)))


def set_share(session: Session, name: str, *, weight: float | None = None, max_priority: int | None = None) -> Project:
    """Set a project's shares, and the highest priority that its jobs may ask for; what is None stays as it is."""
    project = find_project(session, name)
    if project is None:
        raise NotFound(f"no project {shown(name)}; see `headrace projects list`")
    if weight is not None and not MIN_WEIGHT <= weight <= MAX_WEIGHT:
        raise InvalidValue(f"weight {weight:g} of project {shown(name)} is not usable; a weight is a number from "
                           f"{MIN_WEIGHT:g} to {MAX_WEIGHT:g}, and 1 unless set", param="weight")
    if max_priority is not None and not -HIGHEST_PRIORITY <= max_priority <= HIGHEST_PRIORITY:
        raise InvalidValue(f"max_priority {max_priority} of project {shown(name)} is not a priority; priorities go from "
                           f"-{HIGHEST_PRIORITY} to {HIGHEST_PRIORITY}", param="max_priority")
    project.weight = project.weight if weight is None else weight
    project.max_priority = project.max_priority if max_priority is None else max_priority
    session.flush()
    return project


def check_priority(session: Session, project_id: str, priority: int) -> None:
    """Raise InvalidValue for a priority that the project may not ask for."""
    highest = get_project(session, project_id).max_priority
    if priority > highest:
        raise InvalidValue(f"priority {priority} is higher than the {highest} that this project may ask for; give at most "
                           "that, or ask the operator (`headrace projects set NAME --max-priority N`)", param="priority")


def create_key(session: Session, *, name: str, project: str | None, is_admin: bool, now: datetime) -> tuple[ApiKey, str]:
    """Make a key and give its secret, which nobody can read again. `project` is a name; it is made if it is not there."""
    check_name("key", name)
    if project is None and not is_admin:
        raise InvalidValue(f"key {shown(name)} names no project; give it one, or make it an admin key")
    owner = find_or_create_project(session, project, now=now) if project is not None else None
    secret = PREFIX + secrets.token_urlsafe(32)
    key = ApiKey(id=new_id("key"), project_id=owner.id if owner else None, name=name, prefix=secret[:SHOWN_PREFIX],
                 digest=digest_of(secret), is_admin=is_admin, created_at=now)
    session.add(key)
    session.flush()
    return key, secret


def authenticate(session: Session, secret: str, *, now: datetime) -> Caller:
    """Tell whose secret this is; raise NotAuthenticated for one that is unknown or revoked.

    Notes the use at most once a minute, so that most calls write nothing."""
    found = find_key_by_digest(session, digest_of(secret))
    if found is None or found[0].revoked_at is not None:
        raise NotAuthenticated("the API key is not known here; make one with `headrace keys create NAME --project P`")
    key, project = found
    if is_use_due(key, now):
        touch_key(session, key.id, now=now)
    return Caller(key.id, key.project_id, project.organization_id if project else None, key.is_admin)


def is_use_due(key: ApiKey, now: datetime) -> bool:
    return key.last_used_at is None or now - key.last_used_at >= LAST_USED_EVERY


def touch_key(session: Session, key_id: str, *, now: datetime) -> None:
    session.execute(update(ApiKey).where(ApiKey.id == key_id).values(last_used_at=now))


def list_keys(session: Session) -> list[ApiKey]:
    """All keys, oldest first, revoked ones too."""
    return list(session.scalars(select(ApiKey).order_by(ApiKey.created_at, ApiKey.id)))


def revoke_key(session: Session, key_id_or_name: str, *, now: datetime) -> ApiKey:
    """End a key at once. Raise Conflict when a name is shared by several."""
    found = keys_named(session, key_id_or_name)
    if not found:
        raise NotFound(f"no key {shown(key_id_or_name)} is in use; see `headrace keys list`")
    if len(found) > 1:
        ids = ", ".join(key.id for key in found)
        raise Conflict(f"{len(found)} keys are named {shown(key_id_or_name)} ({ids}); revoke one by its id")
    found[0].revoked_at = now
    session.flush()
    return found[0]


def digest_of(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


__all__ = [
    "Caller", "authenticate", "check_priority", "create_key", "digest_of", "find_or_create_project", "get_project",
    "is_use_due", "list_keys", "list_projects", "revoke_key", "set_share", "touch_key",
]
