"""What a body names and is not there: the request is at fault (400), where an id in the path would be not found (404)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from core.errors import InvalidValue, NotFound

CODES = {"training_file": "invalid_training_file", "validation_file": "invalid_validation_file"}


@contextmanager
def refusing_references() -> Iterator[None]:
    """Turn NotFound into InvalidValue with the field's own code; the message is the same for foreign and unknown ids."""
    try:
        yield
    except NotFound as error:
        raise InvalidValue(error.message, code=CODES.get(error.param or "", error.code), param=error.param) from None
