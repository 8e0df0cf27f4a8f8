"""Child processes of `headrace serve`: each dies with its parent, and speaks through it.

A child leads a session of its own, so that Ctrl-C in the terminal reaches the parent alone, which then stops all in order.
The kernel kills the child when the thread that made it dies (`core/parent.py`): make children from the main thread.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from cli.loglines import render
from core.lines import LineWriter, unbuffered
from core.parent import die_with_parent


def dies_with_parent() -> Callable[[], None]:
    """Give what a child runs before exec, so that no death of this process leaves it behind, a death just now included."""
    parent = os.getpid()

    def ask() -> None:
        if not die_with_parent(parent):
            os._exit(1)

    return ask


def start_child(command: Sequence[str], *, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a child whose standard output and error come as one pipe."""
    return subprocess.Popen(
        list(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=dict(environment),
        start_new_session=True, preexec_fn=dies_with_parent(),
    )


def signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    """Signal a child and what it started in its group; one that is gone needs none."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def state_of(pid: int) -> str:
    """Give the kernel's letter for what a process does: R, S, D, T (stopped by a signal), t (by a debugger), Z, … or nothing
    for one that is gone; see proc_pid_stat(5)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


class Speaker:
    """Passes children's lines on, each whole and behind its child's name. Their pipes are read whoever reads what is said."""

    def __init__(self, out: IO[bytes] | None = None) -> None:
        out = out or unbuffered(sys.stdout)
        self._is_terminal = out.isatty()
        self._lines = LineWriter(out, say_left_out=_left_out)

    def follow(self, name: str, pipe: IO[bytes]) -> None:
        """Pass on the lines of one child, in a thread, until it closes its end."""
        threading.Thread(target=self._pass_on, args=(name, pipe), name=f"lines of {name}", daemon=True).start()

    def say(self, name: str, text: str) -> None:
        self._lines.write(_behind(name, text.encode(errors="replace")))

    def close(self) -> None:
        """Let what was said be written, as far as somebody reads it."""
        self._lines.flush()

    def _pass_on(self, name: str, pipe: IO[bytes]) -> None:
        with pipe:
            for line in pipe:
                shown = render(line) if self._is_terminal else line
                if shown is not None:
                    self._lines.write(_behind(name, shown))


def _behind(name: str, line: bytes) -> bytes:
    return f"{name:<8} │ ".encode() + line.removesuffix(b"\n") + b"\n"


def _left_out(lines: int) -> bytes:
    return _behind("serve", f"{lines} lines were left out here: nobody read them".encode())
