"""A short process that reads rows for one that must not: a request as JSON goes in, an answer comes out, within limits.

For rows that the process which asks must not open itself: Parquet, whose decoder is large and reads what strangers wrote, and
files in places, which are waited for.

    answer    what the module makes of the request; or {"error": {"code", "message"}}, with exit status 3
"""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import orjson

from core.data.process import bare_environment, python_command
from core.data.spec import SourceSpec
from core.errors import DataError, HeadraceError, Unavailable

MEMORY_BYTES = 2 * 1024**3
CPU_SECONDS = 20
REFUSED = 3


def must_ask(source: SourceSpec) -> bool:
    """Whether the rows of a source are for such a process."""
    return any(shard.place is not None or shard.kind == "parquet" for shard in source.shards)


def ask(module: str, told: dict[str, Any], *, timeout_seconds: float) -> dict[str, Any]:
    """Have a module answer; raise DataError with its reason, Unavailable when it took too long."""
    try:
        ended = subprocess.run(python_command(module), input=orjson.dumps(told), capture_output=True, env=bare_environment(),
                               timeout=timeout_seconds, check=False)
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"reading the rows took more than {timeout_seconds:g} s; ask for fewer, or try again when the place "
                          "that they lie in answers faster") from error
    if ended.returncode not in (0, REFUSED):
        raise DataError(f"reading the rows ended with status {ended.returncode}; they take more memory or time than a page "
                        "may; ask for fewer", code="page_failed")
    answer = orjson.loads(ended.stdout)
    if error := answer.get("error"):
        raise DataError(error["message"], code=error["code"])
    return answer


def serve(make: Callable[[dict[str, Any]], dict[str, Any]]) -> int:
    """Answer the request on standard input, as the process that was asked; give the exit status."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 2))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    told = orjson.loads(sys.stdin.buffer.read())
    try:
        answer = make(told)
    except (HeadraceError, MemoryError) as error:
        code, message = (error.code, error.message) if isinstance(error, HeadraceError) else (
            "page_failed", "the rows take more memory than a page may; ask for fewer")
        answer = {"error": {"code": code, "message": message}}
    sys.stdout.buffer.write(orjson.dumps(answer))
    return REFUSED if "error" in answer else 0
