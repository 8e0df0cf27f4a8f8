from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect

from core.db.migrate import alembic_config, current_revision, head_revision, is_current, migrate, require_current
from core.db.session import Ledger, build_engine
from core.db.tables import metadata
from core.errors import ConfigurationError
from tests.factories import a_running_job


def engine_of(url: str):
    return build_engine(url, durability="FULL", pool_size=2)


def test_migrated_tables_equal_the_models(empty_database_url: str):
    migrate(empty_database_url)
    engine = engine_of(empty_database_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_migrating_twice_is_no_change(empty_database_url: str):
    for _ in range(2):
        migrate(empty_database_url)
    engine = engine_of(empty_database_url)
    assert current_revision(engine) == head_revision()
    engine.dispose()


def test_starters_at_once_do_not_collide(empty_database_url: str):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(migrate, [empty_database_url] * 4))
    engine = engine_of(empty_database_url)
    assert is_current(engine)
    engine.dispose()


def test_empty_database_is_not_current_and_says_what_to_do(empty_database_url: str):
    engine = engine_of(empty_database_url)
    assert not is_current(engine)
    with pytest.raises(ConfigurationError, match=r"has schema none, this release needs .*; run `headrace migrate`"):
        require_current(engine)
    engine.dispose()


def test_migration_keeps_what_is_there(database_url: str):
    ledger = Ledger(database_url)
    with ledger.write() as session:
        job = a_running_job(session).job
    migrate(database_url)
    with ledger.read() as session:
        assert session.get_one(type(job), job.id).state == "running"
    ledger.close()


def test_first_schema_can_be_taken_back(empty_database_url: str):
    migrate(empty_database_url)
    engine = engine_of(empty_database_url)
    config = alembic_config()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    assert set(inspect(engine).get_table_names()) <= {"alembic_version"}
    engine.dispose()
