"""Quotas of projects and keys; which key uploaded a file; forecasts with what came of them, and measured speeds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from core.db.base import UtcDateTime

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

TEXT, NUMBER, REAL = sa.String(), sa.BigInteger(), sa.Double()


def upgrade() -> None:
    op.add_column("files", sa.Column("key_id", TEXT, nullable=True))
    op.create_table(
        "quotas",
        sa.Column("subject", TEXT, nullable=False),
        sa.Column("limits", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("subject", name="pk_quotas"),
    )
    op.create_table(
        "forecasts",
        sa.Column("job_id", TEXT, nullable=False),
        sa.Column("what", TEXT, nullable=False),
        sa.Column("made_at", UtcDateTime(), nullable=False),
        sa.Column("predicted_at", UtcDateTime(), nullable=True),
        sa.Column("actual_at", UtcDateTime(), nullable=True),
        sa.Column("error", REAL, nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_forecasts_job_id_jobs"),
        sa.PrimaryKeyConstraint("job_id", "what", "made_at", name="pk_forecasts"),
    )
    op.create_index("ix_forecasts_what_actual_at", "forecasts", ["what", "actual_at"])
    op.create_table(
        "run_speeds",
        sa.Column("run_id", TEXT, nullable=False),
        sa.Column("model", TEXT, nullable=False),
        sa.Column("device", TEXT, nullable=False),
        sa.Column("devices", NUMBER, nullable=False),
        sa.Column("tokens", NUMBER, nullable=False),
        sa.Column("row_bytes", REAL, nullable=False),
        sa.Column("train_seconds", REAL, nullable=False),
        sa.Column("load_seconds", REAL, nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_run_speeds_run_id_runs"),
        sa.PrimaryKeyConstraint("run_id", name="pk_run_speeds"),
    )
    op.create_index("ix_run_speeds_model_device_devices_ended_at", "run_speeds", ["model", "device", "devices", "ended_at"])


def downgrade() -> None:
    for table in ("run_speeds", "forecasts", "quotas"):
        op.drop_table(table)
    op.drop_column("files", "key_id")
