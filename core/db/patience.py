"""How long one end of a connection to PostgreSQL waits for the other; `core/db/postgres.py` sees to it."""

from __future__ import annotations

from dataclasses import dataclass

LEAST_SECONDS = 5.0
MOST_SECONDS = 60.0


@dataclass(frozen=True)
class Patience:
    hold_seconds: float = 10.0
    """For a transaction that writes and says nothing, and for a lock that another one keeps."""
    answer_seconds: float = MOST_SECONDS
    """For a statement; more than any of ours takes."""

    @classmethod
    def within(cls, lease_seconds: float) -> Patience:
        """Give up on a silent connection early enough to renew a lease by another one."""
        return cls(answer_seconds=min(max(lease_seconds / 2, LEAST_SECONDS), MOST_SECONDS))


PATIENCE = Patience()
