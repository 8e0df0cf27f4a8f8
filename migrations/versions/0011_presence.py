"""What each worker found on its host, and why it takes no job; stored limits on a run's seconds that no calendar
holds become the longest."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

MOST_RUN_SECONDS = 10 * 365 * 24 * 3600


def upgrade() -> None:
    op.add_column("workers", sa.Column("devices", sa.JSON(), nullable=True))
    op.add_column("workers", sa.Column("refusal", sa.String(), nullable=True))
    bound_run_seconds(op.get_bind())


def downgrade() -> None:
    op.drop_column("workers", "refusal")
    op.drop_column("workers", "devices")


def bound_run_seconds(connection: sa.Connection) -> None:
    jobs = sa.table("jobs", sa.column("id", sa.String()), sa.column("spec", sa.JSON()))
    asked = jobs.c.spec["options"]["max_run_seconds"].as_float()
    for job_id, spec in connection.execute(sa.select(jobs.c.id, jobs.c.spec).where(asked > MOST_RUN_SECONDS)).all():
        options = {**spec["options"], "max_run_seconds": MOST_RUN_SECONDS}
        connection.execute(sa.update(jobs).where(jobs.c.id == job_id).values(spec={**spec, "options": options}))
