"""A process that dies with the one that made it, however that one dies.

The kernel sends KILL when the *thread* that made the process ends (PR_SET_PDEATHSIG): make such processes from a thread that
lives as long as they do. What they make in turn has to ask for itself.
"""

from __future__ import annotations

import ctypes
import os
import signal

PR_SET_PDEATHSIG = 1

LIBC = ctypes.CDLL(None, use_errno=True)
"""Loaded before any fork: between fork and exec nothing may be looked up."""


def die_with_parent(parent: int) -> bool:
    """Ask to be killed when `parent` dies; False when it has died already. May be called between fork and exec."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    return os.getppid() == parent
