"""The one Celery task: `headrace.run_next`, which says "look for work". It names no job and does no work itself."""

from __future__ import annotations

import threading

from celery import Celery, Task

from core.signals.queue import RUN_NEXT


class RunNext(Task):
    """Sets `heard`; the work loop on the main thread looks in the ledger then."""

    name = RUN_NEXT
    ignore_result = True

    def __init__(self, heard: threading.Event) -> None:
        self._heard = heard

    def run(self) -> None:
        self._heard.set()


def add_tasks(app: Celery, heard: threading.Event) -> None:
    """Give the application its task; each application has its own, since each sets an event of its own."""
    app.register_task(RunNext(heard))
    app.finalize()
