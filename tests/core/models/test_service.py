from __future__ import annotations

import pytest

from core.db.session import Ledger
from core.errors import Conflict, Forbidden, IllegalMove, NotFound
from core.jobs import service as jobs
from core.jobs.models import Job
from core.models import service as models
from tests.factories import (
    NOW,
    a_base_model,
    a_checkpoint,
    a_job,
    a_project,
    a_running_job,
    report_steps,
    succeed,
)


def a_tuned(session, project=None, **fields) -> Job:
    claim = a_running_job(session, project, **fields)
    report_steps(session, claim, *range(1, 13))
    a_checkpoint(session, claim, step=4)
    return succeed(session, claim)


def test_same_base_model_again_is_no_change_and_another_digest_is_refused(ledger: Ledger):
    with ledger.write() as session:
        a_base_model(session)
        a_base_model(session)
        with pytest.raises(Conflict, match="remove it first"):
            models.add_base_model(session, name="tiny", folder="/x", digest="other", facts={}, now=NOW)


def test_removed_base_model_may_be_added_again_with_other_contents(ledger: Ledger):
    with ledger.write() as session:
        a_base_model(session)
        models.remove_base_model(session, "tiny", now=NOW)
        with pytest.raises(NotFound):
            models.get_model(session, a_project(session).id, "tiny")
        assert models.add_base_model(session, name="tiny", folder="/x", digest="other", facts={}, now=NOW).deleted_at is None


def test_base_model_in_use_is_not_removed_and_the_jobs_are_named(ledger: Ledger):
    with ledger.write() as session:
        tuned = a_tuned(session)
        plain, onward = a_job(session), a_job(session, model=tuned.fine_tuned_model)
        for job in (plain, onward):
            with pytest.raises(IllegalMove, match=job.id):
                models.remove_base_model(session, "tiny", now=NOW)
            jobs.cancel(session, job.project_id, job.id, now=NOW)
        models.remove_base_model(session, "tiny", now=NOW)


def test_list_holds_base_models_and_own_ones(ledger: Ledger):
    with ledger.write() as session:
        mine, theirs = a_tuned(session, a_project(session, "mine")), a_tuned(session, a_project(session, "theirs"))
        assert [m.name for m in models.list_models(session, mine.project_id)] == ["tiny", mine.fine_tuned_model]
        with pytest.raises(NotFound) as caught:
            models.get_model(session, mine.project_id, theirs.fine_tuned_model or "")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


@pytest.mark.parametrize("base", ["tiny", "Qwen/Qwen3-0.6B", "a_b"])
def test_checkpoint_s_name_leads_to_its_base_and_adapter(ledger: Ledger, base: str):
    with ledger.write() as session:
        a_base_model(session, base)
        job = a_tuned(session, model=base)
        model = models.get_model(session, job.project_id, f"{job.fine_tuned_model}:ckpt-step-4")
        resolved = models.resolve_base(session, job.project_id, model.name)
    assert (resolved.base.name, model.job_id, model.kind) == (base, job.id, "fine_tuned")
    assert resolved.checkpoint is not None
    assert resolved.checkpoint.step == 4


def test_checkpoint_of_a_running_job_has_its_name_already(ledger: Ledger):
    with ledger.write() as session:
        claim = a_running_job(session)
        a_checkpoint(session, claim, step=4)
        name = models.model_name_of(session, claim.job)
        assert models.get_model(session, claim.job.project_id, f"{name}:ckpt-step-4").job_id == claim.job.id


@pytest.mark.parametrize("change", [lambda n: f"{n}:ckpt-step-5", lambda n: f"{n.swapcase()}:ckpt-step-4", lambda n: f"{n}x",
                                    lambda n: n.replace("tiny", "t_ny") + ":ckpt-step-4", lambda n: "ft::::", lambda n: ""])
def test_name_that_leads_nowhere_is_unknown(ledger: Ledger, change):
    with ledger.write() as session:
        job = a_tuned(session)
        with pytest.raises(NotFound, match="is not known here"):
            models.resolve_base(session, job.project_id, change(job.fine_tuned_model))


def test_deleted_model_is_gone_with_its_checkpoints(ledger: Ledger):
    with ledger.write() as session:
        job = a_tuned(session)
        assert job.fine_tuned_model is not None
        models.delete_model(session, job.project_id, job.fine_tuned_model, now=NOW)
        for name in (job.fine_tuned_model, f"{job.fine_tuned_model}:ckpt-step-4"):
            with pytest.raises(NotFound):
                models.resolve_base(session, job.project_id, name)


@pytest.mark.parametrize("part", ["", ":ckpt-step-4"])
def test_job_that_was_taken_in_goes_on_with_a_deleted_model(ledger: Ledger, part: str):
    with ledger.write() as session:
        made = a_tuned(session)
        onward = a_job(session, model=f"{made.fine_tuned_model}{part}")
        before = models.resolve_base(session, onward.project_id, onward.model)
        models.delete_model(session, made.project_id, made.fine_tuned_model or "", now=NOW)
        assert models.resolve_base_of(session, onward) == before
        with pytest.raises(NotFound):
            a_job(session, model=onward.model)


def test_base_model_is_not_a_client_s_to_delete(ledger: Ledger):
    with ledger.write() as session:
        a_base_model(session)
        with pytest.raises(Forbidden):
            models.delete_model(session, a_project(session).id, "tiny", now=NOW)


def test_foreign_model_is_not_deleted(ledger: Ledger):
    with ledger.write() as session:
        job = a_tuned(session, a_project(session, "theirs"))
        with pytest.raises(NotFound):
            models.delete_model(session, a_project(session, "mine").id, job.fine_tuned_model or "", now=NOW)


def test_model_of_a_removed_base_says_what_is_missing(ledger: Ledger):
    with ledger.write() as session:
        job = a_tuned(session)
        models.remove_base_model(session, "tiny", now=NOW)
        with pytest.raises(NotFound, match="made from 'tiny', which is not on the list any more"):
            models.resolve_base(session, job.project_id, job.fine_tuned_model or "")


def test_model_tuned_from_a_tuned_one_keeps_the_base_s_name(ledger: Ledger):
    with ledger.write() as session:
        first = a_tuned(session)
        second = a_tuned(session, model=first.fine_tuned_model)
        assert second.fine_tuned_model is not None
        assert second.fine_tuned_model.startswith("ft:tiny:org-")
        assert models.resolve_base(session, second.project_id, second.fine_tuned_model).base.name == "tiny"
