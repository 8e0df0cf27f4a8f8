"""Waking workers: Celery messages that say "look for work" and nothing else.

A message names no job. Work is found in the ledger, so a lost message costs the second until a worker's own look, and a
doubled one finds nothing. Hence no result backend, early acknowledgement, JSON only; and no limit on messages that are not
acknowledged yet, since one whose acknowledgement was lost with its connection would count against it for ever, and leave the
worker deaf. The solo pool takes them one at a time all the same.
"""

from __future__ import annotations

import ssl
from typing import Any, Literal

import redis
from celery import Celery

from core.signals.client import HINT_SECONDS, build_hint_client
from core.signals.ringer import Ringer

QueueName = Literal["train", "upkeep"]
QUEUES: tuple[QueueName, ...] = ("train", "upkeep")
RUN_NEXT = "headrace.run_next"
WAKE_EXPIRES_SECONDS = 60
"""A wake-up that nobody read for so long says nothing that the workers' own looks have not found."""


def build_celery(redis_url: str) -> Celery:
    """Build the Celery application; it connects to nothing yet."""
    app = Celery("headrace", broker=broker_url(redis_url), set_as_current=False)
    if redis_url.startswith("rediss://"):
        app.conf.broker_use_ssl = {"ssl_cert_reqs": ssl.CERT_REQUIRED}
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        result_backend=None,
        task_ignore_result=True,
        task_acks_late=False,
        task_publish_retry=False,
        task_default_queue="train",
        worker_prefetch_multiplier=0,
        worker_pool="solo",
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
        worker_enable_remote_control=False,
        worker_cancel_long_running_tasks_on_connection_loss=True,
        broker_connection_retry=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_connection_timeout=2,
        broker_transport_options={
            "socket_connect_timeout": 2, "socket_keepalive": True, "health_check_interval": 10, "global_keyprefix": "headrace:",
        },
        timezone="UTC",
    )
    return app


def broker_url(redis_url: str) -> str:
    """Give a Redis URL Celery's form: it calls a unix socket `redis+socket://` and a database `virtual_host`."""
    if not redis_url.startswith("unix://"):
        return redis_url
    path, _, query = redis_url.removeprefix("unix://").partition("?")
    database = dict(part.split("=", 1) for part in query.split("&") if "=" in part).get("db", "0")
    return f"redis+socket://{path}?virtual_host={database}"


class Queue:
    """The sending side. `ring` never raises and never waits; a thread of its own sends."""

    def __init__(self, redis_url: str) -> None:
        self._app = build_celery(redis_url)
        self._redis_url = redis_url
        self._ringer = Ringer(self._send, name="queue-ringer")

    def ring(self, queue: QueueName) -> None:
        """Ask the workers of a queue to look for work. Call it after the commit that made the work."""
        self._ringer.ring(queue)

    def depth(self, queue: QueueName) -> int | None:
        """Count wake-ups that no worker has read; None while Redis is away."""
        client = build_hint_client(self._redis_url)
        try:
            return int(client.llen(f"headrace:{queue}"))  # pyright: ignore[reportArgumentType]
        except (redis.RedisError, OSError):
            return None
        finally:
            client.close()

    def close(self) -> None:
        self._ringer.close()

    def _send(self, names: list[str]) -> None:
        options: dict[str, Any] = {
            "socket_timeout": HINT_SECONDS, "socket_connect_timeout": HINT_SECONDS, "global_keyprefix": "headrace:",
        }
        with self._app.connection_for_write(connect_timeout=HINT_SECONDS, transport_options=options) as connection:
            for name in names:
                self._app.send_task(
                    RUN_NEXT, queue=name, connection=connection, retry=False, expires=WAKE_EXPIRES_SECONDS, ignore_result=True
                )
