"""A run names the batch of reports that was written last."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("last_batch", sa.String(), nullable=True))


def downgrade() -> None:
    op.drop_column("runs", "last_batch")
