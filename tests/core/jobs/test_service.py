from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from core.chores import service as chores
from core.chores.kinds import PREPARE_JOB
from core.chores.models import Chore
from core.datasets import service as datasets
from core.db.session import Ledger, database_now
from core.errors import HeadraceError, InvalidValue, LimitReached, NotFound
from core.events.service import events_after
from core.jobs import service as jobs
from core.jobs.models import Job
from core.jobs.repository import runs_of
from core.quotas.limits import Limits, Rules
from tests.factories import (
    NOW,
    a_base_model,
    a_dataset,
    a_file,
    a_job,
    a_project,
    a_running_job,
    a_spec,
    later,
)


def test_submitted_job_is_validated_by_a_chore_and_has_a_log(ledger: Ledger):
    with ledger.write() as session:
        job = a_job(session, seed=7)
        codes = [(event.data or {})["code"] for event in events_after(session, job.id, 0, 10)]
        chore = session.query(Chore).filter_by(kind=PREPARE_JOB).one()
    assert (job.state, job.seed, job.last_event, job.resolved) == ("validating_files", 7, 2, None)
    assert codes == ["job.created", "job.validating"]
    assert chore.subject == job.id


@pytest.mark.parametrize("minutes", [-10, 10])
def test_a_host_whose_clock_is_off_keeps_no_job_from_being_validated(ledger: Ledger, minutes: int):
    with ledger.write() as session:
        job = a_job(session, now=database_now(session) + timedelta(minutes=minutes))
        taken = []
        while (chore := chores.claim(session, "upkeep", 30)) is not None:
            taken.append(chore.subject)
    assert job.id in taken


def test_seed_is_chosen_when_none_is_asked_for(ledger: Ledger):
    with ledger.write() as session:
        seeds = {a_job(session).seed for _ in range(3)}
    assert len(seeds) == 3
    assert all(0 <= seed < 2**31 for seed in seeds)


def refused(session, project, **fields) -> HeadraceError:
    with pytest.raises(HeadraceError) as caught:
        a_job(session, project, **fields)
    return caught.value


def test_what_a_job_names_must_be_there_and_be_its_project_s(ledger: Ledger):
    with ledger.write() as session:
        mine, theirs = a_project(session, "mine"), a_project(session, "theirs")
        foreign, evals, own = a_file(session, theirs), a_file(session, mine, purpose="evals"), a_file(session, mine)
        dataset, _ = a_dataset(session, theirs)
        told = [
            refused(session, mine, model="unknown"),
            refused(session, mine, training_file="file-unknown"),
            refused(session, mine, training_file=foreign.id),
            refused(session, mine, training_file=evals.id),
            refused(session, mine, training_file=own.id, validation_file=evals.id),
            refused(session, mine, training_file=own.id, validation_file=foreign.id),
            refused(session, mine, datasets=[{"dataset": dataset.id}]),
        ]
    assert [(type(e), e.code, e.param) for e in told] == [
        (NotFound, "model_not_found", "model"),
        (NotFound, "not_found", "training_file"),
        (NotFound, "not_found", "training_file"),
        (InvalidValue, "invalid_training_file", "training_file"),
        (InvalidValue, "invalid_validation_file", "validation_file"),
        (NotFound, "not_found", "validation_file"),
        (NotFound, "not_found", "datasets.0.dataset"),
    ]


def test_refused_submit_leaves_nothing(ledger: Ledger):
    with pytest.raises(NotFound), ledger.write() as session:
        a_job(session, model="unknown")
    with ledger.read() as session:
        assert session.query(Job).count() == 0
        assert session.query(Chore).count() == 0


def test_versions_are_fixed_at_submit(ledger: Ledger):
    with ledger.write() as session:
        project = a_project(session)
        chats, first = a_dataset(session, project, name="chats")
        others, facts = a_dataset(session, project, name="facts", is_ready=False)
        job = a_job(session, project, datasets=[{"dataset": chats.id, "weight": 3}, {"dataset": "facts"}])
        a_dataset(session, project, name="chats")
    assert job.sources == [
        {"version_id": first.id, "dataset_id": chats.id, "number": 1, "name": "chats", "weight": 3.0},
        {"version_id": facts.id, "dataset_id": others.id, "number": 1, "name": "facts", "weight": 1.0}]


def test_unusable_versions_are_refused_with_their_place(ledger: Ledger):
    with ledger.write() as session:
        project = a_project(session)
        good, _ = a_dataset(session, project, name="good")
        bad, version = a_dataset(session, project, name="bad", is_ready=False)
        datasets.fail_index(session, version.id, code="x", message="line 1 is not JSON", now=NOW)
        told = [
            refused(session, project, datasets=[{"dataset": good.id}, {"dataset": bad.id}]),
            refused(session, project, datasets=[{"dataset": good.id, "version": 9}]),
            refused(session, project, datasets=[{"dataset": good.id}, {"dataset": good.id}]),
        ]
    assert [e.param for e in told] == ["datasets.1.dataset", "datasets.0.dataset", "datasets.1.dataset"]
    assert "line 1 is not JSON" in told[0].message


def test_too_many_waiting_jobs_are_refused_and_finished_ones_do_not_count(ledger: Ledger):
    with ledger.write() as session:
        first = a_job(session)
        a_job(session)
        rules = Rules(Limits(queued_jobs=2))
        with pytest.raises(LimitReached, match="2 jobs that wait, and 2 is the most"):
            a_job(session, rules=rules)
        a_job(session, a_project(session, "other"), rules=rules)
        jobs.cancel(session, first.project_id, first.id, now=NOW)
        a_job(session, rules=rules)


