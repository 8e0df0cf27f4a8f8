"""What lies in storage is looked for in the ledger by its key."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

KEYS = (("runs", "folder_key"), ("checkpoints", "folder_key"), ("files", "storage_key"))


def upgrade() -> None:
    for table, key in KEYS:
        op.create_index(f"ix_{table}_{key}", table, [key])


def downgrade() -> None:
    for table, key in KEYS:
        op.drop_index(f"ix_{table}_{key}", table)
