"""What people may call a thing."""

from __future__ import annotations

from core.errors import InvalidValue, shown

MAX_NAME = 128


def check_name(thing: str, name: str, *, param: str | None = None) -> None:
    """Raise InvalidValue for a name of `thing` that is empty, too long, or would not show as what it is."""
    if not 0 < len(name.strip()) <= MAX_NAME or not name.isprintable():
        raise InvalidValue(f"{thing} name {shown(name)} is not usable; a name is 1 to {MAX_NAME} printable characters",
                           param=param)
