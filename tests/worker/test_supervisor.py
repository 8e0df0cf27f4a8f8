from __future__ import annotations

import contextlib
import copy
import dataclasses
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest
from sqlalchemy import select, text

from core.checkpoints import service as checkpoints
from core.db.session import Ledger, database_now
from core.devices import service as devices
from core.devices.service import FoundDevice
from core.errors import RunInterrupted, Unavailable
from core.events.models import Event
from core.files.models import StoredFile
from core.jobs import claims
from core.jobs import service as jobs
from core.jobs.claims import Claim
from core.jobs.models import Job
from core.scheduling.policy import Policy
from core.scheduling.service import preempt
from core.specs.mixture import MixtureUpdate
from core.steering import service as steering
from core.storage.artifacts import Artifacts
from core.workers import service as workers
from tests.waiting import PATIENCE_SECONDS, wait_for
from tests.worker.away_ledger import AwayLedger
from tests.worker.places import HOST, a_claim, a_place, a_planned_job, claim_again, free_devices, read_job, read_run
from worker.supervisor import Place, Supervisor


def logged(place: Place, job_id: str) -> list[str]:
    with place.ledger.read() as session:
        events = session.scalars(select(Event).where(Event.job_id == job_id).order_by(Event.number)).all()
        return [event.data["code"] if event.type == "message" else f"step {event.step}" for event in events if event.data]


