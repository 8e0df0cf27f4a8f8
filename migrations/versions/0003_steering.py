"""Changes of a job's mixture, what each step was trained on, and what a checkpoint has seen."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TEXT, NUMBER, DOCUMENT, TIME, BYTES = sa.String(), sa.BigInteger(), sa.JSON(), sa.DateTime(timezone=True), sa.LargeBinary()


def upgrade() -> None:
    op.create_table(
        "mixture_changes",
        sa.Column("job_id", TEXT, nullable=False),
        sa.Column("number", NUMBER, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("from_step", NUMBER, nullable=True),
        sa.Column("body", DOCUMENT, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("held_at", TIME, nullable=True),
        sa.Column("created_by", TEXT, nullable=True),
        sa.Column("error", DOCUMENT, nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_mixture_changes_job_id_jobs"),
        sa.PrimaryKeyConstraint("job_id", "number", name="pk_mixture_changes"),
    )
    op.create_table(
        "step_rows",
        sa.Column("job_id", TEXT, nullable=False),
        sa.Column("step", NUMBER, nullable=False),
        sa.Column("digest", TEXT, nullable=False),
        sa.Column("losses", BYTES, nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_step_rows_job_id_jobs"),
        sa.PrimaryKeyConstraint("job_id", "step", name="pk_step_rows"),
    )
    op.add_column("checkpoints", sa.Column("seen", DOCUMENT, nullable=True))


def downgrade() -> None:
    op.drop_column("checkpoints", "seen")
    op.drop_table("step_rows")
    op.drop_table("mixture_changes")
