"""Versions of one file, as they were before versions had shards, brought over with what was known of them."""

from __future__ import annotations

from alembic import command
from sqlalchemy import Connection, text

from core.datasets.models import DatasetVersion
from core.db.migrate import alembic_config, migrate
from core.db.session import Ledger, build_engine

BEFORE = "0004"
AT = "2026-11-24 05:00:00+00:00"


def at(connection: Connection, revision: str, *, is_down: bool = False) -> None:
    config = alembic_config()
    config.attributes["connection"] = connection
    (command.downgrade if is_down else command.upgrade)(config, revision)


def insert(connection: Connection, table: str, **values: object) -> None:
    names = ", ".join(f'"{name}"' for name in values)
    connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({', '.join(f':{name}' for name in values)})"), values)


def old_rows(connection: Connection) -> None:
    """A data set with a version that is ready, one that is being indexed and one that failed, on one file."""
    insert(connection, "projects", id="proj_1", name="p", organization_id="org_1", created_at=AT)
    insert(connection, "files", id="file-1", project_id="proj_1", filename="chats.jsonl", purpose="fine-tune", bytes=70,
           sha256="ab", storage_key="files/file-1", created_at=AT)
    insert(connection, "datasets", id="ds_1", project_id="proj_1", name="chats", is_implicit=False, created_at=AT)
    common = {"dataset_id": "ds_1", "file_id": "file-1", "bytes": 70, "progress_bytes": 0, "created_at": AT}
    insert(connection, "dataset_versions", id="dsv_1", number=1, status="ready", row_format="chat", index_key="indexes/dsv_1",
           digest="cd", rows=5, faulty_rows=1, report='{"rows": 5}', ready_at=AT, **common)
    insert(connection, "dataset_versions", id="dsv_2", number=2, status="indexing", **common)
    insert(connection, "dataset_versions", id="dsv_3", number=3, status="failed", error='{"code": "x"}', **common)


def test_each_version_becomes_one_of_a_single_shard(empty_database_url: str):
    engine = build_engine(empty_database_url, durability="FULL", pool_size=1)
    with engine.begin() as connection:
        at(connection, BEFORE)
        old_rows(connection)
    engine.dispose()
    migrate(empty_database_url)
    ledger = Ledger(empty_database_url)
    with ledger.read() as session:
        versions = [session.get_one(DatasetVersion, f"dsv_{number}") for number in (1, 2, 3)]
        ready = versions[0].shards[0]
        assert [(len(v.shards), v.file_id, v.is_listed, v.status) for v in versions] == [
            (1, "file-1", True, "ready"), (1, "file-1", True, "indexing"), (1, "file-1", True, "failed")]
        assert [v.shards[0].is_indexed for v in versions] == [True, False, False]
        assert (ready.name, ready.index_key, ready.kind, ready.digest) == ("chats.jsonl", "indexes/dsv_1", "lines", "cd")
        assert (ready.rows, ready.faulty_rows, ready.bytes, versions[0].report) == (5, 1, 70, {"rows": 5})
        assert versions[1].shards[0].index_key == "indexes/dsv_2"
    ledger.close()


def test_the_way_back_keeps_versions_of_one_file(empty_database_url: str):
    engine = build_engine(empty_database_url, durability="FULL", pool_size=1)
    with engine.begin() as connection:
        at(connection, BEFORE)
        old_rows(connection)
        at(connection, "0005")
        insert(connection, "dataset_versions", id="dsv_4", dataset_id="ds_1", number=4, status="ready", bytes=9,
               progress_bytes=9, is_listed=True, created_at=AT)
        at(connection, BEFORE, is_down=True)
        found = connection.execute(text("SELECT id, index_key, file_id FROM dataset_versions ORDER BY number")).all()
    engine.dispose()
    assert [tuple(row) for row in found] == [("dsv_1", "indexes/dsv_1", "file-1"), ("dsv_2", None, "file-1"),
                                             ("dsv_3", None, "file-1")]
