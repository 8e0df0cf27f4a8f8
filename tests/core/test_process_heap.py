from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, threading
from core.process_heap import share_heap

if {is_shared}:
    share_heap()
barrier, kept = threading.Barrier(5), []

def allocate():
    kept.append(bytes(2000))  # beyond what Python's own allocator serves
    barrier.wait()

for _ in range(4):
    threading.Thread(target=allocate).start()
barrier.wait()
libc = ctypes.CDLL(None)
libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
libc.fflush(None)
"""


@pytest.mark.parametrize(("is_shared", "is_one"), [(True, True), (False, False)])
def test_threads_share_one_heap(is_shared: bool, is_one: bool) -> None:
    program = PROGRAM.format(is_shared=is_shared)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout.count("<heap nr=") == 1) is is_one
