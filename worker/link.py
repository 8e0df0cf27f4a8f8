"""The link to a training child: its process group, its pipes, its log.

Reports come in on a descriptor of their own, commands go out on standard input, standard error is the run's log. The link
never blocks: what cannot be read or written now is left for the next turn of the supervisor's loop. The child sees no secret:
its environment is made from a short list. Start it from the thread that lives as long as it: it asks the kernel for a signal at
its parent's death, and the kernel means the thread.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import orjson

from core.logs import get_log
from worker.reports import Line, read_report
from worker.run_log import RunLog

log = get_log(__name__)

PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
PASSED_ON_PREFIXES = ("CUDA_", "NVIDIA_", "NCCL_", "PYTORCH_", "MKL_")
FIXED = {
    "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1",
    "PYTHONHASHSEED": "0", "OMP_WAIT_POLICY": "PASSIVE",
}
"""OMP_WAIT_POLICY: torch's threads sleep at a barrier, since spinning ones take the cores from each other and from all else."""
READ_BYTES = 65536
LINE_BYTES = 4 * 1024 * 1024
"""A report line longer than this is no report; the child that wrote it is broken."""
ROOT = Path(__file__).resolve().parents[1]


def child_environment(given: Mapping[str, str], added: Mapping[str, str]) -> dict[str, str]:
    """Make a child's environment: paths, locale and the devices' own settings; never a URL or a key of ours."""
    passed = {k: v for k, v in given.items() if k in PASSED_ON or k.startswith(PASSED_ON_PREFIXES)}
    return {**passed, **FIXED, **added}


def living_members(group: int) -> list[int]:
    """List the processes of a group that still run; the dead ones that nobody has reaped yet hold no device."""
    found = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            state, _, process_group = Path(entry.path, "stat").read_text().rpartition(")")[2].split()[:3]
            if int(process_group) == group and state not in "ZX":
                found.append(int(entry.name))
    return found


