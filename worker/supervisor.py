"""Supervising a run, from its claim to its end.

The loop on the main thread moves bytes between the child and the scribe, pings the child, and ends it when it must. It
never touches the ledger, so it keeps its times whatever the ledger does; the threads of the keeper and the scribe do, and
leave what they learn where the loop looks.

| why it ends | how the child is ended | what becomes of the run |
| --- | --- | --- |
| cancel | asked, TERM after 0.5 s, KILL after 2 s | cancelled |
| pause, preempt, shutdown | asked to save its last border; KILL if it takes too long | paused, preempted, handed back |
| stalled, out of its time | KILL | interrupted, failed |
| lease lost | KILL | nothing is written |
| a report that cannot be written | KILL | interrupted |
| its supervisor dies | by itself: its pipe closes, and the kernel tells it | its lease lapses, the job is queued again |

A worker that is told to end shortens all patience (worker/leaving.py). A run is settled, and its devices are free, only after
the child's whole process group was seen dead.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from core.checkpoints import service as checkpoints
from core.clock import Clock
from core.db.session import Ledger
from core.devices.models import Device
from core.errors import HeadraceError, LeaseLost, RunInterrupted, Unavailable
from core.ids import new_id
from core.jobs import claims
from core.jobs.claims import Claim
from core.jobs.models import Job
from core.jobs.stream_spec import options_of
from core.logs import get_log
from core.projects.repository import get_project
from core.scheduling.policy import Policy
from core.settings import Settings
from core.steering.service import place_pending
from core.storage.artifacts import STORAGE, Artifacts
from core.storage.shared import SharedArtifacts
from worker.away import insist
from worker.child import CHILD
from worker.compute import compute_for
from worker.keeper import LeaseKeeper
from worker.leaving import SETTLED_BY_SECONDS, UPLOADED_BY_SECONDS, Curfew, Leaving
from worker.link import child_environment
from worker.outcome import SAVES_FIRST, Ending, Outcome, decide, told, unfinished
from worker.ranked import RankedLinks
from worker.reports import Failed, Finished, Given, Line, Ping, Saved, Stopped
from worker.result import settle
from worker.run_log import NAME as LOG_NAME
from worker.run_spec import build_run_spec, fetch_parts, find_restorable, places_for, tell_chosen, tell_damaged, write_spec
from worker.scribe import Scribe
from worker.steering import Steering
from worker.uploads import Uploads

log = get_log(__name__)

TURN_SECONDS = 0.05
PING_SECONDS = 2.0
LOOK_SECONDS = 0.5
UPLOAD_SECONDS = 8.0
"""At a shutdown, a pause or a preemption: how long a bucket that is away is waited for with a last checkpoint."""
SETTLE_SECONDS = 3.0
"""After a shutdown was asked for, how long an unreachable ledger is waited for; the lease lapses otherwise."""


@dataclass(frozen=True)
class Place:
    """What a supervisor works with."""

    ledger: Ledger
    artifacts: Artifacts
    settings: Settings
    ring: Callable[[str], None]
    clock: Clock
    stop: threading.Event
    """Set when the worker is told to end."""
    command: Sequence[str] = CHILD


@dataclass(frozen=True)
class _Prepared:
    """What a child is started with."""

    spec_path: Path
    environment: dict[str, str]
    ranks: int
    places: Given | None
    """What opens the places that it reads from; told on its standard input alone."""
    micro_batch_tokens: int
    project: str
    """Name of the job's project, which the operator's file opens places to."""


class _Unwanted(Exception):
    """Something was asked for before the child was started."""

    def __init__(self, asked: Ending) -> None:
        super().__init__(asked)
        self.asked: Ending = asked


class Supervisor:
    """Supervises one run: `Supervisor(place, claim).supervise()`, on the thread that lives as long as the process."""

    def __init__(self, place: Place, claim: Claim) -> None:
        self._place = place
        self._job, self._run = claim.job, claim.run
        self._names = {"job_id": claim.job.id, "run_id": claim.run.id, "fence": claim.run.fence}
        self._log = log.bind(job_id=claim.job.id, run_id=claim.run.id, attempt=claim.run.attempt)
        self._max_run_seconds = options_of(claim.job).max_run_seconds
        self._last_word: Line | None = None
        self._curfew = Curfew(place.stop)
        self._leaving = Leaving(self._curfew)
        self._uploads: Uploads | None = None

    def supervise(self) -> None:
        """Run the child to its end and settle the run. Never raises for what happens to the run: it is settled, or lost."""
        self._log.info("run.claimed")
        self._place.ring(self._job.id)
        settings = self._place.settings
        with LeaseKeeper(self._place.ledger, **self._names, lease_seconds=settings.lease_seconds, policy=Policy.of(settings)
                         ) as keeper:
            try:
                outcome = self._outcome(keeper)
                if outcome is None or keeper.is_lost:
                    self._log.warning("run.lost")
                    return
                self._settle(outcome)
            except LeaseLost as lost:
                self._log.warning("run.lost", cause=lost.message)
            except Exception:
                self._log.exception("run.unsettled")
        self._place.ring(self._job.id)

    def _outcome(self, keeper: LeaseKeeper) -> Outcome | None:
        """Run the child; None when the run is lost."""
        try:
            prepared = insist(lambda: self._prepare_unless_unwanted(keeper), until=self._place.stop)
        except LeaseLost:
            return None
        except _Unwanted as unwanted:
            self._log.info("run.unbegun", ending=unwanted.asked)
            return unfinished(unwanted.asked)
        except (Unavailable, RunInterrupted) as error:
            self._log.warning("run.unprepared", code=error.code, cause=error.message)
            is_full = error.code == "insufficient_storage"  # of this host's disk; another may have room
            return Outcome("handed_back" if is_full else "interrupted", told(error.code, error.message))
        except HeadraceError as error:
            self._log.warning("run.rejected", code=error.code, cause=error.message)
            return Outcome("failed", told(error.code, error.message, error.param), "user")
        except Exception as error:
            self._log.exception("run.unprepared")
            cause = f"the run could not be prepared: {type(error).__name__}: {error}"
            return Outcome("interrupted", told("server_error", cause))
        try:
            return self._run_child(keeper, prepared)
        except Unavailable as error:
            self._log.warning("child.unanswered", code=error.code, cause=error.message)
            return Outcome("interrupted", told(error.code, error.message))
        except OSError as error:
            self._log.exception("child.unstarted")
            return Outcome("interrupted", told("run_interrupted", f"the training process could not be started: {error}"))

    def _prepare_unless_unwanted(self, keeper: LeaseKeeper) -> _Prepared:
        """Prepare, as often as the ledger and the storage are away, but for no run that is lost or unwanted meanwhile."""
        self._see_wanted(keeper)
        prepared = self._prepare(self._place.artifacts.watched(lambda: self._see_wanted(keeper)))
        self._see_wanted(keeper)
        return prepared

    def _see_wanted(self, keeper: LeaseKeeper) -> None:
        """Raise LeaseLost for a run that is lost, _Unwanted for one that is not to begin now."""
        if keeper.is_lost:
            raise LeaseLost(f"run {self._run.id} was ended before its child was started")
        if asked := self._asked(keeper):
            raise _Unwanted(asked)

    def _prepare(self, fetching: Artifacts) -> _Prepared:
        """Choose the checkpoint, build the spec, write it, and find what opens its places; `fetching` may take long."""
        place = self._place
        with place.ledger.read() as session:
            found = checkpoints.restorable(session, self._job.id)
            fetch_parts(session, session.get_one(Job, self._job.id), fetching)
        restored, damaged = find_restorable(found, fetching)
        with place.ledger.write() as session:
            job, run = claims.hold(session, self._run.id, self._run.fence)
            tell_damaged(session, job, damaged, now=place.clock())
            job.progress = {**(job.progress or {}), "phase": "loading"}
            devices = list(session.scalars(select(Device).where(Device.run_id == run.id).order_by(Device.ordinal)))
            compute = compute_for(session, job, devices, settings=place.settings, artifacts=place.artifacts)
            tell_chosen(session, job, compute, now=place.clock())
            place_pending(session, job, now=place.clock())
            project = get_project(session, job.project_id).name
            spec = build_run_spec(session, job, run, compute=compute, artifacts=place.artifacts, settings=place.settings,
                                  restored=restored)
        place.artifacts.require_space(0, place.settings.min_free_bytes)
        visible = {"CUDA_VISIBLE_DEVICES": compute.visible or "", "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
                   "OMP_NUM_THREADS": str(compute.threads)}
        return _Prepared(write_spec(spec), child_environment(os.environ, visible), compute.ranks,
                         places_for(spec.streams, place.settings, project=project), compute.micro_batch_tokens, project)

    def _run_child(self, keeper: LeaseKeeper, prepared: _Prepared) -> Outcome | None:
        with ExitStack() as closing:
            scribe = Scribe(self._place.ledger, self._place.artifacts, **self._names, ring=self._place.ring,
                            clock=self._place.clock, keep_recovery=self._place.settings.keep_checkpoints,
                            micro_batch_tokens=prepared.micro_batch_tokens)
            closing.callback(scribe.abandon)
            if isinstance(self._place.artifacts, SharedArtifacts):
                self._uploads = Uploads(self._place.artifacts, self._run.folder_key, note=scribe.note)
                closing.callback(self._uploads.abandon)
            child = RankedLinks.start(
                [*self._place.command, str(prepared.spec_path)], ranks=prepared.ranks, first=prepared.places,
                log_path=prepared.spec_path.parent / LOG_NAME, environment=prepared.environment)
            closing.callback(child.close)
            closing.callback(self._see_dead, child, scribe)  # whatever ends the loop: a run is settled after that
            self._log.info("child.started", pids=child.pids)
            steering = Steering(keeper, scribe, self._place.settings, project=prepared.project)
            is_lost = self._watch(child, keeper, scribe, steering)
            exit_code = self._see_dead(child, scribe)
            self._log.info("child.ended", exit_code=exit_code, ending=self._leaving.ending)
            if is_lost:
                return None
            is_all_up = self._is_all_up(keeper, scribe)
            if keeper.is_lost or not self._is_all_written(scribe):
                return None
            if (fault := self._fault(scribe)) is not None:
                cause = f"what the run reported could not be kept: {fault}"
                return Outcome("interrupted", told("run_interrupted", cause))
            if not is_all_up or self._is_storage_away():
                return unfinished("cancel" if keeper.wanted == "cancel" else self._leaving.ending)
            return decide(ending=self._leaving.ending, last=self._last_word, exit_code=exit_code, last_lines=child.last_lines,
                          stall_seconds=self._place.settings.stall_seconds, max_run_seconds=self._max_run_seconds)

    def _watch(self, child: RankedLinks, keeper: LeaseKeeper, scribe: Scribe, steering: Steering) -> bool:
        """Turn until the child has left; True when the run is lost."""
        started_at = heard_at = time.monotonic()
        pinged_at = 0.0
        while child.exit_code is None:
            has_room = scribe.has_room
            reports = child.turn(TURN_SECONDS, is_reading=has_room)
            self._note(reports, scribe)
            now = time.monotonic()
            if reports or not has_room:
                heard_at = now
            if now - pinged_at >= PING_SECONDS:
                child.send(Ping())
                pinged_at = now
            steering.turn(child)
            if keeper.is_lost or scribe.is_lost or self._fault(scribe) is not None:
                child.kill()
                if self._fault(scribe) is None:
                    scribe.abandon()
                    return True
                return False
            if ending := self._reason(keeper, now, heard_at=heard_at, started_at=started_at):
                self._ask(ending)
            self._leaving.press(child)
        return False

    def _fault(self, scribe: Scribe) -> Exception | None:
        """What keeps the run's reports from the ledger, or its checkpoints from the bucket, for good."""
        return scribe.fault or (self._uploads.fault if self._uploads is not None else None)

    def _reason(self, keeper: LeaseKeeper, now: float, *, heard_at: float, started_at: float) -> Ending | None:
        """Why the child must end, if it must."""
        if asked := self._asked(keeper):
            return asked
        if now - heard_at > self._place.settings.stall_seconds:
            return "stalled"
        limit = self._max_run_seconds
        return "overtime" if limit is not None and now - started_at > limit else None

    def _asked(self, keeper: LeaseKeeper) -> Ending | None:
        """What the run was asked to do other than go on; a cancel comes before all else."""
        wanted = keeper.wanted
        if wanted != "cancel" and self._place.stop.is_set():
            return "shutdown"
        return wanted if wanted in ("cancel", "pause", "preempt") else None

    def _ask(self, ending: Ending) -> None:
        if self._leaving.ask(ending):
            self._log.info("child.told_to_end", ending=ending)

    def _see_dead(self, child: RankedLinks, scribe: Scribe) -> int:
        """Wait until no process of the group is left, hear its last reports, give its exit code."""
        while True:
            try:
                self._note(child.reap(), scribe)
                break
            except TimeoutError as error:
                self._log.error("child.undead", cause=str(error))
        assert child.exit_code is not None
        return child.exit_code

    def _is_all_up(self, keeper: LeaseKeeper, scribe: Scribe) -> bool:
        """Wait until the checkpoints are in the bucket. The end of a job waits however long; a cancel, a shutdown, and a pause
        or preemption while the bucket is away give up what is not up then: it is trained again."""
        answered_at = time.monotonic()
        while self._uploads is not None and not self._uploads.close(LOOK_SECONDS):
            is_hurried = self._place.stop.is_set() or self._leaving.ending in SAVES_FIRST
            if not (is_hurried and self._uploads.is_away):
                answered_at = time.monotonic()
            is_useless = keeper.is_lost or scribe.is_lost or scribe.fault is not None or keeper.wanted == "cancel"
            if is_useless or time.monotonic() - answered_at > UPLOAD_SECONDS:
                self._uploads.abandon()
            if self._curfew.seconds > UPLOADED_BY_SECONDS:  # no time is left to see its thread end
                self._uploads.abandon()
                break
        return self._uploads is None or not self._uploads.is_abandoned

    def _is_storage_away(self) -> bool:
        """Whether the child ended because its rows lie in our bucket, which does not answer: no bad end of the run's."""
        last = self._last_word
        is_unreached = isinstance(last, Failed) and last.code == "place_unreachable" and STORAGE in last.message
        return self._uploads is not None and is_unreached

    def _is_all_written(self, scribe: Scribe) -> bool:
        """Wait for the scribe, however long the ledger is away, but not past a shutdown; False when the run is lost."""
        asked_at: float | None = None
        while not scribe.close(LOOK_SECONDS):
            if self._place.stop.is_set():
                asked_at = asked_at or time.monotonic()
                if time.monotonic() - asked_at > SETTLE_SECONDS or self._curfew.seconds > SETTLED_BY_SECONDS:
                    self._log.warning("ledger.away", cause="the worker ends; what the run still reported is trained again")
                    return False
        return not scribe.is_lost

    def _note(self, reports: Sequence[Line], scribe: Scribe) -> None:
        for report in reports:
            if isinstance(report, (Finished, Stopped, Failed)):
                self._last_word = report
            elif isinstance(report, Saved) and self._uploads is not None:
                self._uploads.note(report)
            else:
                scribe.note(report)

    def _settle(self, outcome: Outcome) -> None:
        place, settings, file_id = self._place, self._place.settings, new_id("file")
        grace_seconds = min(SETTLE_SECONDS, SETTLED_BY_SECONDS - self._curfew.seconds)
        insist(lambda: settle(place.ledger, place.artifacts, self._run, outcome, file_id=file_id, now=place.clock(),
                              keep_recovery=settings.keep_checkpoints, policy=Policy.of(settings)),
               until=place.stop, grace_seconds=grace_seconds)
        self._log.info("run.settled", outcome=outcome.kind, cause=(outcome.error or {}).get("message"))


__all__ = ["Place", "Supervisor"]
