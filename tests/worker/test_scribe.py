from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
from sqlalchemy import select

from core.checkpoints import service as checkpoints
from core.clock import system_clock
from core.db.session import Ledger
from core.events.models import Event
from core.jobs import claims
from core.jobs.claims import Claim
from core.jobs.models import Job, Run
from core.storage import manifest
from core.storage.artifacts import Artifacts
from tests import factories
from tests.waiting import wait_for
from tests.worker.away_ledger import AwayLedger
from tests.worker.fake_steps import a_step
from worker.reports import (
    SKIPPED_ROWS_TOLD,
    Alive,
    DataWaiting,
    MemoryRecovered,
    PhaseChanged,
    Sampled,
    Saved,
    SavingPaused,
    SavingResumed,
    Started,
    StepDone,
    Warned,
)
from worker.scribe import Scribe, metrics_row, runs_of_steps


def a_run(ledger: Ledger) -> Claim:
    with ledger.write() as session:
        return factories.a_running_job(session)


def a_scribe(ledger, folder: Path, claim: Claim, rung: list[str] | None = None, *,
             artifacts: type[Artifacts] = Artifacts) -> Scribe:
    return Scribe(ledger, artifacts(folder), job_id=claim.job.id, run_id=claim.run.id, fence=claim.run.fence,
                  ring=(rung if rung is not None else []).append, clock=system_clock)


def a_saved(folder: Path, claim: Claim, step: int, kind="recovery") -> Saved:
    """A checkpoint that lies whole in the run's folder."""
    path = folder / claim.run.folder_key / "checkpoints" / f"step-{step}"
    path.mkdir(parents=True)
    (path / "weights").write_bytes(b"w" * step)
    sealed = manifest.seal(path)
    return Saved(step=step, checkpoint=kind, folder=str(path), manifest_digest=sealed.digest, bytes=sealed.bytes,
                 position={"step": step})


def told(ledger: Ledger, claim: Claim) -> list[str]:
    with ledger.read() as session:
        events = session.scalars(select(Event).where(Event.job_id == claim.job.id).order_by(Event.number))
        return [event.data["code"] if event.step is None else f"step {event.step}" for event in events if event.data]


def test_reports_are_written_in_the_order_in_which_they_came(ledger: Ledger, tmp_path: Path) -> None:
    claim, rung = a_run(ledger), []
    scribe = a_scribe(ledger, tmp_path, claim, rung)
    sampled = Sampled(2, [{"prompt": "p", "answer": "a"}])
    for report in (PhaseChanged("training"), a_step(1), a_step(2), sampled, a_step(3), Alive(1)):
        scribe.note(report)
    scribe.close()
    assert told(ledger, claim)[-4:] == ["step 1", "step 2", "sample.generated", "step 3"]
    assert set(rung) == {claim.job.id}


