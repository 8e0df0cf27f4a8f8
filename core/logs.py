"""One form of log for all processes: a JSON object a line on standard error, a constant name and fields.

    log = get_log(__name__)
    log.info("run.claimed", job_id=job.id, attempt=2)

Lines of libraries (through the standard `logging`) take the same form. Text values are cut, so that no line carries a page. A
standard error that nobody reads keeps nobody waiting: see `core/lines.py`.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import orjson
import structlog

from core.clock import system_clock
from core.lines import LineWriter, unbuffered

VALUE_CHARACTERS = 512
TRACEBACK_CHARACTERS = 8192


def configure_logs(level: str, **bound: str) -> None:
    """Set up the process's logs once, at its start; `bound` fields stand in every line."""
    shared = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _cut,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = _Lines(LineWriter(unbuffered(sys.stderr), say_left_out=lambda lines: _left_out(lines, bound)))
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[_add_fields(bound), structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    structlog.processors.JSONRenderer(serializer=_to_json)],
    ))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for chatty in ("celery", "kombu", "amqp", "redis", "urllib3", "httpx"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def get_log(name: str) -> Any:
    return structlog.stdlib.get_logger(name)


class _Lines(logging.Handler):
    def __init__(self, writer: LineWriter) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._writer.write(self.format(record).encode(errors="replace") + b"\n")
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        self._writer.flush()


def _left_out(lines: int, bound: dict[str, str]) -> bytes:
    told = {"event": "lines.left_out", "lines": lines, "level": "warning", "timestamp": system_clock().isoformat(), **bound}
    return _to_json(told).encode() + b"\n"


def _add_fields(bound: dict[str, str]):
    def add(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        return {**event, **bound}

    return add


def _cut(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        limit = TRACEBACK_CHARACTERS if key == "exception" else VALUE_CHARACTERS
        if isinstance(value, str) and len(value) > limit:
            event[key] = value[:limit] + "…"
    return event


def _to_json(event: Any, **_options: Any) -> str:
    return orjson.dumps(event, default=str).decode()