class ChildLink:
    """One running child. `turn` moves bytes both ways; `exit_code` tells when it has left."""

    def __init__(self, process: subprocess.Popen[bytes], reports: int, run_log: RunLog) -> None:
        assert process.stdin is not None
        assert process.stderr is not None
        self._process = process
        self._reports = reports
        self._log = run_log
        self._stdin = process.stdin.fileno()
        self._unread = b""
        self._unsent = b""
        self._is_broken = False
        self._open = selectors.DefaultSelector()
        for descriptor in (reports, process.stderr.fileno(), self._stdin):
            os.set_blocking(descriptor, False)
        self._open.register(reports, selectors.EVENT_READ, self._read_reports)
        self._open.register(process.stderr.fileno(), selectors.EVENT_READ, self._read_log)

    @classmethod
    def start(cls, command: Sequence[str], *, log_path: Path, environment: Mapping[str, str], first: Line | None = None,
              passed: Sequence[int] = ()) -> ChildLink:
        """Start `command` as the head of a process group of its own, and send it `first` before anything else; it inherits
        the descriptors in `passed`."""
        reports, write_end = os.pipe()
        told = {"HEADRACE_REPORT_FD": str(write_end), "HEADRACE_PARENT_PID": str(os.getpid())}
        try:
            process = subprocess.Popen(
                list(command), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                pass_fds=(write_end, *passed),
                env={**environment, **told}, cwd=ROOT, start_new_session=True, bufsize=0,
            )
        except BaseException:
            os.close(reports)
            raise
        finally:
            os.close(write_end)
        link = cls(process, reports, RunLog(log_path))
        if first is not None:
            link.send(first)
        return link

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def last_lines(self) -> str:
        return self._log.last_lines()

    def note(self, text: str) -> None:
        """Add a line of the supervisor's own to the run's log."""
        self._log.write(f"[supervisor] {text}\n".encode())

    @property
    def exit_code(self) -> int | None:
        """None while it lives; a negative number is the signal that ended it.

        Seeing the end does not reap it, so its group's id stays ours until `reap`."""
        if self._process.returncode is not None:
            return self._process.returncode
        seen = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if seen is None:
            return None
        return seen.si_status if seen.si_code == os.CLD_EXITED else -seen.si_status

    def turn(self, seconds: float, *, is_reading: bool = True) -> list[Line]:
        """Wait at most so long for bytes, and give the reports that are whole.

        With `is_reading` False the reports stay in the pipe, where a full pipe holds the child back; its log is read on."""
        self._flush()
        found: list[Line] = []
        ready = self._open.select(seconds) if self._open.get_map() else []
        is_idle = not self._open.get_map()
        for key, _ in ready:
            if key.fd == self._reports and not is_reading:
                is_idle = True
                continue
            found += key.data()
        if is_idle:
            time.sleep(seconds)
        return found

    def send(self, command: Line) -> bool:
        """Send a command; False when it was not taken, since the child reads nothing. One that is gone changes nothing here."""
        is_taken = self.has_room
        if is_taken:
            self._unsent += command.to_line()
        self._flush()
        return is_taken

    @property
    def has_room(self) -> bool:
        """Whether a command would be taken now."""
        return len(self._unsent) < READ_BYTES

    def terminate(self) -> None:
        self._signal_group(signal.SIGTERM)

    def kill(self) -> None:
        self._signal_group(signal.SIGKILL)

    def reap(self, seconds: float = 10.0) -> list[Line]:
        """Kill what is left of the group, wait until all of it is dead, and give the reports that were still in the pipe.

        Raise TimeoutError when a process of the group outlives the wait (one that the kernel cannot end now)."""
        self.kill()
        deadline = time.monotonic() + seconds
        while self.exit_code is None or living_members(self.pid):
            if time.monotonic() > deadline:
                raise TimeoutError(f"process group {self.pid} is still there {seconds:.0f} s after it was killed")
            time.sleep(0.01)
        found: list[Line] = []
        while self._open.get_map() and time.monotonic() < deadline:
            found += self.turn(0.0)
        self._process.wait()
        return found

    def close(self) -> None:
        self._open.close()
        for descriptor in (self._process.stdin, self._process.stderr):
            with contextlib.suppress(OSError):
                descriptor.close()  # pyright: ignore[reportOptionalMemberAccess]
        with contextlib.suppress(OSError):
            os.close(self._reports)
        self._log.close()

    def _signal_group(self, number: int) -> None:
        if self._process.returncode is None:  # once reaped, the group's id may be another's
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    def _flush(self) -> None:
        while self._unsent:
            try:
                sent = os.write(self._stdin, self._unsent)
            except BlockingIOError:
                return
            except OSError:  # the child closed its end: nobody will read the rest
                self._unsent = b""
                return
            self._unsent = self._unsent[sent:]

    def _read(self, descriptor: int) -> bytes:
        try:
            data = os.read(descriptor, READ_BYTES)
        except BlockingIOError:
            return b""
        if not data:
            self._open.unregister(descriptor)
        return data

    def _read_log(self) -> list[Line]:
        self._log.write(self._read(self._process.stderr.fileno()))  # pyright: ignore[reportOptionalMemberAccess]
        return []

    def _read_reports(self) -> list[Line]:
        *lines, self._unread = (self._unread + self._read(self._reports)).split(b"\n")
        if len(self._unread) > LINE_BYTES:
            self._break("its report line has no end")
        return [report for line in lines if (report := self._parse(line)) is not None]

    def _parse(self, line: bytes) -> Line | None:
        if self._is_broken:
            return None
        try:
            return read_report(line)
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            self._break(f"its report line starts with {line[:60]!a}")
            return None

    def _break(self, cause: str) -> None:
        """Both ends come from one release, so a line that is no report means that the child is not to be trusted further."""
        self._is_broken, self._unread = True, b""
        self.note(f"the child is ended: {cause}")
        log.error("child.broken", pid=self.pid, cause=cause)
        self.kill()
