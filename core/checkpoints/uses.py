"""Who needs a checkpoint: the model that was made of it, and unfinished jobs that begin with its adapter, by its own name or by
the model's, even if that was deleted since.

A job that has ended needs none: an adapter that was trained on from another is whole by itself.
"""

from __future__ import annotations

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from core.checkpoints.models import Checkpoint
from core.jobs.models import Job
from core.jobs.states import UNFINISHED
from core.models.models import Model
from core.models.names import checkpoint_name, parse_checkpoint_name
from core.models.repository import model_name_of


class Uses:
    """The uses of one job's checkpoints, read once."""

    def __init__(self, session: Session, job: Job) -> None:
        self._name = model_name_of(session, job)
        self._models = {m.checkpoint_id: m for m in session.scalars(
            select(Model).where(Model.job_id == job.id, Model.kind == "fine_tuned"))}
        is_named = or_(Job.model == self._name, Job.model.startswith(checkpoint_name(self._name, 0)[:-1], autoescape=True))
        self._jobs = session.execute(select(Job.id, Job.model).where(
            Job.project_id == job.project_id, Job.state.in_(UNFINISHED), is_named).order_by(Job.created_at)).all()

    def model(self, checkpoint: Checkpoint) -> str | None:
        """The name of the model that is made of it."""
        model = self._models.get(checkpoint.id)
        return model.name if model is not None and model.deleted_at is None else None

    def jobs(self, checkpoint: Checkpoint) -> list[str]:
        """Unfinished jobs that begin with it."""
        return [job_id for job_id, model in self._jobs if self._is_meant(model, checkpoint)]

    def is_used(self, checkpoint: Checkpoint) -> bool:
        return self.model(checkpoint) is not None or bool(self.jobs(checkpoint))

    def _is_meant(self, name: str, checkpoint: Checkpoint) -> bool:
        named = parse_checkpoint_name(name)
        return named.step == checkpoint.step if named else checkpoint.id in self._models
