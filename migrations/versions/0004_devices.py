"""How many devices a job's runs hold."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("devices", sa.BigInteger(), nullable=False, server_default="1"))


def downgrade() -> None:
    op.drop_column("jobs", "devices")
