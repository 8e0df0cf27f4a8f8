"""A database of any earlier release, with a row in every table, is brought to this one's schema and read by its models."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Boolean, Column, Connection, DateTime, Float, Integer, LargeBinary, MetaData, select
from sqlalchemy.orm import Mapper
from sqlalchemy.types import JSON

from core.datasets.models import DatasetShard
from core.db.base import Base
from core.db.migrate import alembic_config, head_revision, migrate
from core.db.session import Ledger, build_engine
from core.db.tables import metadata

SCRIPTS = ScriptDirectory.from_config(alembic_config())
EARLIER = sorted({script.revision for script in SCRIPTS.walk_revisions()} - {head_revision()})
AT = datetime(2026, 11, 24, 5, tzinfo=UTC)
Row = dict[str, Any]


@pytest.mark.parametrize("revision", EARLIER)
def test_rows_of_every_table_come_over_from_an_earlier_schema(empty_database_url: str, revision: str) -> None:
    before = a_full_database(empty_database_url, revision)
    migrate(empty_database_url)
    ledger = Ledger(empty_database_url)
    with ledger.read() as session:
        for mapper in Base.registry.mappers:
            rows = [held_by(mapper, row) for row in session.scalars(select(mapper.class_))]
            told = before.get(str(mapper.local_table), {})
            assert bool(rows) >= bool(told)
            for row in rows:
                assert {**row, **{name: value for name, value in told.items() if name in row}} == row
                assert [c.name for c in mapper.local_table.c if not c.nullable and row[c.name] is None] == []
        assert session.scalars(select(DatasetShard.file_id)).one() == before["files"]["id"]
    ledger.close()


def test_every_table_of_the_first_release_is_there_still(empty_database_url: str) -> None:
    assert set(a_full_database(empty_database_url, EARLIER[0])) <= set(metadata.tables)


def held_by(mapper: Mapper[Any], row: object) -> Row:
    return {column.name: getattr(row, mapper.get_property_by_column(column).key) for column in mapper.local_table.c}


def a_full_database(url: str, revision: str) -> dict[str, Row]:
    """Make the schema as of the revision, and one row in each of its tables; give them by table."""
    engine = build_engine(url, durability="FULL", pool_size=1)
    with engine.begin() as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        rows = fill(connection)
    engine.dispose()
    return rows


def fill(connection: Connection) -> dict[str, Row]:
    schema = MetaData()
    schema.reflect(connection)
    rows: dict[str, Row] = {}
    for table in schema.sorted_tables:
        if table.name != "alembic_version":
            rows[table.name] = {column.name: value_of(column, rows) for column in table.c}
            connection.execute(table.insert(), rows[table.name])
    return rows


def value_of(column: Column[Any], rows: dict[str, Row]) -> Any:
    """A value that tells its column by itself; a foreign key names the row that is there."""
    for key in column.foreign_keys:
        return rows[key.column.table.name][key.column.name]
    kinds = {Boolean: True, DateTime: AT, JSON: {"of": str(column)}, LargeBinary: b"\x00\x01", Integer: 7, Float: 1.5}
    return next((value for kind, value in kinds.items() if isinstance(column.type, kind)), str(column))
