"""The preview process: one request from standard input, one line of JSON to standard output.

It may use 20 s of processor time and 2 GiB of address space.
"""

from __future__ import annotations

import resource
import signal
import sys
from typing import Any, NoReturn

import orjson

from core.data.preview import EXIT_ERROR
from core.data.preview.lengths import LengthsRequest, measure_lengths
from core.data.preview.rows import Request, preview
from core.errors import DataError, HeadraceError

CPU_SECONDS = 20
MEMORY_BYTES = 2 * 1024**3


def main() -> int:
    _limit()
    try:
        told = orjson.loads(sys.stdin.buffer.read())
        if "sample" in told:
            answer = measure_lengths(LengthsRequest.from_json(told))
        else:
            answer = preview(Request.from_json(told))
    except HeadraceError as error:
        return _tell_error(error.code, error.message)
    except MemoryError:
        return _tell_error("preview_failed", "the rows take more memory than a preview may (2 GiB); ask for fewer rows")
    except (TypeError, KeyError, orjson.JSONDecodeError) as error:
        return _tell_error("invalid_request", f"the request is no preview request ({error}); it needs source, tokenizer_path "
                           "and max_length")
    _write(answer)
    return 0


def _limit() -> None:
    signal.signal(signal.SIGXCPU, _out_of_time)
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 2))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _out_of_time(number: int, frame: Any) -> NoReturn:
    raise DataError(f"the preview took more than {CPU_SECONDS} s of processor time; ask for fewer rows",
                    code="preview_failed")


def _tell_error(code: str, message: str) -> int:
    _write({"error": {"code": code, "message": message}})
    return EXIT_ERROR


def _write(answer: dict[str, Any]) -> None:
    sys.stdout.buffer.write(orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())
