"""What is asked of projects and keys."""

from __future__ import annotations

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from core.errors import NotFound, shown
from core.projects.models import ApiKey, Project


def find_project(session: Session, name: str) -> Project | None:
    return session.scalar(select(Project).where(Project.name == name))


def get_project(session: Session, project_id: str) -> Project:
    project = session.get(Project, project_id)
    if project is None:
        raise NotFound(f"no project {shown(project_id)}; make one with a key by `headrace keys create NAME --project P`")
    return project


def lock_project(session: Session, project_id: str) -> Project:
    """Let one transaction at a time decide over a project: limits, names, repeated requests. Inserts that point at it go on."""
    query = select(Project).where(Project.id == project_id).with_for_update(key_share=True)
    project = session.scalar(query.execution_options(populate_existing=True))
    return project or get_project(session, project_id)


def find_key_by_digest(session: Session, digest: str) -> tuple[ApiKey, Project | None] | None:
    query = select(ApiKey, Project).outerjoin(Project, ApiKey.project_id == Project.id).where(ApiKey.digest == digest)
    found = session.execute(query).one_or_none()
    return None if found is None else (found[0], found[1])


def keys_named(session: Session, key_id_or_name: str) -> list[ApiKey]:
    """Keys in use with that id or name."""
    query = select(ApiKey).where(or_(ApiKey.id == key_id_or_name, ApiKey.name == key_id_or_name), ApiKey.revoked_at.is_(None))
    return list(session.scalars(query))
