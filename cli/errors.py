"""What ends a command early, and the exit code that says how.

    0  done            1  the job failed, or was cancelled, or the server gave up
    2  refused: wrong usage, a server's 4xx, a home that is not there
"""

from __future__ import annotations

from core.errors import HeadraceError

OK = 0
JOB_FAILED = 1
REFUSED = 2


class CommandRefused(HeadraceError):
    """What was asked cannot be done as it stands; the message says what to do."""

    code = "refused"


class ApiRefused(CommandRefused):
    """The server's own words about a request."""

    def __init__(self, message: str, *, status: int, code: str | None, param: str | None) -> None:
        super().__init__(message, code=code, param=param)
        self.status = status


class ServerAway(HeadraceError):
    """Nobody answers at the address."""

    code = "server_away"
