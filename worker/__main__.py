"""`python -m worker --queue train|upkeep [--concurrency N]`: one worker process, until TERM or INT."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence

from core.clock import system_clock
from core.db.migrate import require_current
from core.db.patience import PATIENCE, Patience
from core.db.session import Ledger
from core.errors import ConfigurationError
from core.logs import configure_logs, get_log
from core.process_heap import share_heap
from core.process_signals import hear
from core.quotas.limits import Rules
from core.scheduling.policy import Policy
from core.settings import Settings, read_settings
from core.signals.bell import Bell
from core.signals.queue import QUEUES, Queue
from core.storage.opening import open_artifacts
from worker.away import insist, is_away
from worker.child import CHILD

log = get_log(__name__)

UPKEEP_SLOTS = 3
"""Two that may index, and one for what is short."""
POOL_SIZE = 8
EXIT_CONFIGURATION = 2


def main(arguments: list[str] | None = None, *, child: Sequence[str] = CHILD) -> int:
    """Work as the arguments say; `child` starts a training process when the path of its spec is put behind it."""
    asked = _parse(arguments)
    share_heap()
    try:
        settings = read_settings()
        if not settings.database_url and not settings.home.is_dir():
            raise ConfigurationError(
                f"HEADRACE_HOME {settings.home} is not there; start `headrace serve` once, or set it right")
        configure_logs(settings.log_level, queue=asked.queue)
        stop, heard = threading.Event(), threading.Event()
        hear(dict.fromkeys((signal.SIGTERM, signal.SIGINT), lambda: (stop.set(), heard.set())))
        work(settings, asked.queue, slots=asked.concurrency or UPKEEP_SLOTS, stop=stop, heard=heard,
             child=child)
    except ConfigurationError as error:
        print(error.message, file=sys.stderr)
        return EXIT_CONFIGURATION
    return 0


def work(settings: Settings, queue: str, *, slots: int, stop: threading.Event, heard: threading.Event,
         child: Sequence[str] = CHILD) -> None:
    """Serve one queue until `stop` is set."""
    patience = Patience.within(settings.lease_seconds) if queue == "train" else PATIENCE
    ledger = Ledger(settings.sql_url, durability="NORMAL", pool_size=POOL_SIZE + slots, patience=patience)
    bell, rings = Bell(settings.bell_url), Queue(settings.bell_url)
    log.info("worker.started", pid=os.getpid())
    try:
        insist(lambda: require_current(ledger.engine), until=stop)
        if queue == "train":
            _train(settings, ledger, bell, stop, heard, child)
        else:
            _upkeep(settings, ledger, bell, rings, slots, stop, heard)
    except Exception as error:
        if not (stop.is_set() and is_away(error)):
            raise
        log.warning("ledger.away", cause=str(error))  # told to end before the ledger ever answered
    finally:
        bell.close()
        rings.close()
        ledger.close()
        log.info("worker.stopped", pid=os.getpid())


def _train(settings: Settings, ledger: Ledger, bell: Bell, stop: threading.Event, heard: threading.Event,
           child: Sequence[str]) -> None:
    from worker.supervisor import Place
    from worker.train import serve_train

    place = Place(ledger, open_artifacts(settings), settings, bell.ring, system_clock, stop, child)
    serve_train(place, heard)


def _upkeep(settings: Settings, ledger: Ledger, bell: Bell, rings: Queue, slots: int, stop: threading.Event,
            heard: threading.Event) -> None:
    from worker.app import WakeUps
    from worker.cleaning import rounds_of
    from worker.kinds import KINDS
    from worker.presence import Identity, Presence
    from worker.reaper import Reaper, Rings
    from worker.rounds import Rounds
    from worker.upkeep import Desk, Slots
    from worker.webhooks import Sender

    who = Identity.fresh("upkeep")
    artifacts = open_artifacts(settings)
    desk = Desk(ledger, artifacts, settings, bell.ring, lambda: rings.ring("train"), system_clock)
    reaping = Rings(bell.ring, lambda: rings.ring("train"), lambda: rings.depth("train"))
    with (
        Presence(ledger, who, lease_seconds=settings.lease_seconds, stop=stop),
        WakeUps(settings.bell_url, "upkeep", heard=heard, node=who.worker_id),
        Slots(desk, KINDS, holder=who.worker_id, count=slots, heard=heard),
        Reaper(ledger, reaping, holder=who.worker_id, lease_seconds=settings.lease_seconds, policy=Policy.of(settings),
               rules=Rules.of(settings)),
        Rounds(ledger, rounds_of(ledger, artifacts, system_clock), holder=who.worker_id, lease_seconds=settings.lease_seconds),
        Sender(ledger, holder=who.worker_id, lease_seconds=settings.lease_seconds,
               is_private_allowed=settings.private_webhooks),
    ):
        stop.wait()


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m worker", description="Serve one queue of a Headrace server.")
    parser.add_argument("--queue", choices=QUEUES, required=True)
    parser.add_argument("--concurrency", type=int, default=0,
                        help=f"chores at once on upkeep (default {UPKEEP_SLOTS}); a train worker runs one job")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    logging.shutdown()
    os._exit(status)  # all is closed; a Celery thread that waits for Redis need not be waited for