def test_a_step_is_written_soon_though_nothing_follows_it(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    claim = a_run(sqlite_ledger)
    scribe = a_scribe(sqlite_ledger, tmp_path, claim)
    scribe.note(a_step(1))
    wait_for(lambda: "step 1" in told(sqlite_ledger, claim))
    scribe.close()


def test_pausing_of_saves_is_told_with_numbers_and_remedy(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    claim = a_run(sqlite_ledger)
    scribe = a_scribe(sqlite_ledger, tmp_path, claim)
    scribe.note(SavingPaused(4, "disk", "the disk has 5 bytes free", "make room", need_bytes=9, free_bytes=5))
    scribe.note(SavingResumed(7, "disk", [5, 6]))
    scribe.close()
    assert told(sqlite_ledger, claim)[-2:] == ["saving.paused", "saving.resumed"]
    with sqlite_ledger.read() as session:
        paused, resumed = session.scalars(select(Event).order_by(Event.number.desc()).limit(2)).all()[::-1]
    assert paused.data == {"code": "saving.paused", "step": 4, "where": "disk", "need_bytes": 9, "free_bytes": 5}
    assert "make room" in paused.message
    assert "steps 5, 6" in resumed.message


def test_waiting_for_data_and_warnings_are_told_in_plain_words(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    claim = a_run(sqlite_ledger)
    scribe = a_scribe(sqlite_ledger, tmp_path, claim)
    scribe.note(Warned("the rows are tokenised slowly"))
    scribe.note(DataWaiting(40, share=0.25, steps=20, cause="network", place="archive", remedy="copy the data nearer"))
    scribe.close()
    assert told(sqlite_ledger, claim)[-2:] == ["run.warned", "data.waiting"]
    with sqlite_ledger.read() as session:
        event = session.scalars(select(Event).where(Event.job_id == claim.job.id).order_by(Event.number.desc())).first()
        assert event is not None
        assert event.message == ("25% of the time of the last 20 steps was spent waiting for data; most of its loading is "
                                 "network from 'archive': copy the data nearer")


def test_a_restored_run_is_told(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    claim = a_run(sqlite_ledger)
    scribe = a_scribe(sqlite_ledger, tmp_path, claim)
    scribe.note(Started(from_step=4, total_steps=12, parameters=1, trainable_parameters=1, device="cpu", dtype="fp32"))
    scribe.close()
    with sqlite_ledger.read() as session:
        assert session.get_one(Run, claim.run.id).from_step == 4
    assert told(sqlite_ledger, claim)[-1] == "run.restored"


def test_a_checkpoint_exists_when_its_row_does_and_old_recovery_points_go(ledger: Ledger, tmp_path: Path) -> None:
    claim = a_run(ledger)
    saved = [a_saved(tmp_path, claim, step) for step in (1, 2, 3)]
    scribe = a_scribe(ledger, tmp_path, claim)
    for report in saved:
        scribe.note(report)
    scribe.close()
    with ledger.read() as session:
        assert [c.step for c in checkpoints.restorable(session, claim.job.id)] == [3, 2]
    assert [Path(report.folder).exists() for report in saved] == [False, True, True]


def test_a_checkpoint_outside_the_storage_or_damaged_makes_the_scribe_give_up(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    claim = a_run(sqlite_ledger)
    saved = a_saved(tmp_path, claim, 3)
    (Path(saved.folder) / "weights").write_bytes(b"x" * 3)
    scribe = a_scribe(sqlite_ledger, tmp_path, claim)
    scribe.note(saved)
    scribe.close()
    assert isinstance(scribe.fault, manifest.FolderDamaged)
    with sqlite_ledger.read() as session:
        assert checkpoints.restorable(session, claim.job.id) == []


def test_nothing_is_lost_while_the_ledger_is_away(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    claim, away = a_run(sqlite_ledger), AwayLedger(sqlite_ledger)
    scribe = a_scribe(away, tmp_path, claim)
    away.is_away.set()
    for step in range(1, 121):
        scribe.note(a_step(step))
    time.sleep(0.7)
    assert (scribe.is_lost, scribe.fault) == (False, None)
    away.is_away.clear()
    scribe.close()
    assert told(sqlite_ledger, claim)[-120:] == [f"step {n}" for n in range(1, 121)]


def test_recovery_points_that_went_for_newer_ones_while_the_ledger_was_away_cost_nothing(sqlite_ledger: Ledger,
                                                                                         tmp_path: Path) -> None:
    claim, away = a_run(sqlite_ledger), AwayLedger(sqlite_ledger)
    scribe = a_scribe(away, tmp_path, claim)
    away.is_away.set()
    saved = [a_saved(tmp_path, claim, step) for step in (1, 2, 3, 4)]
    for report in saved:
        scribe.note(report)
    for report in saved[:2]:
        Path(report.folder).rename(f"{report.folder}.removed")  # as a child does: no half of it keeps its name
    away.is_away.clear()
    scribe.close()
    assert scribe.fault is None
    with sqlite_ledger.read() as session:
        assert [c.step for c in checkpoints.restorable(session, claim.job.id)] == [4, 3]


def test_nothing_is_told_twice_when_the_answer_to_a_commit_is_lost(ledger: Ledger, tmp_path: Path) -> None:
    claim, away = a_run(ledger), AwayLedger(ledger)
    away.loses_answer.set()
    scribe = a_scribe(away, tmp_path, claim)
    for report in (Sampled(0, [{"prompt": "p", "answer": "a"}]), a_step(1), MemoryRecovered(1, 2, 64), Warned("odd")):
        scribe.note(report)
    scribe.close()
    assert not away.loses_answer.is_set()
    assert told(ledger, claim)[-4:] == ["sample.generated", "step 1", "oom.recovered", "run.warned"]
    assert told(ledger, claim).count("sample.generated") == 1


class TakenWhileRead(Artifacts):
    """A child renames the folder between two reads of it."""

    def confirm(self, folder: Path, digest: str) -> None:
        told = manifest.read(folder)
        folder.rename(f"{folder}.removed")
        (folder / told.files[0].name).stat()


@pytest.mark.parametrize(("kind", "fault"), [("recovery", type(None)), ("listed", FileNotFoundError)])
def test_a_folder_that_goes_while_it_is_read_costs_nothing_unless_it_was_to_stay(
        sqlite_ledger: Ledger, tmp_path: Path, kind: str, fault: type) -> None:
    claim = a_run(sqlite_ledger)
    scribe = a_scribe(sqlite_ledger, tmp_path, claim, artifacts=TakenWhileRead)
    scribe.note(a_saved(tmp_path, claim, 3, kind))
    scribe.close()
    assert type(scribe.fault) is fault
    with sqlite_ledger.read() as session:
        assert checkpoints.restorable(session, claim.job.id) == []


def test_a_checkpoint_whose_commit_was_not_answered_has_one_row_and_is_told_once(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    claim, away = a_run(sqlite_ledger), AwayLedger(sqlite_ledger)
    away.loses_answer.set()
    scribe = a_scribe(away, tmp_path, claim)
    scribe.note(a_saved(tmp_path, claim, 3, "listed"))
    scribe.close()
    assert not away.loses_answer.is_set()
    with sqlite_ledger.read() as session:
        assert [c.step for c in checkpoints.restorable(session, claim.job.id)] == [3]
    assert told(sqlite_ledger, claim).count("checkpoint.saved") == 1


def test_a_shown_checkpoint_that_is_gone_makes_the_scribe_give_up(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    claim = a_run(sqlite_ledger)
    saved = a_saved(tmp_path, claim, 3, "listed")
    shutil.rmtree(saved.folder)
    scribe = a_scribe(sqlite_ledger, tmp_path, claim)
    scribe.note(saved)
    scribe.close()
    assert isinstance(scribe.fault, manifest.FolderDamaged)


def test_many_reports_that_wait_leave_no_room(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    claim, away = a_run(sqlite_ledger), AwayLedger(sqlite_ledger)
    away.is_away.set()
    scribe = a_scribe(away, tmp_path, claim)
    for step in range(1, 10_200):
        scribe.note(a_step(step))
    assert not scribe.has_room
    scribe.abandon()
    scribe.close()


def test_a_lost_run_writes_nothing(ledger: Ledger, tmp_path: Path) -> None:
    claim = a_run(ledger)
    with ledger.write() as session:
        claims.end_worker(session, claim.run.worker_id)
    before = told(ledger, claim)
    scribe = a_scribe(ledger, tmp_path, claim)
    scribe.note(a_step(1))
    scribe.close()
    assert scribe.is_lost
    assert told(ledger, claim) == before


def skipping(step: int, *lines: int, **figures: int) -> StepDone:
    return a_step(step, skipped=[{"source": "chats", "file": "a.jsonl", "line": line, "reason": "no json"} for line in lines],
                  source_skipped={"chats": figures["so_far"]})


def written(ledger: Ledger, folder: Path, claim: Claim, *steps: StepDone) -> None:
    scribe = a_scribe(ledger, folder, claim)
    for step in steps:
        scribe.note(step)
    scribe.close()


def test_a_row_skipped_is_named_and_counted_once_though_its_step_is_trained_again(ledger: Ledger, tmp_path: Path) -> None:
    claim = a_run(ledger)
    first, second = skipping(1, 7, so_far=1), skipping(2, 9, so_far=2)
    written(ledger, tmp_path, claim, first, second)
    written(ledger, tmp_path, claim, second, skipping(3, so_far=2))
    assert told(ledger, claim)[-5:] == ["row.skipped", "row.skipped", "step 1", "step 2", "step 3"]
    with ledger.read() as session:
        assert (session.get_one(Job, claim.job.id).progress or {})["skipped_rows"] == 2
        event = session.scalars(select(Event).where(Event.job_id == claim.job.id, Event.level == "warn")).first()
        assert event is not None
        assert event.message == "Row on line 7 of 'a.jsonl', source 'chats', was skipped: no json"


def test_skipped_rows_are_named_up_to_a_bound_over_all_runs_of_a_job(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    claim = a_run(sqlite_ledger)
    for step in range(1, 4):
        written(sqlite_ledger, tmp_path, claim, skipping(step, *range(40), so_far=40 * step))
    assert told(sqlite_ledger, claim).count("row.skipped") == SKIPPED_ROWS_TOLD


def test_a_step_that_ran_out_of_memory_is_told(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    claim = a_run(sqlite_ledger)
    scribe = a_scribe(sqlite_ledger, tmp_path, claim)
    scribe.note(MemoryRecovered(step=3, micro_batches=4, limit_tokens=256))
    scribe.close()
    assert "oom.recovered" in told(sqlite_ledger, claim)


def test_the_phase_is_shown(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    claim = a_run(sqlite_ledger)
    scribe = a_scribe(sqlite_ledger, tmp_path, claim)
    scribe.note(PhaseChanged("evaluating"))
    scribe.close()
    with sqlite_ledger.read() as session:
        assert (session.get_one(Job, claim.job.id).progress or {})["phase"] == "evaluating"


def test_neighbouring_steps_are_one_group() -> None:
    phase, saved = PhaseChanged("saving"), Sampled(2, [])
    reports = [a_step(1), a_step(2), Alive(1), phase, saved, a_step(3)]
    assert runs_of_steps(reports) == [[a_step(1), a_step(2)], phase, saved, [a_step(3)]]


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), float("-inf")])
def test_figures_that_are_not_finite_are_left_out(loss: float) -> None:
    row = metrics_row(a_step(1, train_loss=loss), 12)
    assert "train_loss" not in row
    assert (row["step"], row["total_steps"], row["tokens_per_second"]) == (1, 12, 4000.0)
    assert row["data_wait_share"] == row["data_wait_seconds"] / row["step_seconds"]