def submit(session, project, spec, key="key-1", digest="digest-1", now=NOW) -> Job:
    return jobs.submit(session, project.id, spec, now=now, rules=Rules(Limits(queued_jobs=9)), idempotency=(key, digest))


def test_same_key_and_body_is_one_job_for_a_day(ledger: Ledger):
    with ledger.write() as session:
        project = a_project(session)
        a_base_model(session)
        spec = a_spec(training_file=a_file(session, project).id)
        first = submit(session, project, spec)
        assert submit(session, project, spec, now=later(86_399)).id == first.id
        assert submit(session, project, spec, now=later(86_400)).id != first.id


def test_same_key_with_another_body_is_refused_and_other_projects_have_their_own(ledger: Ledger):
    with ledger.write() as session:
        a_base_model(session)
        mine, theirs = a_project(session, "mine"), a_project(session, "theirs")
        first = submit(session, mine, a_spec(training_file=a_file(session, mine).id))
        with pytest.raises(InvalidValue, match="'key-1' came before with another body"):
            submit(session, mine, a_spec(training_file=a_file(session, mine).id), digest="digest-2")
        assert submit(session, theirs, a_spec(training_file=a_file(session, theirs).id)).id != first.id


def test_key_of_a_refused_request_is_free_again(ledger: Ledger):
    with ledger.write() as session:
        project = a_project(session)
        file = a_file(session, project)
    with pytest.raises(NotFound), ledger.write() as session:
        submit(session, project, a_spec(training_file=file.id))
    with ledger.write() as session:
        a_base_model(session)
        assert submit(session, project, a_spec(training_file=file.id), digest="digest-2").state == "validating_files"


def test_same_key_at_once_makes_one_job(ledger: Ledger):
    with ledger.write() as session:
        project = a_project(session)
        a_base_model(session)
        spec = a_spec(training_file=a_file(session, project).id)

    def post(_: int) -> str:
        with ledger.write() as session:
            return submit(session, project, spec).id

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(post, range(8)))) == 1


def test_twin_is_an_equal_request_of_the_last_minute(ledger: Ledger):
    with ledger.write() as session:
        project = a_project(session)
        job = a_job(session, project, now=NOW)
        spec = a_spec(training_file=job.training_file_id)
        twin = jobs.find_twin(session, project.id, spec, now=later(59))
        assert twin is not None
        assert twin.id == job.id
        assert jobs.find_twin(session, project.id, spec, now=later(61)) is None
        assert jobs.find_twin(session, project.id, a_spec(training_file=job.training_file_id, seed=1), now=NOW) is None
        assert jobs.find_twin(session, a_project(session, "other").id, spec, now=NOW) is None


def test_jobs_are_listed_newest_first_by_page(ledger: Ledger):
    with ledger.write() as session:
        project = a_project(session)
        ids = [a_job(session, project, now=later(n)).id for n in range(5)]
        a_job(session, a_project(session, "other"))
        first = jobs.list_jobs(session, project.id, after=None, limit=2)
        rest = jobs.list_jobs(session, project.id, after=first.items[-1].id, limit=9)
        with pytest.raises(NotFound) as caught:
            jobs.list_jobs(session, project.id, after="ftjob-unknown", limit=2)
    assert [j.id for j in first.items + rest.items] == ids[::-1]
    assert caught.value.param == "after"


def test_jobs_are_found_by_metadata(ledger: Ledger):
    with ledger.write() as session:
        project = a_project(session)
        ids = [a_job(session, project, metadata=m).id for m in ({"team": "a", "run.1": ""}, {"team": "b"}, None, {})]

        def found(metadata) -> set[str]:
            return {j.id for j in jobs.list_jobs(session, project.id, after=None, limit=9, metadata=metadata).items}

        assert found({"team": "a"}) == {ids[0]}
        assert found({"team": "a", "run.1": ""}) == {ids[0]}
        assert found({"team": "a", "run.1": "x"}) == set()
        assert found({"te\"am'$[0]": "a"}) == set()
        assert ids[2] in found("null")
        assert not {ids[0], ids[1]} & found("null")


@pytest.mark.parametrize("key", ["", "0", '"', 'a"b', "a\\", "a'b", "$.a", "a]", "#", "\n", "é 🌊"])
def test_jobs_are_found_by_any_key_of_their_metadata(ledger: Ledger, key: str):
    with ledger.write() as session:
        job, *_ = [a_job(session, metadata=m) for m in ({key: "x", "other": "y"}, {"other": "x"}, None)]
        found = jobs.list_jobs(session, job.project_id, after=None, limit=9, metadata={key: "x"}).items
    assert [j.id for j in found] == [job.id]


def test_foreign_job_is_as_unknown_as_none(ledger: Ledger):
    with ledger.write() as session:
        job, stranger = a_job(session, a_project(session, "theirs")), a_project(session, "mine")
        for verb in (jobs.get_job, lambda s, p, j: jobs.cancel(s, p, j, now=NOW)):
            with pytest.raises(NotFound, match="no fine-tuning job"):
                verb(session, stranger.id, job.id)


def test_runs_are_listed_first_to_last(ledger: Ledger):
    with ledger.write() as session:
        claim = a_running_job(session)
        assert [run.attempt for run in runs_of(session, claim.job.id)] == [1]
