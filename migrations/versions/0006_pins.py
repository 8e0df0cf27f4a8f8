"""Checkpoints that are pinned stay."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from core.db.base import UtcDateTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("checkpoints", sa.Column("pinned_at", UtcDateTime(), nullable=True))


def downgrade() -> None:
    op.drop_column("checkpoints", "pinned_at")
