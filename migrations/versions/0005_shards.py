"""A version of a data set is made of shards; each file that was a version becomes the only shard of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TEXT, NUMBER, TRUTH, REAL = sa.String(), sa.BigInteger(), sa.Boolean(), sa.Double()


def upgrade() -> None:
    connection = op.get_bind()
    olds = connection.execute(sa.text(
        "SELECT v.id, v.file_id, v.status, v.index_key, v.bytes, v.digest, v.rows, v.faulty_rows, f.filename "
        "FROM dataset_versions v JOIN files f ON f.id = v.file_id")).mappings().all()
    with op.batch_alter_table("dataset_versions") as table:
        table.alter_column("file_id", existing_type=TEXT, nullable=True)
        table.add_column(sa.Column("place", TEXT, nullable=True))
        table.add_column(sa.Column("pattern", TEXT, nullable=True))
        table.add_column(sa.Column("is_listed", TRUTH, nullable=False, server_default=sa.true()))
        table.add_column(sa.Column("same_as", NUMBER, nullable=True))
        table.drop_column("index_key")
    with op.batch_alter_table("dataset_versions") as table:
        table.alter_column("is_listed", existing_type=TRUTH, existing_nullable=False, server_default=None)
    shards = op.create_table(
        "dataset_shards",
        sa.Column("version_id", TEXT, nullable=False),
        sa.Column("number", NUMBER, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("file_id", TEXT, nullable=True),
        sa.Column("place", TEXT, nullable=True),
        sa.Column("path", TEXT, nullable=True),
        sa.Column("is_indexed", TRUTH, nullable=False),
        sa.Column("index_key", TEXT, nullable=False),
        sa.Column("frames_key", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=True),
        sa.Column("file_kind", TEXT, nullable=True),
        sa.Column("bytes", NUMBER, nullable=False),
        sa.Column("tag", TEXT, nullable=True),
        sa.Column("digest", TEXT, nullable=True),
        sa.Column("rows", NUMBER, nullable=True),
        sa.Column("faulty_rows", NUMBER, nullable=True),
        sa.Column("converted_bytes", NUMBER, nullable=True),
        sa.Column("seconds", REAL, nullable=True),
        sa.ForeignKeyConstraint(["file_id"], ["files.id"], name="fk_dataset_shards_file_id_files"),
        sa.ForeignKeyConstraint(["version_id"], ["dataset_versions.id"],
                                name="fk_dataset_shards_version_id_dataset_versions"),
        sa.PrimaryKeyConstraint("version_id", "number", name="pk_dataset_shards"),
    )
    op.create_index("ix_dataset_shards_file_id", "dataset_shards", ["file_id"])
    if olds:
        connection.execute(shards.insert(), [_shard(old) for old in olds])


def downgrade() -> None:
    with op.batch_alter_table("dataset_versions") as table:
        table.add_column(sa.Column("index_key", TEXT, nullable=True))
    op.execute(sa.text(
        "UPDATE dataset_versions SET index_key = (SELECT s.index_key FROM dataset_shards s "
        "WHERE s.version_id = dataset_versions.id AND s.number = 0) WHERE status = 'ready'"))
    op.drop_table("dataset_shards")
    op.execute(sa.text("DELETE FROM dataset_versions WHERE file_id IS NULL"))
    with op.batch_alter_table("dataset_versions") as table:
        for column in ("same_as", "is_listed", "pattern", "place"):
            table.drop_column(column)
        table.alter_column("file_id", existing_type=TEXT, nullable=False)


def _shard(old: sa.RowMapping) -> dict[str, object]:
    is_ready = old["status"] == "ready"
    return {
        "version_id": old["id"], "number": 0, "name": old["filename"], "file_id": old["file_id"], "place": None, "path": None,
        "is_indexed": is_ready, "index_key": old["index_key"] or f"indexes/{old['id']}", "frames_key": f"frames/{old['id']}",
        "kind": "lines" if is_ready else None, "file_kind": "jsonl" if is_ready else None, "bytes": old["bytes"], "tag": None,
        "digest": old["digest"], "rows": old["rows"], "faulty_rows": old["faulty_rows"], "converted_bytes": None,
        "seconds": None,
    }
