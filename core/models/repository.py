"""What is asked of models."""

from __future__ import annotations

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from core.checkpoints.models import Checkpoint
from core.checkpoints.repository import SHOWN
from core.errors import NotFound, shown
from core.jobs.models import Job
from core.jobs.states import UNFINISHED
from core.models.models import Model
from core.models.names import CheckpointName, job_prefix_of, tuned_name
from core.projects.models import Project


def find_model(session: Session, project_id: str | None, name: str) -> Model | None:
    """A base model, or a fine-tuned one of the project, that was not deleted."""
    is_seen = or_(Model.kind == "base", Model.project_id == project_id)
    return session.scalar(select(Model).where(Model.name == name, is_seen, Model.deleted_at.is_(None)))


def find_tuned(session: Session, project_id: str, name: str) -> Model | None:
    """A fine-tuned model of the project, deleted or not."""
    return session.scalar(select(Model).where(Model.name == name, Model.project_id == project_id))


def models_of(session: Session, project_id: str) -> list[Model]:
    """Base models first, then the project's own, each by age."""
    is_seen = or_(Model.kind == "base", Model.project_id == project_id)
    query = select(Model).where(is_seen, Model.deleted_at.is_(None)).order_by(Model.kind, Model.created_at, Model.name)
    return list(session.scalars(query))


def not_on_the_list(name: str) -> NotFound:
    return NotFound(f"model {shown(name)} is not known here; see GET /v1/models for those that are",
                    code="model_not_found", param="model")


def job_that_makes(session: Session, project_id: str, model: str) -> Job | None:
    """The project's job whose model has, or will have, this name."""
    prefix = job_prefix_of(model)
    query = select(Job).where(Job.project_id == project_id, func.substr(Job.id, 1, len(prefix)) == prefix)
    return next((job for job in session.scalars(query) if model_name_of(session, job) == model), None)


def model_name_of(session: Session, job: Job) -> str:
    """The name that the job's model has when it is done; its checkpoints are named after it before."""
    if job.fine_tuned_model is not None:
        return job.fine_tuned_model
    project = session.get_one(Project, job.project_id)
    return tuned_name(base=base_name_of(session, job.project_id, job.model), organization_id=project.organization_id,
                      suffix=job.spec.get("suffix"), job_id=job.id)


def base_name_of(session: Session, project_id: str, name: str) -> str:
    """The base under a model's name, deleted models included, since their jobs' names stay."""
    model = session.get(Model, name.partition(":ckpt-step-")[0])
    if model is not None:
        return model.base_model or model.name
    return name.split(":")[1] if name.startswith("ft:") else name


def checkpoint_called(session: Session, project_id: str, named: CheckpointName) -> tuple[Job, Checkpoint] | None:
    """The shown checkpoint of that name, whatever became of the model of its job."""
    job = job_that_makes(session, project_id, named.model)
    if job is None:
        return None
    query = select(Checkpoint).where(Checkpoint.job_id == job.id, Checkpoint.step == named.step,
                                     Checkpoint.kind.in_(SHOWN), Checkpoint.deleted_at.is_(None))
    checkpoint = session.scalar(query.order_by(Checkpoint.created_at.desc()).limit(1))
    return None if checkpoint is None else (job, checkpoint)


def is_deleted(session: Session, name: str) -> bool:
    model = session.get(Model, name)
    return model is not None and model.deleted_at is not None


def unfinished_jobs_under(session: Session, base: str) -> list[str]:
    """Unfinished jobs, of any project, that train on this base model or on one made from it."""
    tuned = select(Model.name).where(Model.base_model == base)
    is_under = or_(Job.model == base, Job.model.in_(tuned), Job.model.startswith(f"ft:{base}:", autoescape=True))
    query = select(Job.id).where(Job.state.in_(UNFINISHED), is_under)
    return list(session.scalars(query.order_by(Job.created_at)))
