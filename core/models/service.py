"""Models: the operator's list of base models, and what jobs made of them.

A client names a model three ways: a base model's name, a fine-tuned model's, or a checkpoint's. `resolve_base` turns each
into the base to load and the checkpoint to begin from. A model that is deleted is gone for whoever names it from then on; a job
that was taken in before goes on with it (`resolve_base_of`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from core.checkpoints.models import Checkpoint
from core.errors import Conflict, Forbidden, IllegalMove, NotFound, first_few, number_of, shown
from core.jobs.models import Job
from core.models.models import Model
from core.models.names import check_base_name, parse_checkpoint_name
from core.models.repository import (
    base_name_of,
    checkpoint_called,
    find_model,
    find_tuned,
    is_deleted,
    model_name_of,
    models_of,
    not_on_the_list,
    unfinished_jobs_under,
)
from core.projects.models import Project

OWNER = "headrace"
"""`owned_by` of base models."""


@dataclass(frozen=True)
class ResolvedModel:
    base: Model
    checkpoint: Checkpoint | None
    """Begin with this checkpoint's adapter; None begins with the base model alone."""


def add_base_model(session: Session, *, name: str, folder: str, digest: str, facts: dict[str, Any], now: datetime) -> Model:
    """Put a base model on the list. The same name and digest again changes its folder; another digest is refused."""
    check_base_name(name)
    known = session.get(Model, name)
    if known is not None and known.deleted_at is None and known.digest != digest:
        raise Conflict(f"model {shown(name)} is on the list with other contents (digest {shown(known.digest)}, given "
                       f"{shown(digest)}); remove it first, or choose another name")
    model = known or Model(name=name, kind="base", owned_by=OWNER, created_at=now)
    model.folder, model.digest, model.facts = folder, digest, facts
    if model.deleted_at is not None:
        model.deleted_at, model.created_at = None, now
    session.add(model)
    session.flush()
    return model


def remove_base_model(session: Session, name: str, *, now: datetime) -> Model:
    """Take a base model off the list; refused, with the jobs named, while unfinished jobs train on it. Its files stay."""
    model = find_model(session, None, name)
    if model is None or model.kind != "base":
        raise NotFound(f"no base model {shown(name)} is on the list; see `headrace models list`", code="model_not_found")
    jobs = unfinished_jobs_under(session, name)
    if jobs:
        raise IllegalMove(f"model {shown(name)} is used by {number_of(len(jobs), 'unfinished job')} "
                          f"({first_few(jobs)}); wait for them or cancel them", code="model_in_use")
    model.deleted_at = now
    session.flush()
    return model


def list_models(session: Session, project_id: str) -> list[Model]:
    return models_of(session, project_id)


def get_model(session: Session, project_id: str, name: str) -> Model:
    """Give a model by name; a checkpoint's name gives a Model that is in no table, shaped like the one it leads to."""
    model, named = find_model(session, project_id, name), parse_checkpoint_name(name)
    if model is None and named is not None and not is_deleted(session, named.model):
        model = _of_checkpoint(session, project_id, name)
    if model is None:
        raise not_on_the_list(name)
    return model


def delete_model(session: Session, project_id: str, name: str, *, now: datetime) -> Model:
    """Delete a fine-tuned model of the project: gone for new jobs at once; those on it go on, its job and result file stay."""
    model = find_model(session, project_id, name)
    if model is None:
        raise not_on_the_list(name)
    if model.kind == "base":
        raise Forbidden(f"{shown(name)} is a base model; only the operator removes those, by `headrace models remove`")
    model.deleted_at = now
    session.flush()
    return model


def resolve_base(session: Session, project_id: str, name: str) -> ResolvedModel:
    """Tell what to load for `name`; raise NotFound (model_not_found) when it, or the base under it, is gone."""
    return _to_load(session, get_model(session, project_id, name))


def resolve_base_of(session: Session, job: Job) -> ResolvedModel:
    """The same for a job that was taken in: what it began with is its base for as long as it lasts, deleted or not."""
    made = find_tuned(session, job.project_id, job.model) or _of_checkpoint(session, job.project_id, job.model)
    return _to_load(session, made or get_model(session, job.project_id, job.model))


def add_tuned_model(session: Session, job: Job, checkpoint: Checkpoint, *, now: datetime) -> Model:
    """Put what a job made on its project's list."""
    project = session.get_one(Project, job.project_id)
    model = Model(name=model_name_of(session, job), kind="fine_tuned", project_id=job.project_id,
                  owned_by=project.organization_id, base_model=base_name_of(session, job.project_id, job.model), job_id=job.id,
                  checkpoint_id=checkpoint.id, created_at=now)
    session.add(model)
    session.flush()
    return model


def _of_checkpoint(session: Session, project_id: str, name: str) -> Model | None:
    """A Model that is in no table, for a checkpoint's name."""
    named = parse_checkpoint_name(name)
    found = checkpoint_called(session, project_id, named) if named else None
    if found is None:
        return None
    job, checkpoint = found
    project = session.get_one(Project, job.project_id)
    return Model(name=name, kind="fine_tuned", project_id=job.project_id, owned_by=project.organization_id,
                 base_model=base_name_of(session, job.project_id, job.model), job_id=job.id, checkpoint_id=checkpoint.id,
                 created_at=checkpoint.created_at)


def _to_load(session: Session, model: Model) -> ResolvedModel:
    if model.kind == "base":
        return ResolvedModel(model, None)
    base = find_model(session, model.project_id, model.base_model or "")
    checkpoint = session.get(Checkpoint, model.checkpoint_id) if model.checkpoint_id else None
    if base is None or checkpoint is None:
        raise NotFound(f"model {shown(model.name)} was made from {shown(model.base_model)}, which is not on the list any more; "
                       "ask the operator to add it again", code="model_not_found", param="model")
    return ResolvedModel(base, checkpoint)


__all__ = [
    "ResolvedModel", "add_base_model", "add_tuned_model", "delete_model", "get_model", "list_models", "model_name_of",
    "remove_base_model", "resolve_base", "resolve_base_of",
]
