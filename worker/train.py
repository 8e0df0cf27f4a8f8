"""The train worker: claims jobs and supervises their runs, one at a time, on the process's main thread.

It looks in the ledger when a wake-up came, and once a second without one, so it works with Redis dead or emptied. A look is
a read; only when a job is due and a device is free does it take the write that claims. TERM and INT are heard by its own
handler: a child is told to save its border, its run is handed back, and the process leaves.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from core.db.session import Ledger, database_now
from core.devices import service as devices
from core.devices.discovery import find_devices
from core.devices.models import Device
from core.devices.service import FoundDevice
from core.errors import Unavailable
from core.jobs import claims
from core.jobs.claims import Claim
from core.jobs.repository import is_any_due
from core.logs import get_log
from core.quotas.limits import Rules
from core.scheduling.policy import Policy
from core.settings import Settings
from core.workers.equipment import note_found
from worker.app import WakeUps
from worker.away import insist, is_away
from worker.presence import Identity, Presence
from worker.supervisor import Place, Supervisor

log = get_log(__name__)

LOOK_SECONDS = 1.0


def serve_train(place: Place, heard: threading.Event) -> None:
    """Work until `place.stop` is set."""
    who = Identity.fresh("train")
    found = find_devices(place.settings.device)
    with (
        Presence(place.ledger, who, lease_seconds=place.settings.lease_seconds, stop=place.stop) as presence,
        WakeUps(place.settings.bell_url, "train", heard=heard, node=who.worker_id),
    ):
        insist(lambda: announce_devices(place.ledger, who, found), until=place.stop)
        while not place.stop.is_set():
            if not run_one(place, who, found, refuse=presence.refuse):
                heard.wait(LOOK_SECONDS)
                heard.clear()


def announce_devices(ledger: Ledger, who: Identity, found: list[FoundDevice]) -> None:
    with ledger.write() as session:
        note_found(session, who.worker_id, who.host, found)
    log.info("devices.announced", host=who.host, devices=[f"{d.kind}:{d.ordinal} {d.name}" for d in found])


def run_one(place: Place, who: Identity, found: list[FoundDevice], *, refuse: Callable[[str | None], None]) -> bool:
    """Claim the next job and supervise its run to the end; False when there was nothing to claim, or no room on the disk.

    `refuse` is told each time why nothing is claimed here, or None: while the disk is full, jobs wait for room or for another
    worker, and nobody counts on this one."""
    try:
        full = no_room(place)
        refuse(full)
        claim = None if full else claim_next(place.ledger, place.settings, who, found)
    except Exception as error:
        log.warning("ledger.away" if is_away(error) else "job.unclaimed", cause=str(error), exc_info=not is_away(error))
        return False
    if claim is None:
        return False
    with place.artifacts.using():
        Supervisor(place, claim).supervise()
    return True


def no_room(place: Place) -> str | None:
    """Why the disk has no room for another run."""
    try:
        place.artifacts.require_space(0, place.settings.min_free_bytes)
    except Unavailable as error:
        return error.message
    return None


def claim_next(ledger: Ledger, settings: Settings, who: Identity, found: list[FoundDevice]) -> Claim | None:
    """Claim the job that is due, with as many free devices of this host as it asks for; None when either is missing."""
    with ledger.read() as session:
        if not is_any_due(session, now=database_now(session)) or not mine(devices.free(session, who.host), found):
            return None
    with ledger.write() as session:
        free = mine(devices.free(session, who.host), found)
        if not free:
            return None
        return claims.claim_next(session, worker_id=who.worker_id, host=who.host, devices=[device.id for device in free],
                                 of=len(found), lease_seconds=settings.lease_seconds, policy=Policy.of(settings),
                                 rules=Rules.of(settings))


def mine(free: list[Device], found: list[FoundDevice]) -> list[Device]:
    """The free devices among those that this process found; other workers of the host may see others."""
    known = {(device.kind, device.ordinal) for device in found}
    return [device for device in free if (device.kind, device.ordinal) in known]
