"""The one Celery task: `headrace.run_next`, which says "look for work". It names no job and does no work itself."""

from __future__ import annotations

import threading

from celery import Celery

from core.signals.queue import RUN_NEXT


def add_tasks(app: Celery, heard: threading.Event) -> None:
    """Let a wake-up set `heard`; the work loop on the main thread looks in the ledger then."""

    @app.task(name=RUN_NEXT, ignore_result=True)
    def run_next() -> None:
        heard.set()

    app.finalize()
