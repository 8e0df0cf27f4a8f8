"""A process that asked to die with its parent."""

from __future__ import annotations

import os
import subprocess
import sys

ASKS = "import os, sys; from core.parent import die_with_parent; print(die_with_parent(int(sys.argv[1])), flush=True)"
PARENT = f"""
import os, subprocess, sys
subprocess.Popen([sys.executable, "-c", {ASKS + "; input()"!r}, str(os.getpid())])
input()
"""


def test_one_whose_parent_is_another_by_now_is_told() -> None:
    for parent, is_there in ((os.getpid(), "True"), (os.getpid() + 1, "False")):
        done = subprocess.run([sys.executable, "-c", ASKS, str(parent)], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == is_there


def test_it_is_killed_with_its_parent() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    assert parent.stdout.readline() == "True\n"
    parent.kill()

    assert parent.stdout.read() == ""  # the pipe ends when the child, which holds it as well, is gone
    parent.wait()