def children(spec_part: str) -> list[psutil.Process]:
    """Living children of this process whose command line has this part."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if any(spec_part in word for word in process.cmdline()):
                found.append(process)
    return found


def cancel_soon(place: Place, job: Job, *, after_step: int) -> threading.Thread:
    return ask_soon(place, job, jobs.cancel, after_step=after_step)


def ask_soon(place: Place, job: Job, verb: Callable[..., Job], *, after_step: int) -> threading.Thread:
    """Ask for something from another thread, as the API would, once a step is in the log."""

    def ask() -> None:
        while True:
            with place.ledger.read() as session:
                if session.get_one(Job, job.id).step >= after_step:
                    break
            time.sleep(0.02)
        with place.ledger.write() as session:
            verb(session, job.project_id, job.id, now=place.clock())

    thread = threading.Thread(target=ask)
    thread.start()
    return thread


def test_a_run_that_finishes_leaves_every_step_a_model_and_a_result_file(ledger: Ledger, tmp_path: Path) -> None:
    rung: list[str] = []
    place = a_place(ledger, tmp_path, rung=rung)
    claim = a_claim(place, total_steps=6)
    Supervisor(place, claim).supervise()
    job = read_job(place, claim)
    assert (job.state, job.step, job.run_id) == ("succeeded", 6, None)
    assert logged(place, job.id)[-9:] == ["step 1", "step 2", "step 3", "checkpoint.saved", "step 4", "step 5", "step 6",
                                          "checkpoint.saved", "job.succeeded"]
    with ledger.read() as session:
        file = session.get_one(StoredFile, job.result_file_id)
    assert place.artifacts.path(file.storage_key).read_text().count("\n") == 7
    assert free_devices(place) == 1
    assert job.id in rung


def test_a_child_that_dies_is_an_interruption_with_its_last_words(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    place = a_place(sqlite_ledger, tmp_path, "--die-at", "3")
    claim = a_claim(place)
    Supervisor(place, claim).supervise()
    run = read_run(place, claim)
    assert (read_job(place, claim).state, run.outcome) == ("queued", "interrupted")
    assert run.error is not None
    assert "signal SIGKILL" in run.error["message"]
    assert "out of luck" in run.error["message"]
    assert free_devices(place) == 1


def test_the_next_run_goes_on_from_the_newest_checkpoint_and_tells_no_step_twice(ledger: Ledger, tmp_path: Path) -> None:
    claim = a_claim(a_place(ledger, tmp_path))
    Supervisor(a_place(ledger, tmp_path, "--saves-each", "--die-at", "5"), claim).supervise()
    place = a_place(ledger, tmp_path)
    Supervisor(place, claim_again(place)).supervise()
    told = logged(place, claim.job.id)
    assert [word for word in told if word.startswith("step")] == [f"step {n}" for n in range(1, 7)]
    assert "run.restored" in told
    assert read_job(place, claim).state == "succeeded"


def test_a_run_that_ends_leaves_as_many_recovery_points_as_the_settings_keep(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    place = a_place(sqlite_ledger, tmp_path, "--saves-each", "--die-at", "6", keep_checkpoints=3)
    claim = a_claim(place, total_steps=12)
    Supervisor(place, claim).supervise()
    with sqlite_ledger.read() as session:
        assert [c.step for c in checkpoints.restorable(session, claim.job.id)] == [5, 4, 3]


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before_it(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    place = a_place(sqlite_ledger, tmp_path, "--saves-each", "--die-at", "5")
    claim = a_claim(place)
    Supervisor(place, claim).supervise()
    with sqlite_ledger.read() as session:
        newest = checkpoints.restorable(session, claim.job.id)[0]
    (place.artifacts.path(newest.folder_key) / "state.json").write_bytes(b'{"step": 9}')
    place = a_place(sqlite_ledger, tmp_path)
    again = claim_again(place)
    Supervisor(place, again).supervise()
    assert newest.step == 4
    assert read_run(place, again).from_step == 3
    assert "checkpoint.damaged" in logged(place, claim.job.id)
    assert read_job(place, claim).state == "succeeded"


def test_a_cancel_reaches_a_child_that_listens(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    place = a_place(sqlite_ledger, tmp_path, "--step-seconds", "0.2")
    claim = a_claim(place, total_steps=1000)
    asking = cancel_soon(place, claim.job, after_step=1)
    Supervisor(place, claim).supervise()
    asking.join()
    assert read_job(place, claim).state == "cancelled"
    assert logged(place, claim.job.id)[-1] == "job.cancelled"


def test_a_pause_saves_the_last_step_and_frees_the_device_and_the_next_run_goes_on(ledger: Ledger, tmp_path: Path) -> None:
    place = a_place(ledger, tmp_path, "--step-seconds", "0.2")
    claim = a_claim(place, total_steps=20)
    asking = ask_soon(place, claim.job, jobs.pause, after_step=1)
    Supervisor(place, claim).supervise()
    asking.join()
    paused = read_job(place, claim)
    assert (paused.state, paused.wanted, read_run(place, claim).outcome, free_devices(place)) == ("paused", None, "paused", 1)
    with ledger.write() as session:
        assert checkpoints.restorable(session, paused.id)[0].step == paused.step > 0
        jobs.resume(session, paused.project_id, paused.id, now=place.clock())
    again = claim_again(place)
    Supervisor(a_place(ledger, tmp_path), again).supervise()
    assert read_run(place, again).from_step == paused.step
    assert [word for word in logged(place, paused.id) if word.startswith("step")] == [f"step {n}" for n in range(1, 21)]
    assert (read_job(place, claim).state, read_job(place, claim).failed_attempts) == ("succeeded", 0)


def test_a_cancel_ends_a_child_that_is_deaf_in_two_seconds(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    place = a_place(sqlite_ledger, tmp_path, "--step-seconds", "0.05", "--deaf")
    claim = a_claim(place, total_steps=100_000)
    asking = cancel_soon(place, claim.job, after_step=1)
    supervising = threading.Thread(target=Supervisor(place, claim).supervise)
    supervising.start()
    asking.join()
    wait_for(lambda: not children(claim.run.id), seconds=3.5)
    supervising.join()
    assert read_job(place, claim).state == "cancelled"


def test_a_shutdown_saves_and_hands_back_without_a_failed_attempt(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    place = a_place(sqlite_ledger, tmp_path, "--step-seconds", "0.05")
    claim = a_claim(place, total_steps=1000)
    threading.Timer(1.5, place.stop.set).start()
    Supervisor(place, claim).supervise()
    job = read_job(place, claim)
    with sqlite_ledger.read() as session:
        saved = checkpoints.restorable(session, job.id)[0]
    assert (job.state, job.failed_attempts, read_run(place, claim).outcome) == ("queued", 0, "handed_back")
    assert saved.step == job.step > 0
    assert logged(place, job.id)[-1] == "run.handed_back"


def test_a_preempted_run_saves_and_its_job_waits_at_its_old_place(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    place = a_place(sqlite_ledger, tmp_path, "--step-seconds", "0.05")
    claim = a_claim(place, total_steps=1000)
    queued_at = claim.job.queued_at
    supervising = threading.Thread(target=Supervisor(place, claim).supervise)
    supervising.start()
    while read_job(place, claim).step < 2:
        time.sleep(0.02)
    with sqlite_ledger.write() as session:
        workers.announce(session, worker_id="wrk_1", host=HOST, pid=1, queue="train", version="1")
        a_planned_job(session, place, total_steps=6, priority=5)
        asked_at = time.monotonic()
        told = preempt(session, now=database_now(session), policy=Policy(preempt_after_seconds=0))
    supervising.join(PATIENCE_SECONDS)
    took = time.monotonic() - asked_at
    job = read_job(place, claim)
    with sqlite_ledger.read() as session:
        saved = checkpoints.restorable(session, job.id)[0]
    assert told == [job.id]
    assert (job.state, job.failed_attempts, job.preemptions, job.queued_at) == ("queued", 0, 1, queued_at)
    assert (saved.step, read_run(place, claim).outcome) == (job.step, "preempted")
    assert logged(place, job.id)[-1] == "run.preempted"
    assert took < 3
    assert claim_again(place).job.id != job.id


def test_a_user_fault_fails_the_job_with_the_childs_words(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    place = a_place(sqlite_ledger, tmp_path, "--fail-at", "2")
    claim = a_claim(place)
    Supervisor(place, claim).supervise()
    job = read_job(place, claim)
    assert (job.state, job.error) == ("failed", {"code": "bad_row", "message": "row 3 is no row", "param": "training_file"})


@pytest.mark.parametrize(("options", "cause"), [
    (("--die-at", "1"), "out of luck"), (("--fail-at", "1", "--failure", "infrastructure"), "row 3 is no row")])
def test_three_bad_ends_without_progress_end_the_job(sqlite_ledger: Ledger, tmp_path: Path, options: tuple[str, ...], cause: str
                                                     ) -> None:
    place = a_place(sqlite_ledger, tmp_path, *options)
    claim = a_claim(place)
    for number in range(3):
        Supervisor(place, claim_again(place) if number else claim).supervise()
    job = read_job(place, claim)
    assert job.state == "failed"
    assert job.error is not None
    assert cause in job.error["message"]


def test_a_child_that_says_nothing_is_ended_by_the_watchdog(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    place = a_place(sqlite_ledger, tmp_path, "--stall-at", "2", stall_seconds=5)
    claim = a_claim(place)
    Supervisor(place, claim).supervise()
    run = read_run(place, claim)
    assert (run.outcome, (run.error or {})["code"]) == ("interrupted", "run_stalled")


def test_a_child_that_speaks_nonsense_is_ended(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    place = a_place(sqlite_ledger, tmp_path, "--babble-at", "2")
    claim = a_claim(place)
    Supervisor(place, claim).supervise()
    run = read_run(place, claim)
    assert run.outcome == "interrupted"
    assert "I am not a report" in (run.error or {})["message"]


def test_a_checkpoint_whose_files_disagree_makes_no_row(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    place = a_place(sqlite_ledger, tmp_path, "--lies-at", "2", "--step-seconds", "0.05")
    claim = a_claim(place, total_steps=200)
    Supervisor(place, claim).supervise()
    with sqlite_ledger.read() as session:
        assert checkpoints.restorable(session, claim.job.id) == []
    assert read_run(place, claim).outcome == "interrupted"


def test_a_run_out_of_its_time_fails_and_says_so(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    place = a_place(sqlite_ledger, tmp_path, "--step-seconds", "0.05")
    claim = a_claim(place, total_steps=1000, options={"max_run_seconds": 1})
    Supervisor(place, claim).supervise()
    assert (read_job(place, claim).error or {})["code"] == "run_time_exceeded"


def test_a_superseded_supervisor_kills_its_child_and_writes_nothing(ledger: Ledger, tmp_path: Path) -> None:
    place = a_place(ledger, tmp_path, "--step-seconds", "0.05")
    claim = a_claim(place, total_steps=1000)
    supervising = threading.Thread(target=Supervisor(place, claim).supervise)
    supervising.start()
    while read_job(place, claim).step < 2:
        time.sleep(0.05)
    with ledger.write() as session:
        claims.end_worker(session, "wrk_1")
    before = logged(place, claim.job.id)
    supervising.join(PATIENCE_SECONDS)
    assert not supervising.is_alive()
    assert children(claim.run.id) == []
    assert logged(place, claim.job.id) == before
    assert read_job(place, claim).state == "queued"


def test_a_base_model_that_is_gone_fails_the_job_in_words(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    place = a_place(sqlite_ledger, tmp_path)
    claim = a_claim(place)
    with sqlite_ledger.write() as session:
        session.execute(text("UPDATE models SET folder = '/nowhere/at/all'"))
    Supervisor(place, claim).supervise()
    error = read_job(place, claim).error or {}
    assert (error["code"], "/nowhere/at/all" in error["message"]) == ("model_not_found", True)


def steer_soon(place: Place, job: Job, *, after_step: int, **update: Any) -> threading.Thread:
    """Ask for a change of the mixture from another thread, as the API would, once a step is in the log."""

    def ask() -> None:
        while True:
            with place.ledger.read() as session:
                if session.get_one(Job, job.id).step >= after_step:
                    break
            time.sleep(0.02)
        with place.ledger.write() as session:
            steering.ask(session, job.project_id, job.id, MixtureUpdate.model_validate(update), created_by=None,
                         artifacts=place.artifacts, now=place.clock())

    thread = threading.Thread(target=ask)
    thread.start()
    return thread


def changes(place: Place, job: Job) -> list[tuple[str, int | None]]:
    with place.ledger.read() as session:
        return [(change.state, change.from_step) for change in steering.changes_of(session, job.id)]


def test_a_change_of_the_mixture_is_committed_before_the_child_trains_its_step(ledger: Ledger, tmp_path: Path) -> None:
    place = a_place(ledger, tmp_path, "--step-seconds", "0.05")
    claim = a_claim(place, total_steps=100)
    asking = steer_soon(place, claim.job, after_step=2, weights={"chats": 3.0})
    Supervisor(place, claim).supervise()
    asking.join()
    ((state, from_step),) = changes(place, claim.job)
    assert read_job(place, claim).state == "succeeded"
    assert state == "held"
    told = logged(place, claim.job.id)
    assert told.index("mixture.changed") < told.index(f"step {from_step}")
    with ledger.read() as session:
        answers = session.scalars(select(Event).where(Event.job_id == claim.job.id, Event.message.contains("entries"))).all()
    assert [answer.message for answer in answers] == ["the log has 2 entries"]


def test_a_change_whose_child_dies_is_taken_up_by_the_next_run(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    place = a_place(sqlite_ledger, tmp_path, "--step-seconds", "0.05", "--dies-proposing", "--saves-each")
    claim = a_claim(place, total_steps=60)
    asking = steer_soon(place, claim.job, after_step=2, quarantine={"rows": [{"source": "chats", "row": 3}]})
    Supervisor(place, claim).supervise()
    asking.join()
    ((state, from_step),) = changes(place, claim.job)
    assert read_run(place, claim).outcome == "interrupted"
    again = claim_again(place)
    Supervisor(a_place(sqlite_ledger, tmp_path), again).supervise()
    ((state, from_step),) = changes(place, claim.job)
    assert (state, read_job(place, claim).state) == ("held", "succeeded")
    assert from_step is not None
    assert from_step > read_run(place, again).from_step
    spec = orjson.loads((place.artifacts.path(again.run.folder_key) / "spec.json").read_bytes())
    assert spec["stream"]["mixture"][-1] == {"from_step": from_step, "weights": [1.0], "quarantined": [{"source": 0, "row": 3}],
                                             "lifted": []}


def test_the_child_sees_no_url_and_no_key(sqlite_ledger: Ledger, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HEADRACE_DATABASE_URL", "postgresql://user:secret@db/headrace")
    monkeypatch.setenv("HEADRACE_API_KEY", "hr-secret")
    place = a_place(sqlite_ledger, tmp_path, "--step-seconds", "0.3")
    claim = a_claim(place, total_steps=1000)
    supervising = threading.Thread(target=Supervisor(place, claim).supervise)
    supervising.start()
    while not (found := children(claim.run.id)):
        time.sleep(0.02)
    seen = found[0].environ()
    place.stop.set()
    supervising.join()
    assert "secret" not in str(seen)
    assert [name for name in seen if name.startswith("HEADRACE")] == ["HEADRACE_REPORT_FD", "HEADRACE_PARENT_PID"]


def test_a_ledger_away_for_longer_than_the_lease_costs_a_healthy_child_nothing(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    away = AwayLedger(sqlite_ledger)
    place = dataclasses.replace(a_place(sqlite_ledger, tmp_path, "--step-seconds", "0.05", lease_seconds=1.0), ledger=away)
    claim = a_claim(a_place(sqlite_ledger, tmp_path, lease_seconds=1.0), total_steps=100)
    supervising = threading.Thread(target=Supervisor(place, claim).supervise)
    supervising.start()
    while read_job(place, claim).step < 2:
        time.sleep(0.05)
    away.is_away.set()
    time.sleep(3)
    away.is_away.clear()
    supervising.join()
    assert read_job(place, claim).state == "succeeded"
    assert [word for word in logged(place, claim.job.id) if word.startswith("step")] == [f"step {n}" for n in range(1, 101)]
    assert read_job(place, claim).attempts == 1


def test_a_child_that_cannot_be_started_is_an_interruption_in_words(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    place = dataclasses.replace(a_place(sqlite_ledger, tmp_path), command=("/nowhere/python",))
    claim = a_claim(place)
    Supervisor(place, claim).supervise()
    run = read_run(place, claim)
    assert run.outcome == "interrupted"
    assert "could not be started" in (run.error or {})["message"]
    assert free_devices(place) == 1


def test_a_shutdown_does_not_wait_for_a_ledger_that_stays_away(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    away = AwayLedger(sqlite_ledger)
    place = dataclasses.replace(a_place(sqlite_ledger, tmp_path, "--step-seconds", "0.05"), ledger=away)
    claim = a_claim(a_place(sqlite_ledger, tmp_path), total_steps=1000)
    supervising = threading.Thread(target=Supervisor(place, claim).supervise)
    supervising.start()
    while not children(claim.run.id):
        time.sleep(0.05)
    away.is_away.set()
    time.sleep(1)
    place.stop.set()
    supervising.join(PATIENCE_SECONDS)
    assert not supervising.is_alive()
    assert children(claim.run.id) == []
    with sqlite_ledger.read() as session:
        assert session.get_one(Job, claim.job.id).state == "running"  # its lease lapses, and the job is queued again


def test_a_job_of_two_devices_is_run_by_two_ranks_and_told_once(ledger: Ledger, tmp_path: Path) -> None:
    place = a_place(ledger, tmp_path)
    claim = a_claim_of_two(place)
    Supervisor(place, claim).supervise()
    told = logged(place, claim.job.id)
    assert read_job(place, claim).state == "succeeded"
    assert [word for word in told if word.startswith("step")] == [f"step {number}" for number in range(1, 7)]
    assert told.count("compute.chosen") == 1
    assert free_devices(place) == 2
    folder = place.artifacts.path(claim.run.folder_key)
    assert orjson.loads((folder / "spec.json").read_bytes())["ranks"] == 2
    assert {file.name for file in folder.glob("*.log")} == {"run.log", "run-rank-1.log"}


def test_a_cancel_ends_every_rank(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    place = a_place(sqlite_ledger, tmp_path, "--step-seconds", "0.2")
    claim = a_claim_of_two(place)
    asking = cancel_soon(place, claim.job, after_step=1)
    Supervisor(place, claim).supervise()
    asking.join()
    assert read_job(place, claim).state == "cancelled"
    assert children("fake_child") == []
    assert free_devices(place) == 2


def a_claim_of_two(place: Place) -> Claim:
    with place.ledger.write() as session:
        a_planned_job(session, place, total_steps=6, options={"devices": 2})
        cards = devices.announce(session, HOST, [FoundDevice("cpu", number, "a processor", 1 << 30) for number in range(2)])
        claim = claims.claim_next(session, worker_id="wrk_1", host=HOST, devices=[card.id for card in cards],
                                  lease_seconds=place.settings.lease_seconds)
    assert claim is not None
    return claim


class Stumbling(threading.Event):
    """A stop sign that makes its reader stumble as soon as a child lives."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[int] = set()

    def is_set(self) -> bool:
        living = {child.pid for child in children("fake_child")}
        if living and not self.seen:
            self.seen = living
            raise Unavailable("the sign cannot be read")
        return super().is_set()


