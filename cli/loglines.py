"""The parts' log lines, as a person at a terminal reads them: `05:13:31 worker.announced queue=train`.

The parts write JSON, one object a line, which is what a log collector wants; `serve` turns it only where a terminal is looking.
A line that is none of ours stays as it is.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson

LEFT_OUT = {"event", "level", "timestamp", "logger", "queue", "process", "exception"}
"""Fields that stand elsewhere in the line, or that the part's name says already."""
QUIET = ("request.answered",)
"""Lines of every request: worth keeping in a file, not worth a person's screen unless something went wrong."""


def render(line: bytes) -> bytes | None:
    """Turn one line; None when a terminal need not see it."""
    try:
        told = orjson.loads(line)
    except orjson.JSONDecodeError:
        return line
    if not isinstance(told, dict) or "event" not in told:
        return line
    status = told.get("status")
    if told["event"] in QUIET and not (isinstance(status, int) and status >= 500):
        return None
    return _compose(told).encode(errors="replace") + b"\n"


def behind_name(line: bytes) -> str | None:
    """Turn a line of `serve`'s own output, where a part's name stands before its line; None when nobody need see it."""
    name, stroke, rest = line.decode(errors="replace").partition(" │ ")
    shown = render(rest.encode()) if stroke else line
    return None if shown is None else name * bool(stroke) + stroke + shown.decode(errors="replace").rstrip("\n")


def _compose(told: dict[str, Any]) -> str:
    level = told.get("level", "info")
    fields = " ".join(f"{name}={value}" for name, value in told.items() if name not in LEFT_OUT and value is not None)
    words = [_clock(told.get("timestamp")), "" if level == "info" else level.upper(), str(told["event"]), fields]
    text = " ".join(word for word in words if word)
    return text + ("\n" + str(told["exception"]) if told.get("exception") else "")


def _clock(stamp: Any) -> str:
    try:
        return datetime.fromisoformat(str(stamp)).astimezone().strftime("%H:%M:%S")
    except (ValueError, OverflowError):
        return ""
