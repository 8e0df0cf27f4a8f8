"""The one tree of errors.

    HeadraceError
    ├── RequestError            what a client sent cannot be taken as it is
    │   ├── InvalidValue        a field's value is out of its range, of another type, or unknown
    │   ├── NotFound            no such thing, or not the caller's
    │   ├── IllegalMove         the thing's state does not allow the action
    │   ├── TooLarge            more bytes than the limit
    │   └── Conflict            another request holds what this one needs; worth no automatic retry
    ├── NotAuthenticated        no key, or one that is not known
    ├── Forbidden               a known caller, an action that is not theirs
    ├── LimitReached            a quota or a rate; carries when to try again, if that is known
    ├── Unavailable             a part of the server is away for the moment
    │   └── StorageAway         the store that files lie in does not answer; nothing is known of what it holds
    ├── DataError               rows that cannot be trained on; names file and line
    ├── RunError                a run ended badly
    │   ├── RunRejected         the user's data or settings are the cause: no retry
    │   ├── OutOfMemory         the device's memory is the cause: retry with less
    │   └── RunInterrupted      the infrastructure is the cause: retry from the last checkpoint
    ├── LeaseLost               the writer no longer holds what it writes under
    └── ConfigurationError      the operator's settings or folders; ends the command that met it

To add one: put it under the branch whose answer it shares, give it a `code` that never changes, and write the message
as thing, value found, what was expected, what to do. Nothing here knows HTTP; `api/errors.py` maps the branches.
Each error survives pickling: its arguments are its state.
"""

from __future__ import annotations

from collections.abc import Sequence


class HeadraceError(Exception):
    """The root. `message` ends with the hint; `code` is stable; `param` is the dotted path of the field at fault."""

    code = "server_error"

    def __init__(self, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.param = param

    def __reduce__(self):
        return (_rebuild, (type(self), dict(self.__dict__)))


def _rebuild(kind: type[HeadraceError], state: dict) -> HeadraceError:
    error = kind.__new__(kind)
    Exception.__init__(error, state["message"])
    error.__dict__.update(state)
    return error


class RequestError(HeadraceError):
    code = "invalid_request"


class InvalidValue(RequestError):
    code = "invalid_value"


class NotFound(RequestError):
    code = "not_found"


class IllegalMove(RequestError):
    code = "invalid_state"


class TooLarge(RequestError):
    code = "too_large"


class Conflict(RequestError):
    code = "conflict"


class NotAuthenticated(HeadraceError):
    code = "invalid_api_key"


class Forbidden(HeadraceError):
    code = "forbidden"


class LimitReached(HeadraceError):
    code = "rate_limit_exceeded"

    def __init__(self, message: str, *, retry_after_seconds: float | None = 1.0, code: str | None = None,
                 param: str | None = None) -> None:
        super().__init__(message, code=code, param=param)
        self.retry_after_seconds = retry_after_seconds


class Unavailable(HeadraceError):
    code = "unavailable"

    def __init__(self, message: str, *, retry_after_seconds: float = 2.0, code: str | None = None,
                 param: str | None = None) -> None:
        super().__init__(message, code=code, param=param)
        self.retry_after_seconds = retry_after_seconds


class StorageAway(Unavailable):
    code = "storage_unavailable"


class DataError(HeadraceError):
    code = "invalid_training_file"


class RunError(HeadraceError):
    code = "run_error"


class RunRejected(RunError):
    code = "run_rejected"


class OutOfMemory(RunError):
    code = "out_of_memory"


class RunInterrupted(RunError):
    code = "run_interrupted"


class LeaseLost(HeadraceError):
    code = "lease_lost"


class ConfigurationError(HeadraceError):
    code = "configuration"


SHOWN_CHARACTERS = 80
"""A value shown in a message is escaped and cut here, so that no message carries a row or a page."""
SHOWN_NAMES = 5


def shown(value: object) -> str:
    """Show a client's value in a message: escaped, cut, never a number that is not finite."""
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return "a number that is not finite"
    text = ascii(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def number_of(many: int, one: str, more: str = "") -> str:
    """Say how many of a thing: "1 faulty row", "1,200 faulty rows"; `more` is the plural where no "s" makes it."""
    return f"{many:,} {one if many == 1 else more or f'{one}s'}"


def first_few(ids: Sequence[str]) -> str:
    """Name the first few of many in a message."""
    return ", ".join(ids[:SHOWN_NAMES]) + (", …" if len(ids) > SHOWN_NAMES else "")
