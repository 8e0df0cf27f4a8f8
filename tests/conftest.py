"""Fixtures that any test may take."""

from tests.database import (
    database_url,
    empty_database_url,
    empty_postgres_url,
    ledger,
    postgres_database,
    postgres_server,
    postgres_url,
    sqlite_ledger,
    sqlite_template,
    sqlite_url,
)

__all__ = [
    "database_url", "empty_database_url", "empty_postgres_url", "ledger", "postgres_database", "postgres_server",
    "postgres_url", "sqlite_ledger", "sqlite_template", "sqlite_url",
]
