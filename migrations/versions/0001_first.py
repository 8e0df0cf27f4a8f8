"""The first schema: projects, files, data sets, models, jobs and their runs, events, checkpoints, workers, devices, chores."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TEXT, NUMBER, TRUTH, DOCUMENT, TIME = sa.String(), sa.BigInteger(), sa.Boolean(), sa.JSON(), sa.DateTime(timezone=True)
"""Frozen here: a schema that was shipped does not follow the tables of a later release."""


def upgrade() -> None:
    op.create_table(
        "chores",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("subject", TEXT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("attempts", NUMBER, nullable=False),
        sa.Column("fence", NUMBER, nullable=False),
        sa.Column("holder", TEXT, nullable=True),
        sa.Column("lease_until", TIME, nullable=True),
        sa.Column("not_before", TIME, nullable=False),
        sa.Column("error", DOCUMENT, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_chores"),
        sa.UniqueConstraint("kind", "subject", name="uq_chores_kind_subject"),
    )
    op.create_index("ix_chores_state_not_before", "chores", ["state", "not_before"])
    op.create_table(
        "devices",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("host", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("ordinal", NUMBER, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("memory_bytes", NUMBER, nullable=False),
        sa.Column("run_id", TEXT, nullable=True),
        sa.Column("leased_at", TIME, nullable=True),
        sa.Column("seen_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_devices"),
        sa.UniqueConstraint("host", "kind", "ordinal", name="uq_devices_host_kind_ordinal"),
    )
    op.create_index("ix_devices_run_id", "devices", ["run_id"])
    op.create_table(
        "projects",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("organization_id", TEXT, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("served_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_projects"),
        sa.UniqueConstraint("name", name="uq_projects_name"),
        sa.UniqueConstraint("organization_id", name="uq_projects_organization_id"),
    )
    op.create_table(
        "role_leases",
        sa.Column("role", TEXT, nullable=False),
        sa.Column("holder", TEXT, nullable=False),
        sa.Column("fence", NUMBER, nullable=False),
        sa.Column("lease_until", TIME, nullable=False),
        sa.PrimaryKeyConstraint("role", name="pk_role_leases"),
    )
    op.create_table(
        "workers",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("host", TEXT, nullable=False),
        sa.Column("pid", NUMBER, nullable=False),
        sa.Column("queue", TEXT, nullable=False),
        sa.Column("version", TEXT, nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("seen_at", TIME, nullable=False),
        sa.Column("stopped_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_workers"),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("project_id", TEXT, nullable=True),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("prefix", TEXT, nullable=False),
        sa.Column("digest", TEXT, nullable=False),
        sa.Column("is_admin", TRUTH, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("last_used_at", TIME, nullable=True),
        sa.Column("revoked_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_api_keys_project_id_projects"),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.UniqueConstraint("digest", name="uq_api_keys_digest"),
    )
    op.create_index("ix_api_keys_project_id", "api_keys", ["project_id"])
    op.create_table(
        "datasets",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("project_id", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("is_implicit", TRUTH, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("deleted_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_datasets_project_id_projects"),
        sa.PrimaryKeyConstraint("id", name="pk_datasets"),
    )
    op.create_index("ix_datasets_project_id_created_at_id", "datasets", ["project_id", "created_at", "id"])
    op.create_table(
        "files",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("project_id", TEXT, nullable=False),
        sa.Column("filename", TEXT, nullable=False),
        sa.Column("purpose", TEXT, nullable=False),
        sa.Column("bytes", NUMBER, nullable=False),
        sa.Column("sha256", TEXT, nullable=False),
        sa.Column("storage_key", TEXT, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=True),
        sa.Column("deleted_at", TIME, nullable=True),
        sa.Column("purged_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_files_project_id_projects"),
        sa.PrimaryKeyConstraint("id", name="pk_files"),
    )
    op.create_index("ix_files_project_id_created_at_id", "files", ["project_id", "created_at", "id"])
    op.create_table(
        "idempotency_keys",
        sa.Column("project_id", TEXT, nullable=False),
        sa.Column("key", TEXT, nullable=False),
        sa.Column("request_digest", TEXT, nullable=False),
        sa.Column("object_id", TEXT, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_idempotency_keys_project_id_projects"),
        sa.PrimaryKeyConstraint("project_id", "key", name="pk_idempotency_keys"),
    )
    op.create_table(
        "models",
        sa.Column("name", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("project_id", TEXT, nullable=True),
        sa.Column("owned_by", TEXT, nullable=False),
        sa.Column("folder", TEXT, nullable=True),
        sa.Column("digest", TEXT, nullable=True),
        sa.Column("facts", DOCUMENT, nullable=True),
        sa.Column("base_model", TEXT, nullable=True),
        sa.Column("job_id", TEXT, nullable=True),
        sa.Column("checkpoint_id", TEXT, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("deleted_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_models_project_id_projects"),
        sa.PrimaryKeyConstraint("name", name="pk_models"),
    )
    op.create_index("ix_models_project_id", "models", ["project_id"])
    op.create_table(
        "dataset_versions",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("dataset_id", TEXT, nullable=False),
        sa.Column("number", NUMBER, nullable=False),
        sa.Column("file_id", TEXT, nullable=False),
        sa.Column("status", TEXT, nullable=False),
        sa.Column("row_format", TEXT, nullable=True),
        sa.Column("index_key", TEXT, nullable=True),
        sa.Column("digest", TEXT, nullable=True),
        sa.Column("rows", NUMBER, nullable=True),
        sa.Column("faulty_rows", NUMBER, nullable=True),
        sa.Column("bytes", NUMBER, nullable=False),
        sa.Column("report", DOCUMENT, nullable=True),
        sa.Column("progress_bytes", NUMBER, nullable=False),
        sa.Column("error", DOCUMENT, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("ready_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name="fk_dataset_versions_dataset_id_datasets"),
        sa.ForeignKeyConstraint(["file_id"], ["files.id"], name="fk_dataset_versions_file_id_files"),
        sa.PrimaryKeyConstraint("id", name="pk_dataset_versions"),
        sa.UniqueConstraint("dataset_id", "number", name="uq_dataset_versions_dataset_id_number"),
    )
    op.create_index("ix_dataset_versions_file_id", "dataset_versions", ["file_id"])
    op.create_table(
        "jobs",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("project_id", TEXT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("wanted", TEXT, nullable=True),
        sa.Column("spec", DOCUMENT, nullable=False),
        sa.Column("spec_version", NUMBER, nullable=False),
        sa.Column("model", TEXT, nullable=False),
        sa.Column("seed", NUMBER, nullable=False),
        sa.Column("priority", NUMBER, nullable=False),
        sa.Column("training_file_id", TEXT, nullable=True),
        sa.Column("validation_file_id", TEXT, nullable=True),
        sa.Column("sources", DOCUMENT, nullable=False),
        sa.Column("validation_version_id", TEXT, nullable=True),
        sa.Column("resolved", DOCUMENT, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("queued_at", TIME, nullable=True),
        sa.Column("started_at", TIME, nullable=True),
        sa.Column("finished_at", TIME, nullable=True),
        sa.Column("error", DOCUMENT, nullable=True),
        sa.Column("step", NUMBER, nullable=False),
        sa.Column("total_steps", NUMBER, nullable=True),
        sa.Column("progress", DOCUMENT, nullable=True),
        sa.Column("processed_tokens", NUMBER, nullable=False),
        sa.Column("trained_tokens", NUMBER, nullable=True),
        sa.Column("fine_tuned_model", TEXT, nullable=True),
        sa.Column("result_file_id", TEXT, nullable=True),
        sa.Column("last_event", NUMBER, nullable=False),
        sa.Column("fence", NUMBER, nullable=False),
        sa.Column("run_id", TEXT, nullable=True),
        sa.Column("attempts", NUMBER, nullable=False),
        sa.Column("failed_attempts", NUMBER, nullable=False),
        sa.Column("not_before", TIME, nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_jobs_project_id_projects"),
        sa.ForeignKeyConstraint(["training_file_id"], ["files.id"], name="fk_jobs_training_file_id_files"),
        sa.ForeignKeyConstraint(["validation_file_id"], ["files.id"], name="fk_jobs_validation_file_id_files"),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
    )
    op.create_index("ix_jobs_project_id_created_at_id", "jobs", ["project_id", "created_at", "id"])
    op.create_index("ix_jobs_state_priority_queued_at", "jobs", ["state", "priority", "queued_at"])
    op.create_index("ix_jobs_training_file_id", "jobs", ["training_file_id"])
    op.create_table(
        "events",
        sa.Column("job_id", TEXT, nullable=False),
        sa.Column("number", NUMBER, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("level", TEXT, nullable=False),
        sa.Column("type", TEXT, nullable=False),
        sa.Column("message", TEXT, nullable=False),
        sa.Column("data", DOCUMENT, nullable=True),
        sa.Column("step", NUMBER, nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_events_job_id_jobs"),
        sa.PrimaryKeyConstraint("job_id", "number", name="pk_events"),
        sa.UniqueConstraint("job_id", "step", name="uq_events_job_id_step"),
    )
    op.create_table(
        "runs",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("job_id", TEXT, nullable=False),
        sa.Column("attempt", NUMBER, nullable=False),
        sa.Column("fence", NUMBER, nullable=False),
        sa.Column("worker_id", TEXT, nullable=False),
        sa.Column("host", TEXT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("lease_until", TIME, nullable=False),
        sa.Column("renewals", NUMBER, nullable=False),
        sa.Column("folder_key", TEXT, nullable=False),
        sa.Column("from_step", NUMBER, nullable=False),
        sa.Column("last_step", NUMBER, nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("ended_at", TIME, nullable=True),
        sa.Column("outcome", TEXT, nullable=True),
        sa.Column("error", DOCUMENT, nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_runs_job_id_jobs"),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
        sa.UniqueConstraint("job_id", "attempt", name="uq_runs_job_id_attempt"),
    )
    op.create_index("ix_runs_job_id", "runs", ["job_id"])
    op.create_index("ix_runs_state_lease_until", "runs", ["state", "lease_until"])
    op.create_index("ix_runs_worker_id", "runs", ["worker_id"])
    op.create_table(
        "checkpoints",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("job_id", TEXT, nullable=False),
        sa.Column("run_id", TEXT, nullable=False),
        sa.Column("fence", NUMBER, nullable=False),
        sa.Column("step", NUMBER, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("folder_key", TEXT, nullable=False),
        sa.Column("manifest_digest", TEXT, nullable=False),
        sa.Column("bytes", NUMBER, nullable=False),
        sa.Column("position", DOCUMENT, nullable=False),
        sa.Column("metrics", DOCUMENT, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("deleted_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_checkpoints_job_id_jobs"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_checkpoints_run_id_runs"),
        sa.PrimaryKeyConstraint("id", name="pk_checkpoints"),
    )
    op.create_index("ix_checkpoints_job_id_step", "checkpoints", ["job_id", "step"])


def downgrade() -> None:
    op.drop_table("checkpoints")
    op.drop_table("runs")
    op.drop_table("events")
    op.drop_table("jobs")
    op.drop_table("dataset_versions")
    op.drop_table("models")
    op.drop_table("idempotency_keys")
    op.drop_table("files")
    op.drop_table("datasets")
    op.drop_table("api_keys")
    op.drop_table("workers")
    op.drop_table("role_leases")
    op.drop_table("projects")
    op.drop_table("devices")
    op.drop_table("chores")
