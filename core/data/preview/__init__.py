"""What a model will see of some rows, token by token: found out by a short process with limits on time and memory.

So the process that asks runs no tokenizer and no template of a stranger. It imports neither; `python -m core.data.preview`
does, and may be used by hand: a request as JSON on standard input, the answer as one line of JSON on standard output.

    request   {"source": {…SourceSpec…}, "tokenizer_path": …, "max_length": …, "first": 0, "count": 5,
              "places": {…Places…}}, the last only for a source in places
    answer    {"rows_total": …, "rows": [{"row", "file", "line", "side", "text", "tokens": [{"id", "text", "trained"}],
              "token_count", "trained_count", "truncated", "refused"}]}
    error     {"error": {"code", "message"}}, with exit status 3

A row that cannot be trained on has its reason in `refused` and no tokens. A preference pair is told twice, with `side`
"chosen" and "rejected". With `sample` in the request lengths are told instead (`lengths`): a histogram in tokens, percentiles,
and the rows that are longer than `max_length`.
"""

from __future__ import annotations

import subprocess
from typing import Any

import orjson

from core.data.process import bare_environment, python_command
from core.errors import DataError, Unavailable

__all__ = ["EXIT_ERROR", "measure_lengths", "preview_rows"]

EXIT_ERROR = 3
"""Exit status of a preview that ends with an error told on standard output."""
_TIMEOUT_SECONDS = 30.0


def preview_rows(request: dict[str, Any], *, timeout_seconds: float = _TIMEOUT_SECONDS) -> dict[str, Any]:
    """Ask for a preview; raises DataError with the reason why there is none, Unavailable when it took too long."""
    return _ask(request, timeout_seconds)


def measure_lengths(request: dict[str, Any], *, timeout_seconds: float = _TIMEOUT_SECONDS) -> dict[str, Any]:
    """Ask for lengths in tokens; the request has `sample`, the number of rows to look at. Raises as `preview_rows` does."""
    return _ask(request, timeout_seconds)


def _ask(request: dict[str, Any], timeout_seconds: float) -> dict[str, Any]:
    try:
        ended = subprocess.run(python_command("core.data.preview"), input=orjson.dumps(request), capture_output=True,
                               env=bare_environment(), timeout=timeout_seconds, check=False)
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"the preview took more than {timeout_seconds:g} s; ask for fewer rows, or try again when the "
                          "server is less busy") from error
    if ended.returncode == 0:
        return orjson.loads(ended.stdout)
    if ended.returncode == EXIT_ERROR:
        told = orjson.loads(ended.stdout)["error"]
        raise DataError(told["message"], code=told["code"])
    raise DataError(f"the preview ended with status {ended.returncode}; its rows or the model's chat template take more "
                    "memory or time than a preview may; ask for fewer rows", code="preview_failed")
