"""How an error crosses from process to process: as the nearest class that the tree in `core.errors` holds."""

from __future__ import annotations

import orjson

from core import errors
from core.errors import HeadraceError, RunInterrupted


def told_as(error: HeadraceError) -> bytes:
    """An error as the header of a block."""
    kind = next(each.__name__ for each in type(error).__mro__ if getattr(errors, each.__name__, None) is each)
    return orjson.dumps({"kind": kind, "message": error.message, "code": error.code, "param": error.param})


def told_error(header: bytes | memoryview) -> HeadraceError:
    """The error that a process met, of the same kind; a kind that is not in the one tree is told as interrupted."""
    told = orjson.loads(header)
    kind = getattr(errors, told["kind"], RunInterrupted)
    return kind(told["message"], code=told["code"], param=told["param"])
