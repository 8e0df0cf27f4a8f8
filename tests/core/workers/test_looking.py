from __future__ import annotations

from core.db.session import Ledger
from core.workers import service as workers
from core.workers.looking import seen_workers
from tests.core.queue.test_service import a_worker
from tests.factories import NOW, a_claim, a_queued_job, later


def test_workers_are_alive_or_silent_and_tell_what_they_hold(ledger: Ledger):
    with ledger.write() as session:
        first, _ = a_worker(session, devices_of=2)
        workers.announce(session, worker_id="wrk_up", host="host", pid=2, queue="upkeep", version="1", now=later(-91))
        workers.announce(session, worker_id="wrk_old", host="host", pid=3, queue="train", version="1", now=NOW)
        workers.stop(session, "wrk_old", now=NOW)
        job = a_queued_job(session)
        a_claim(session, worker_id="wrk_host", devices=(first,))
        workers.announce(session, worker_id="wrk_full", host="other", pid=4, queue="train", version="1", now=NOW)
        workers.refuse(session, "wrk_full", "its disk is full")
        told = {seen.worker.id: seen for seen in seen_workers(session, now=NOW)}
    assert set(told) == {"wrk_host", "wrk_up", "wrk_full"}
    assert (told["wrk_host"].health, told["wrk_host"].job_id) == ("alive", job.id)
    assert [(seen.device.ordinal, seen.job_id) for seen in told["wrk_host"].devices] == [(0, job.id), (1, None)]
    assert (told["wrk_up"].health, told["wrk_up"].devices) == ("silent", [])
    assert told["wrk_full"].health == "refusing"
