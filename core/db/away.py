"""What it looks like when the database is out of reach, or asks to be tried again, which is never taken for an answer."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

PASSING = ("25006", "25P03", "25P04")
"""PostgreSQL's states that pass and that its driver does not count as operational: a standby that will only be read until it is
promoted, and transactions that the server ended for their length."""


def is_database_away(error: BaseException) -> bool:
    """Say whether the same statement may do better later.

    True for connections that are refused or break, locks and answers waited for in vain, deadlocks, a disk that is full or
    does not read. False for what the database said about the statement, its values or its own files: a constraint, a column
    that is not there, a text that is no number, a file that is no database."""
    if isinstance(error, DBAPIError):
        is_operational = isinstance(error, (OperationalError, InterfaceError)) or error.connection_invalidated
        return is_operational or getattr(error.orig, "sqlstate", None) in PASSING
    return isinstance(error, (DisconnectionError, PoolTimeout))
