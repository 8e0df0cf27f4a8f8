"""One heap for all threads of a process that lives for weeks.

glibc gives threads heaps of their own, up to eight for each core, and what was freed in one is of no use to another: a server
of a dozen threads then keeps the highest need of each, one after the other, and seems to leak. Threads that mostly wait for a
database lose nothing by sharing (mallopt(3), M_ARENA_MAX).
"""

from __future__ import annotations

import ctypes

M_ARENA_MAX = -8
"""As `malloc.h` of glibc numbers it."""


def share_heap() -> None:
    """Let all threads that this process starts allocate from one heap. Without glibc nothing happens."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, 1)
