"""How tests wait: for what must come about, as long as a busy machine may need. How fast it comes is measured under bench/."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

PATIENCE_SECONDS = 180.0


def wait_for(look: Callable[[], T], words: str = "it did not come about", *, log: Path | None = None,
             seconds: float = PATIENCE_SECONDS) -> T:
    """Look until there is something; fail with `words`, and the end of the server's log, after so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{words} within {seconds:.0f} s\n{tail(log) if log else ''}")
        time.sleep(0.05)


def tail(path: Path, lines: int = 40) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ""
