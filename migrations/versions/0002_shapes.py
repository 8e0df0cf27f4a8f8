"""What a user says of a version's rows: their shape and the mapping of their fields."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("dataset_versions") as table:
        table.add_column(sa.Column("asked_shape", sa.String(), nullable=True))
        table.add_column(sa.Column("columns", sa.JSON(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("dataset_versions") as table:
        table.drop_column("columns")
        table.drop_column("asked_shape")
