"""The Celery worker, in a thread of the process: it hears wake-ups while the main thread works.

The main thread is the work loop's, because a training child dies with the thread that spawned it and because signals are
heard there. Celery runs with the `solo` pool and its blocking loop: the event loop of kombu's Redis transport was seen to
wait for ever after a server died between a message and its acknowledgement, where the blocking loop connects again. Should
the thread end all the same, it starts anew; and nothing is lost meanwhile, since the work loop looks by itself.
"""

from __future__ import annotations

import threading

from celery.worker import WorkController, state

from core.logs import get_log
from core.signals.queue import QueueName, build_celery
from worker.tasks import add_tasks

log = get_log(__name__)

RESTART_SECONDS = 2.0


class WakeUps:
    """Hears the wake-ups of one queue while it is open, and sets `heard` at each."""

    def __init__(self, redis_url: str, queue: QueueName, *, heard: threading.Event, node: str) -> None:
        self._redis_url = redis_url
        self._queue = queue
        self._heard = heard
        self._node = node
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="celery", daemon=True)

    def __enter__(self) -> WakeUps:
        state.should_stop = None
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening. Celery looks up every two seconds; the process does not wait for that to end."""
        self._closed.set()
        state.should_stop = 0

    def wait_ended(self, seconds: float) -> None:
        """Wait until Celery has noticed the stop."""
        self._thread.join(seconds)

    def _listen(self) -> None:
        while not self._closed.is_set():
            try:
                self._build().start()
            except (Exception, SystemExit):
                log.exception("celery.ended", queue=self._queue)
            self._closed.wait(RESTART_SECONDS)

    def _build(self) -> WorkController:
        app = build_celery(self._redis_url)
        add_tasks(app, self._heard)
        app.set_current()  # of this thread: Celery looks its tasks up there
        return WorkController(
            app=app, pool="solo", concurrency=1, use_eventloop=False, queues=[self._queue], loglevel="WARNING",
            hostname=f"{self._queue}@{self._node}", without_mingle=True, without_gossip=True, without_heartbeat=True,
        )
