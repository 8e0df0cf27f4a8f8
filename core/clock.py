"""The time, as something that is passed in: tests turn it, the product reads it.

Leases and fences use the database's clock (`core.db.session.database_now`), since several hosts write under them; all that is
only shown to people uses this one.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Gives the present moment, aware, in UTC."""


def system_clock() -> datetime:
    return datetime.now(UTC)
