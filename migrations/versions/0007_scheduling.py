"""Shares of projects and what they used; what jobs need and wait for; which key asked."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TEXT, NUMBER, REAL, TIME = sa.String(), sa.BigInteger(), sa.Double(), sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("projects", sa.Column("weight", REAL, nullable=False, server_default="1"))
    op.add_column("projects", sa.Column("max_priority", NUMBER, nullable=False, server_default="100"))
    op.add_column("jobs", sa.Column("key_id", TEXT, nullable=True))
    op.add_column("jobs", sa.Column("memory_bytes", NUMBER, nullable=True))
    op.add_column("jobs", sa.Column("blocked_at", TIME, nullable=True))
    op.add_column("jobs", sa.Column("held_host", TEXT, nullable=True))
    op.add_column("jobs", sa.Column("promised_at", TIME, nullable=True))
    op.add_column("jobs", sa.Column("preemptions", NUMBER, nullable=False, server_default="0"))
    op.add_column("runs", sa.Column("devices", NUMBER, nullable=False, server_default="1"))
    op.add_column("runs", sa.Column("noted_until", TIME, nullable=True))
    op.create_index("ix_jobs_waiting", "jobs", ["state", "project_id", "priority", "queued_at", "id"])
    op.create_table(
        "device_use",
        sa.Column("project_id", TEXT, nullable=False),
        sa.Column("begins_at", TIME, nullable=False),
        sa.Column("key_id", TEXT, nullable=False),
        sa.Column("device_seconds", REAL, nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_device_use_project_id_projects"),
        sa.PrimaryKeyConstraint("project_id", "begins_at", "key_id", name="pk_device_use"),
    )
    op.create_table(
        "recent_use",
        sa.Column("project_id", TEXT, nullable=False),
        sa.Column("device_seconds", REAL, nullable=False),
        sa.Column("noted_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_recent_use_project_id_projects"),
        sa.PrimaryKeyConstraint("project_id", name="pk_recent_use"),
    )


def downgrade() -> None:
    op.drop_table("recent_use")
    op.drop_table("device_use")
    op.drop_index("ix_jobs_waiting", "jobs")
    for column in ("noted_until", "devices"):
        op.drop_column("runs", column)
    for column in ("preemptions", "promised_at", "held_host", "blocked_at", "memory_bytes", "key_id"):
        op.drop_column("jobs", column)
    for column in ("max_priority", "weight"):
        op.drop_column("projects", column)
