"""Keeping a run's lease: a thread that renews it and reads what is wanted of the job.

It renews every third of the lease and reads the row every half second. While the ledger is away it goes on trying: the run is
lost only when the ledger says so. What it learns stands in `wanted`, `pending` and `is_lost`, for the supervisor's loop
to look at.
"""

from __future__ import annotations

import threading
import time

from core.db.session import Ledger
from core.errors import LeaseLost
from core.jobs import claims
from core.jobs.models import Job
from core.logs import get_log
from core.scheduling.policy import DEFAULT, Policy
from core.steering.repository import first_pending
from worker.away import is_away

log = get_log(__name__)

LOOK_SECONDS = 0.5


class LeaseKeeper:
    """Holds one run's lease while it is open: `with LeaseKeeper(…) as keeper`."""

    def __init__(self, ledger: Ledger, *, job_id: str, run_id: str, fence: int, lease_seconds: float,
                 policy: Policy = DEFAULT) -> None:
        self._ledger = ledger
        self._job_id, self._run_id, self._fence = job_id, run_id, fence
        self._lease_seconds, self._policy = lease_seconds, policy
        self._renewed_at = time.monotonic()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease-keeper", daemon=True)
        self.wanted: str | None = None
        """cancel, pause or preempt, as the row says; None when the run may go on."""
        self.pending: int | None = None
        """Number of the change of the mixture that waits for its step; None when none does."""
        self.is_lost = False
        """True once the ledger said that the run does not hold its job any more."""

    def __enter__(self) -> LeaseKeeper:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join(LOOK_SECONDS * 4)

    def _keep(self) -> None:
        while not self.is_lost and not self._stopped.wait(LOOK_SECONDS):
            try:
                self._look()
            except LeaseLost as lost:
                log.warning("run.lease_lost", job_id=self._job_id, run_id=self._run_id, cause=lost.message)
                self.is_lost = True
            except Exception as error:
                log.warning("ledger.away" if is_away(error) else "lease.unrenewed", job_id=self._job_id, cause=str(error))

    def _look(self) -> None:
        if time.monotonic() - self._renewed_at >= self._lease_seconds / 3 - LOOK_SECONDS / 2:
            with self._ledger.write() as session:
                claims.renew(session, self._run_id, self._fence, lease_seconds=self._lease_seconds, policy=self._policy)
            self._renewed_at = time.monotonic()
        with self._ledger.read() as session:
            job = session.get(Job, self._job_id)
            if job is None or job.fence != self._fence or job.run_id != self._run_id:
                raise LeaseLost(f"run {self._run_id} does not hold job {self._job_id} any more; its child is ended")
            self.wanted = job.wanted
            self.pending = first_pending(session, self._job_id)
