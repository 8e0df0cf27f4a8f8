from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from core.checkpoints import service as checkpoints
from core.checkpoints.freeing import free, left_behind
from core.checkpoints.models import Checkpoint
from core.db.session import Ledger
from core.errors import IllegalMove, NotFound
from core.jobs import claims, stops
from core.jobs.claims import Claim
from core.models.repository import model_name_of
from core.models.service import delete_model
from core.specs.job import SPEC_VERSION
from core.storage.artifacts import Artifacts
from tests.factories import NOW, a_checkpoint, a_claim, a_job, a_running_job, later, succeed


def shown_steps(session, claim: Claim) -> list[int]:
    return [c.step for c in checkpoints.list_checkpoints(session, claim.job.id, after=None, limit=100).items]


def steps_kept(ledger: Ledger, asked: Any, losses: dict[int, float | None]) -> list[int]:
    """The steps still shown after checkpoints with these held-out losses were saved one after another and the job ended."""
    with ledger.write() as session:
        claim = a_running_job(session, options={"keep_checkpoints": asked})
        for step, loss in losses.items():
            a_checkpoint(session, claim, step=step).metrics = {} if loss is None else {"full_valid_loss": loss}
            checkpoints.prune(session, claim.job, now=NOW)
        job = succeed(session, claim)
        checkpoints.prune(session, job, now=NOW)
        return shown_steps(session, claim)[1:]  # the final one is always there


LOSSES = {2: 3.0, 4: 1.5, 6: 2.0, 8: 2.5, 10: 1.75}


@pytest.mark.parametrize(("asked", "kept"), [
    ("all", [10, 8, 6, 4, 2]),
    ({"last": 3}, [10, 8]),  # the final one is the newest of the three
    ({"best": True}, [4]),
    ({"every": 4}, [8, 4]),
    ({"last": 2, "best": True, "every": 6}, [10, 6, 4]),
    (None, [10, 8, 6, 4, 2]),
])
def test_what_a_job_asks_for_stays(sqlite_ledger: Ledger, asked: Any, kept: list[int]):
    assert steps_kept(sqlite_ledger, asked, dict(LOSSES)) == kept


def test_best_of_unmeasured_checkpoints_is_none_and_of_equal_ones_the_earliest(sqlite_ledger: Ledger):
    assert steps_kept(sqlite_ledger, {"best": True}, {2: None, 4: None, 6: float("nan"), 8: None}) == []
    assert steps_kept(sqlite_ledger, {"best": True}, {2: None, 4: 1.0, 6: 1.0, 8: None}) == [4]


def test_spec_of_another_release_lets_nothing_go(sqlite_ledger: Ledger):
    with sqlite_ledger.write() as session:
        claim = a_running_job(session, options={"keep_checkpoints": {"last": 1}})
        for step in (1, 2, 3):
            a_checkpoint(session, claim, step=step)
        claim.job.spec_version = SPEC_VERSION + 1
        assert checkpoints.prune(session, claim.job, now=NOW) == []


def test_what_an_unfinished_job_goes_on_from_stays(ledger: Ledger):
    with ledger.write() as session:
        claim = a_running_job(session, options={"keep_checkpoints": {"every": 100}})
        for step in (1, 2, 3, 4):
            a_checkpoint(session, claim, step=step)
            checkpoints.prune(session, claim.job, now=NOW)
        assert shown_steps(session, claim) == [4, 3]


def test_pinned_checkpoint_stays_until_it_is_unpinned(ledger: Ledger):
    with ledger.write() as session:
        claim = a_running_job(session, options={"keep_checkpoints": {"last": 1}})
        pinned = a_checkpoint(session, claim, step=1)
        checkpoints.pin(session, claim.job.id, pinned.id, now=NOW)
        for step in (2, 3, 4):
            a_checkpoint(session, claim, step=step)
        checkpoints.prune(session, claim.job, now=NOW)
        assert shown_steps(session, claim) == [4, 3, 1]
        with pytest.raises(IllegalMove, match="is pinned; unpin it first"):
            checkpoints.drop(session, claim.job.id, pinned.id, now=NOW)
        checkpoints.unpin(session, claim.job.id, pinned.id)
        checkpoints.prune(session, claim.job, now=NOW)
        assert shown_steps(session, claim) == [4, 3]


