"""Times on the wire: whole Unix seconds."""

from __future__ import annotations

from datetime import datetime
from typing import overload


@overload
def unix(time: datetime) -> int: ...
@overload
def unix(time: None) -> None: ...
def unix(time: datetime | None) -> int | None:
    return None if time is None else int(time.timestamp())
