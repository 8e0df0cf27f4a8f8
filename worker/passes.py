"""The short processes that look at data for an upkeep worker: list a pattern's files, index one file.

Each speaks JSON lines and ends with the worker's patience; what opens its places comes as the first line on standard input.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import Any

import orjson

from core.data.process import bare_environment, python_command
from core.data.spec import Places
from core.errors import DataError, HeadraceError, LeaseLost, RunInterrupted
from worker.link import ROOT

TOLD_ELSEWHERE = {"storage_error", "place_unreachable"}
"""Codes of causes that are the machine's, the network's or the place's: the chore is tried again."""


def run_pass(module: str, arguments: list[str], must_stop: threading.Event, *, places: Places | None = None,
             on_line: Callable[[dict[str, Any]], None] = lambda told: None) -> dict[str, Any]:
    """Run a pass and give its last line; `on_line` hears the others.

    Raise LeaseLost when it must stop, RunInterrupted for a cause that may pass, DataError for one that stays."""
    process = subprocess.Popen(python_command(module, *arguments), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, env=bare_environment(), cwd=ROOT, start_new_session=True)
    last: dict[str, Any] = {}
    try:
        _tell(process, places)
        for told in _lines(process, must_stop):
            last = told
            on_line(told)
        code = process.wait()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()  # pyright: ignore[reportOptionalMemberAccess]
    return _settled(last, module, code)


def _settled(last: dict[str, Any], module: str, code: int) -> dict[str, Any]:
    error = last.get("error")
    if error is None and code == 0:
        return last
    if error is None:
        raise HeadraceError(f"{module} left with code {code} and no answer")
    raise (RunInterrupted if error["code"] in TOLD_ELSEWHERE else DataError)(error["message"], code=error["code"])


def _tell(process: subprocess.Popen[bytes], places: Places | None) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it ended at once; its last line says why
        if places is not None:
            process.stdin.write(orjson.dumps(places.to_json(), option=orjson.OPT_APPEND_NEWLINE))
        process.stdin.close()


def _lines(process: subprocess.Popen[bytes], must_stop: threading.Event) -> Iterator[dict[str, Any]]:
    """The process's lines as they come; raise LeaseLost as soon as the work must stop."""
    assert process.stdout is not None
    unread = b""
    with selectors.DefaultSelector() as ready:
        ready.register(process.stdout, selectors.EVENT_READ)
        while True:
            if must_stop.is_set():
                raise LeaseLost("the indexing was stopped; whoever holds its chore next goes on with the next file")
            if not ready.select(0.2):
                continue
            data = os.read(process.stdout.fileno(), 65536)
            if not data:
                return
            *lines, unread = (unread + data).split(b"\n")
            yield from (orjson.loads(line) for line in lines if line.strip())