def a_second_run(session, *, of: Claim) -> Claim:
    claims.settle(session, of.run.id, of.run.fence, "handed_back", now=NOW)
    claim = a_claim(session, now=later(1))
    assert claim is not None
    return claim


def a_pinned_one(session, claim: Claim, *, step: int) -> Checkpoint:
    return checkpoints.pin(session, claim.job.id, a_checkpoint(session, claim, step=step).id, now=NOW)


@pytest.mark.parametrize("seen_before", [True, False])
def test_pin_goes_over_to_the_checkpoint_that_takes_its_place(ledger: Ledger, tmp_path: Path, seen_before: bool):
    with ledger.write() as session:
        first = a_running_job(session)
        old = a_pinned_one(session, first, step=8)
        second = a_second_run(session, of=first)
        if seen_before:
            old.deleted_at = NOW  # as the run that finds it damaged does
        a_checkpoint(session, second, step=6)
        dropped = checkpoints.prune(session, second.job, now=NOW)
    free(ledger, Artifacts(tmp_path), dropped)
    with ledger.write() as session:
        new = a_checkpoint(session, second, step=8)
        assert new.pinned_at == NOW
        assert checkpoints.prune(session, second.job, now=NOW) == [old.folder_key]


def test_pin_that_was_taken_back_stays_so(ledger: Ledger):
    with ledger.write() as session:
        first = a_running_job(session)
        a_pinned_one(session, first, step=8)
        second = a_second_run(session, of=first)
        checkpoints.unpin(session, first.job.id, a_checkpoint(session, second, step=8).id)
        assert a_checkpoint(session, a_second_run(session, of=second), step=8).pinned_at is None


def test_pin_whose_step_is_never_reached_again_keeps_no_bytes(ledger: Ledger):
    with ledger.write() as session:
        first = a_running_job(session)
        old = a_pinned_one(session, first, step=8)
        a_checkpoint(session, a_second_run(session, of=first), step=6)
        stops.cancel(session, first.job.project_id, first.job.id, now=NOW)
        assert left_behind(session, now=later(10**6)) == []
        claims.end_worker(session, first.run.worker_id, now=NOW)
        assert left_behind(session, now=later(10**6)) == [old.folder_key]


def test_checkpoint_that_others_begin_with_stays(ledger: Ledger):
    with ledger.write() as session:
        claim = a_running_job(session, options={"keep_checkpoints": {"last": 1}})
        base, *_ = [a_checkpoint(session, claim, step=step) for step in (10, 20, 30)]
        job = succeed_at(session, claim, 40)
        second = a_job(session, model=f"{job.fine_tuned_model}:ckpt-step-10")
        checkpoints.prune(session, job, now=NOW)
        assert shown_steps(session, claim) == [40, 10]
        with pytest.raises(IllegalMove, match=f"1 unfinished job begins with \\({second.id}\\)"):
            checkpoints.drop(session, job.id, base.id, now=NOW)
        second.state = "cancelled"
        session.flush()
        checkpoints.drop(session, job.id, base.id, now=NOW)
        assert shown_steps(session, claim) == [40]


def test_pruning_waits_for_a_submit_that_may_begin_with_what_goes(postgres_url: str):
    ledger = Ledger(postgres_url)
    with ledger.write() as session:
        claim = a_running_job(session, options={"keep_checkpoints": {"last": 1}})
        for step in (10, 20, 30):
            a_checkpoint(session, claim, step=step)
        name = model_name_of(session, claim.job)
    with ledger.write() as session:
        a_job(session, model=f"{name}:ckpt-step-10")
        with ledger.write() as late:
            late.execute(text("SET LOCAL lock_timeout = '10ms'"))
            with pytest.raises(OperationalError, match="lock timeout"):
                checkpoints.prune(late, claim.job, now=NOW)
            late.rollback()
    with ledger.write() as session:
        assert checkpoints.prune(session, claim.job, now=NOW) == []
    ledger.close()


