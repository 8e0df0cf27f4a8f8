"""Fixtures that any test may take, and how tests are shared out where several processes run them."""

import pytest

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


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log):
    """Give each process one test after the other, and all journeys to one of them, which begins with them: each journey starts
    many processes, and waits for them."""
    from xdist.scheduler import LoadScopeScheduling

    class JourneysInOne(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "journeys" if nodeid.startswith("tests/journeys/") else nodeid

    return JourneysInOne(config, log)
