"""How a control token's stand-in is spelled: in code points that no row may hold."""

from __future__ import annotations

_OPEN, _CLOSE = "\ufdda", "\ufddb"


def stand_in(number: int) -> str:
    """The stand-in of the control token with an id."""
    return f"{_OPEN}{number}{_CLOSE}"