def test_a_supervisor_that_stumbles_sees_its_child_dead_before_it_settles(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    stop, left = Stumbling(), []
    place = a_place(sqlite_ledger, tmp_path, "--step-seconds", "0.05")

    def clock() -> datetime:  # asked last when the run is settled
        left.append({child.pid for child in psutil.Process().children()} & stop.seen)
        return place.clock()

    claim = a_claim(place, total_steps=1000)
    Supervisor(dataclasses.replace(place, stop=stop, clock=clock), claim).supervise()
    assert len(stop.seen) == 1
    assert left[-1] == set()
    assert (read_run(place, claim).outcome, free_devices(place)) == ("interrupted", 1)


class Store(Artifacts):
    """A storage that does as it was told when something is fetched from it."""

    def __init__(self, root: Path, fault: Exception | None = None) -> None:
        super().__init__(root)
        self.is_fetching, self._fault, self._look = threading.Event(), fault, lambda: None

    def watched(self, look: Callable[[], None]) -> Store:
        theirs = copy.copy(self)
        theirs._look = look
        return theirs

    def fetch(self, key: str) -> Path:
        """Break, or send one piece after the other without end."""
        self.is_fetching.set()
        if self._fault is not None:
            raise self._fault
        while True:
            self._look()
            time.sleep(0.02)


def want(place: Place, claim: Claim, wanted: str) -> None:
    if wanted == "shutdown":
        place.stop.set()
        return
    with place.ledger.write() as session:
        if wanted == "preempt":
            session.get_one(Job, claim.job.id).wanted = wanted
        else:
            verb = jobs.cancel if wanted == "cancel" else jobs.pause
            verb(session, claim.job.project_id, claim.job.id, now=place.clock())


@pytest.mark.parametrize(("wanted", "outcome", "state"), [
    ("cancel", "cancelled", "cancelled"), ("pause", "paused", "paused"), ("preempt", "preempted", "queued"),
    ("shutdown", "handed_back", "queued")])
def test_what_is_asked_for_while_parts_are_fetched_is_heard_and_costs_no_attempt(
        sqlite_ledger: Ledger, tmp_path: Path, wanted: str, outcome: str, state: str) -> None:
    store = Store(tmp_path / "storage")
    place = dataclasses.replace(a_place(sqlite_ledger, tmp_path), artifacts=store)
    claim = a_claim(place)
    supervising = threading.Thread(target=Supervisor(place, claim).supervise, daemon=True)
    supervising.start()
    store.is_fetching.wait(PATIENCE_SECONDS)
    want(place, claim, wanted)
    supervising.join(PATIENCE_SECONDS)
    job = read_job(place, claim)
    assert (read_run(place, claim).outcome, job.state, job.failed_attempts) == (outcome, state, 0)


@pytest.mark.parametrize(("fault", "outcome", "bad_ends"), [
    (RunInterrupted("the adapter came down damaged"), "interrupted", 1),
    (Unavailable("the disk is full", code="insufficient_storage"), "handed_back", 0)])
def test_parts_that_cannot_be_had_here_and_now_are_no_fault_of_the_users(
        sqlite_ledger: Ledger, tmp_path: Path, fault: Exception, outcome: str, bad_ends: int) -> None:
    place = dataclasses.replace(a_place(sqlite_ledger, tmp_path), artifacts=Store(tmp_path / "storage", fault))
    claim = a_claim(place)
    Supervisor(place, claim).supervise()
    job = read_job(place, claim)
    assert (read_run(place, claim).outcome, job.state, job.failed_attempts) == (outcome, "queued", bad_ends)
