"""Bring a database to the newest schema, once, also when several processes start together.

The whole upgrade is one transaction under a lock: on SQLite the database's only write lock, on PostgreSQL an advisory one
that ends with the transaction. Who comes second waits, then finds nothing to do. A kill in the middle leaves the old
schema.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from core.db.session import build_engine
from core.errors import ConfigurationError

ADVISORY_LOCK = 0x6865_6164_7261_6365
"""Ours among a PostgreSQL server's advisory locks: "headrace" in ASCII."""


def migrate(url: str) -> None:
    """Upgrade the database at `url` to the newest schema; does nothing when it is there already."""
    engine = build_engine(url, durability="FULL", pool_size=1)
    try:
        with engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
            upgrade(connection)
    finally:
        engine.dispose()


def upgrade(connection: Connection) -> None:
    """Upgrade within the caller's transaction."""
    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def current_revision(engine: Engine) -> str | None:
    """The schema that the database has; None for an empty one."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def head_revision() -> str:
    """The schema that this release needs."""
    head = ScriptDirectory.from_config(alembic_config()).get_current_head()
    assert head is not None
    return head


def is_current(engine: Engine) -> bool:
    return current_revision(engine) == head_revision()


def require_current(engine: Engine) -> None:
    """Raise ConfigurationError unless the database has this release's schema."""
    found, needed = current_revision(engine), head_revision()
    if found != needed:
        raise ConfigurationError(f"the database has schema {found or 'none'}, this release needs {needed}; "
                                 "run `headrace migrate`")


def alembic_config() -> Config:
    import migrations

    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent).replace("%", "%%"))
    return config