def succeed_at(session, claim: Claim, step: int):
    a_checkpoint(session, claim, step=step, kind="final")
    return claims.settle(session, claim.run.id, claim.run.fence, "succeeded", now=NOW)


def test_checkpoint_that_is_a_model_goes_after_the_model(ledger: Ledger):
    with ledger.write() as session:
        claim = a_running_job(session)
        job = succeed(session, claim)
        final = checkpoints.final_of(session, job.id)
        assert final is not None
        with pytest.raises(IllegalMove, match="delete the model first"):
            checkpoints.drop(session, job.id, final.id, now=NOW)
        delete_model(session, job.project_id, job.fine_tuned_model or "", now=NOW)
        assert checkpoints.drop(session, job.id, final.id, now=NOW) == [final.folder_key]
        with pytest.raises(NotFound):
            checkpoints.drop(session, job.id, final.id, now=NOW)


def test_deleted_model_s_checkpoint_stays_while_a_job_begins_with_it(ledger: Ledger):
    with ledger.write() as session:
        job = succeed(session, a_running_job(session))
        final = checkpoints.final_of(session, job.id)
        assert final is not None
        onward = a_job(session, model=job.fine_tuned_model)
        delete_model(session, job.project_id, job.fine_tuned_model or "", now=NOW)
        with pytest.raises(IllegalMove, match=f"1 unfinished job begins with \\({onward.id}\\)"):
            checkpoints.drop(session, job.id, final.id, now=NOW)
        stops.cancel(session, job.project_id, onward.id, now=NOW)
        assert checkpoints.drop(session, job.id, final.id, now=NOW) == [final.folder_key]


def test_running_job_keeps_what_it_would_go_on_from(ledger: Ledger):
    with ledger.write() as session:
        claim = a_running_job(session)
        old, _, newest = [a_checkpoint(session, claim, step=step) for step in (2, 4, 6)]
        with pytest.raises(IllegalMove, match="goes on from it should its run be interrupted"):
            checkpoints.drop(session, claim.job.id, newest.id, now=NOW)
        checkpoints.drop(session, claim.job.id, old.id, now=NOW)
        assert shown_steps(session, claim) == [6, 4]


def test_dropped_checkpoints_leave_neither_bytes_nor_rows(ledger: Ledger, tmp_path):
    artifacts = Artifacts(tmp_path)
    with ledger.write() as session:
        claim = a_running_job(session)
        for step in (1, 2, 3):
            key = a_checkpoint(session, claim, step=step, kind="recovery").folder_key
            (tmp_path / key).mkdir(parents=True)
        keys = checkpoints.prune(session, claim.job, now=NOW)
    with ledger.read() as session:
        assert left_behind(session, now=later(60)) == []
        assert left_behind(session, now=later(3600)) == keys
    free(ledger, artifacts, keys)
    with ledger.read() as session:
        assert session.query(Checkpoint).count() == 2
    assert sorted(p.name for p in (tmp_path / keys[0]).parent.iterdir()) == ["step-2-recovery", "step-3-recovery"]


def test_bytes_that_cannot_be_removed_keep_their_row(ledger: Ledger, tmp_path):
    with ledger.write() as session:
        claim = a_running_job(session)
        for step in (1, 2, 3):
            a_checkpoint(session, claim, step=step, kind="recovery")
        keys = checkpoints.prune(session, claim.job, now=NOW)
    (tmp_path / "jobs").symlink_to("/")  # a key that leads out of the root is refused
    free(ledger, Artifacts(tmp_path), keys)
    with ledger.read() as session:
        assert left_behind(session, now=later(3600)) == keys
