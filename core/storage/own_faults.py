"""Faults of this host's own: a full disk, no descriptors left, a file that it may not or cannot read.

They say nothing of what the storage holds, so they are told apart from damage: whoever meets one tries again, here or at
another host, and drops nothing.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from core.errors import Unavailable

FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def own_faults(doing: str) -> Iterator[None]:
    """Raise Unavailable for what the system refuses meanwhile; its code tells a full disk from all else."""
    try:
        yield
    except OSError as error:
        code, hint = ("insufficient_storage", "make room on its disk") if error.errno in FULL else (
            "host_fault", "see to its disk and to the limits of its processes")
        raise Unavailable(f"this host cannot {doing} ({error.strerror or error}), which says nothing of what is stored; {hint}",
                          code=code, retry_after_seconds=30.0) from error
