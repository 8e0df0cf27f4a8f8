"""Rows for tests: each function makes one thing, and all that it needs, and takes only what the test cares about."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from core.checkpoints import service as checkpoints
from core.checkpoints.models import Checkpoint
from core.datasets import service as datasets
from core.datasets.models import Dataset, DatasetVersion
from core.devices import service as devices
from core.devices.models import Device
from core.devices.service import FoundDevice
from core.events import service as events
from core.files import service as files
from core.files.models import StoredFile
from core.ids import new_id
from core.jobs import claims
from core.jobs import service as jobs
from core.jobs.claims import Claim
from core.jobs.models import Job
from core.jobs.moves import move
from core.models import service as models
from core.models.models import Model
from core.projects import service as projects
from core.projects.models import Project
from core.quotas.limits import NO_RULES, Rules
from core.specs.job import JobSpec
from core.storage.artifacts import file_key

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
"""The tests' present; `later` turns the clock."""
LEASE_SECONDS = 30.0
BASE = "tiny"
_moments = itertools.count()


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def next_moment() -> datetime:
    """Moments that differ, for things whose order matters."""
    return NOW + timedelta(milliseconds=next(_moments))


def a_project(session: Session, name: str = "acme") -> Project:
    return projects.find_or_create_project(session, name, now=NOW)


def a_file(session: Session, project: Project | None = None, *, purpose: str = "fine-tune", filename: str = "rows.jsonl",
           now: datetime | None = None) -> StoredFile:
    file_id = new_id("file")
    return files.record_file(session, project_id=(project or a_project(session)).id, file_id=file_id, filename=filename,
                             purpose=purpose, bytes=1000, sha256="0" * 64, storage_key=file_key(file_id),
                             now=now or next_moment())


def a_report(*, rows: int = 100, faulty: int = 0, **changes: Any) -> dict[str, Any]:
    """An index's report as JSON."""
    faults = [{"line": n + 1, "code": "wrong_field", "message": f"line {n + 1} has no field 'messages'"} for n in range(faulty)]
    return {"rows": rows, "faulty": faulty, "blank_lines": 0, "bytes": 1000, "sha256": "ab" * 32, "format": "chat",
            "layout": "jsonl", "faults": faults[:20], "fault_counts": {}, "lengths": {}, **changes}


def a_dataset(session: Session, project: Project | None = None, *, name: str = "chats", file: StoredFile | None = None,
              is_ready: bool = True, **report: Any) -> tuple[Dataset, DatasetVersion]:
    project = project or a_project(session)
    file = file or a_file(session, project)
    dataset, version = datasets.register(session, project.id, name=name, rows=datasets.Rows([file.id]), now=next_moment())
    return dataset, an_index(session, version, **report) if is_ready else version


def an_index(session: Session, version: DatasetVersion, **report: Any) -> DatasetVersion:
    """The end of indexing a version, each of whose files has the same report."""
    for shard in version.shards:
        if version.status == "indexing":
            datasets.settle_shard(session, version.id, shard.number, report=a_report(**report))
    return datasets.settle_index(session, version.id, report=a_report(**report), now=NOW)


def a_base_model(session: Session, name: str = BASE, **facts: Any) -> Model:
    told = {"context_length": 512, "has_chat_template": True, "tokenizer_digest": "t0k", **facts}
    return models.add_base_model(session, name=name, folder=f"/models/{name}", digest="b4se", facts=told, now=NOW)


def a_spec(**fields: Any) -> JobSpec:
    return JobSpec.model_validate({"model": BASE, **fields})


def a_job(session: Session, project: Project | None = None, *, now: datetime | None = None, rules: Rules = NO_RULES,
          key_id: str | None = None, **fields: Any) -> Job:
    """A job in validating_files, as it was just submitted."""
    project = project or a_project(session)
    if fields.get("model", BASE) == BASE:
        a_base_model(session)
    if "training_file" not in fields and "datasets" not in fields:
        fields["training_file"] = a_file(session, project).id
    return jobs.submit(session, project.id, a_spec(**fields), now=now or next_moment(), rules=rules, key_id=key_id)


def a_queued_job(session: Session, project: Project | None = None, *, total_steps: int = 12, queued_at: datetime | None = None,
                 **fields: Any) -> Job:
    job = a_job(session, project, **fields)
    resolved = {"n_epochs": 3, "batch_size": 4, "learning_rate_multiplier": 1.0, "total_steps": total_steps, "rows": 16}
    return move(session, job.id, "queued", code="job.queued", message="queued", now=NOW, resolved=resolved,
                total_steps=total_steps, queued_at=queued_at or next_moment())


def a_device(session: Session, host: str = "host", *, ordinal: int = 0) -> Device:
    return devices.announce(session, host, [FoundDevice("cuda", ordinal, "a card", 1 << 30)], now=NOW)[-1]


def a_claim(session: Session, *, worker_id: str = "wrk_1", now: datetime = NOW, devices: tuple[str, ...] = ()) -> Claim | None:
    return claims.claim_next(session, worker_id=worker_id, host="host", devices=devices, lease_seconds=LEASE_SECONDS, now=now)


def a_running_job(session: Session, project: Project | None = None, **fields: Any) -> Claim:
    """A job that a run holds; nothing else must be queued."""
    a_queued_job(session, project, **fields)
    claim = a_claim(session)
    assert claim is not None
    return claim


def a_step(step: int, **figures: Any) -> dict[str, Any]:
    """The figures of one step, as a run reports them."""
    return {"step": step, "total_steps": 12, "train_loss": 2.0 / step, "train_mean_token_accuracy": 0.5, "learning_rate": 1e-4,
            "epoch": step / 4, "tokens": 100, "trained_tokens": 60, "step_seconds": 0.5, "data_wait_seconds": 0.05, **figures}


def report_steps(session: Session, claim: Claim, *steps: int, now: datetime = NOW) -> int:
    return events.append_metrics(session, claim.job, [a_step(step) for step in steps], now=now)


def a_checkpoint(session: Session, claim: Claim, *, step: int = 4, kind: str = "listed") -> Checkpoint:
    return checkpoints.record(session, claim.job, claim.run, step=step, kind=kind, bytes=10, position={"step": step},
                              folder_key=f"{claim.run.folder_key}/checkpoints/step-{step}-{kind}", manifest_digest="d1",
                              metrics={}, now=next_moment())


def succeed(session: Session, claim: Claim, *, now: datetime = NOW) -> Job:
    """End a run well: its final checkpoint, then its settling."""
    a_checkpoint(session, claim, step=12, kind="final")
    return claims.settle(session, claim.run.id, claim.run.fence, "succeeded", now=now)
