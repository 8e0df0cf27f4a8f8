from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.data.spec import MixtureEntry, RowRef
from core.db.session import Ledger
from core.errors import IllegalMove, InvalidValue, NotFound
from core.events.models import Event
from core.jobs.models import Job
from core.jobs.moves import move
from core.jobs.service import cancel
from core.jobs.sources import named_sources
from core.specs.mixture import MixtureUpdate
from core.steering import service as steering
from core.steering.models import MixtureChange
from core.steering.repository import first_pending
from core.storage.artifacts import Artifacts
from tests.core.steering.jobs import a_planned_job, a_real_dataset, artifacts_in, claimed
from tests.factories import NOW, a_dataset, a_project, later, report_steps


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return artifacts_in(tmp_path / "storage")


def change(session: Session, job: Job, artifacts: Artifacts, **update: Any) -> MixtureChange:
    return steering.ask(session, job.project_id, job.id, MixtureUpdate.model_validate(update), created_by="key_1",
                        artifacts=artifacts, now=later(1))


def log(session: Session, job: Job) -> list[tuple[int, tuple[float, ...]]]:
    return [(entry.from_step, entry.weights) for entry in steering.log_of(session, job)]


def codes(session: Session, job: Job) -> list[str]:
    events = session.scalars(select(Event).where(Event.job_id == job.id).order_by(Event.number))
    return [(event.data or {}).get("code", "") for event in events]


def test_a_change_of_a_job_that_waits_holds_from_its_next_step_at_once(ledger: Ledger, artifacts: Artifacts) -> None:
    with ledger.write() as session:
        job = a_planned_job(session, artifacts, "a", "b")
        found = change(session, job, artifacts, weights={"a": 0.2}, reason="too loud")
        assert (found.state, found.from_step, found.created_by, found.number) == ("held", 1, "key_1", 1)
        assert log(session, job) == [(1, (1.0, 1.0)), (1, (0.2, 1.0))]
        assert codes(session, job)[-1] == "mixture.changed"


def test_a_change_of_a_job_that_runs_is_pending_until_its_run_tells_the_step(ledger: Ledger, artifacts: Artifacts) -> None:
    with ledger.write() as session:
        job = a_planned_job(session, artifacts, "a", "b")
        claim = claimed(session)
        found = change(session, claim.job, artifacts, weights={"b": 0})
        assert (found.state, found.from_step, first_pending(session, job.id)) == ("pending", None, 1)
        assert log(session, job) == [(1, (1.0, 1.0))]
        placed = steering.place(session, job, 1, 5, now=NOW)
        assert (placed.state, placed.from_step, first_pending(session, job.id)) == ("held", 5, None)
        assert log(session, job) == [(1, (1.0, 1.0)), (5, (1.0, 0.0))]


def test_what_holds_stays_where_it_is(ledger: Ledger, artifacts: Artifacts) -> None:
    with ledger.write() as session:
        job = a_planned_job(session, artifacts, "a", "b")
        claimed(session)
        change(session, job, artifacts, weights={"b": 0})
        steering.place(session, job, 1, 5, now=NOW)
        assert steering.place(session, job, 1, 9, now=NOW).from_step == 5


def test_a_run_that_trains_steps_anew_changes_none_of_those_that_are_told_of(ledger: Ledger, artifacts: Artifacts) -> None:
    with ledger.write() as session:
        job = a_planned_job(session, artifacts, "a", "b")
        claim = claimed(session)
        report_steps(session, claim, 1, 2, 3)
        change(session, job, artifacts, weights={"b": 0})
        assert steering.place(session, job, 1, 2, now=NOW).from_step == 4


def test_what_is_asked_later_holds_no_earlier_also_where_a_killed_run_never_reached_the_step(ledger: Ledger,
                                                                                            artifacts: Artifacts) -> None:
    row = {"source": "b", "row": 3}
    with ledger.write() as session:
        job = a_planned_job(session, artifacts, "a", "b", mixture_schedule=[{"from_step": 9, "weights": {"a": 0.5}}])
        claimed(session)
        change(session, job, artifacts, quarantine={"rows": [row]})
        steering.place(session, job, 2, 5, now=NOW)
        change(session, job, artifacts, lift={"rows": [row]})
        assert steering.place(session, job, 3, 2, now=NOW).from_step == 5
        assert [entry.lifted for entry in steering.log_of(session, job)] == [(), (), (RowRef(1, 3),), ()]


def test_changes_that_nobody_took_up_hold_in_their_order_when_the_job_waits_again(ledger: Ledger, artifacts: Artifacts) -> None:
    with ledger.write() as session:
        job = a_planned_job(session, artifacts, "a", "b")
        claim = claimed(session)
        change(session, job, artifacts, weights={"a": 0.5})
        report_steps(session, claim, 1, 2, 3)
        move(session, job.id, "queued", code="x", message="x", now=NOW, run_id=None)
        found = change(session, job, artifacts, weights={"a": 0.25})
        assert [row.from_step for row in steering.changes_of(session, job.id)] == [4, 4]
        assert (found.number, log(session, job)[-1]) == (2, (4, (0.25, 1.0)))


def test_a_data_set_joins_at_the_end_and_is_counted(ledger: Ledger, artifacts: Artifacts) -> None:
    with ledger.write() as session:
        job = a_planned_job(session, artifacts, "a")
        a_real_dataset(session, artifacts, "b", rows=7)
        total = job.total_steps
        change(session, job, artifacts, add=[{"dataset": "b", "weight": 0.5}])
        assert [(s["name"], s["rows"]) for s in named_sources(job)] == [("a", 20), ("b", 7)]
        assert log(session, job)[-1] == (1, (1.0, 0.5))
        stream = steering.training_stream(session, job, artifacts=artifacts)
        assert [source.name for source in stream.sources] == ["a", "b"]
        from core.data.pipeline import plan_stream
        assert plan_stream(stream).total_steps == total


def test_a_source_is_dropped_or_quarantined_and_can_come_back(ledger: Ledger, artifacts: Artifacts) -> None:
    with ledger.write() as session:
        job = a_planned_job(session, artifacts, "a", "b", "c")
        change(session, job, artifacts, drop=["a"], quarantine={"sources": ["b"]})
        standing = steering.standing_at(session, job, 1)
        assert (standing.entry.weights, standing.out) == ((0.0, 0.0, 1.0), {0: "dropped", 1: "quarantined"})
        change(session, job, artifacts, weights={"b": 2.0})
        assert steering.standing_at(session, job, 1).out == {0: "dropped"}


def test_rows_are_quarantined_by_their_number(ledger: Ledger, artifacts: Artifacts) -> None:
    with ledger.write() as session:
        job = a_planned_job(session, artifacts, "a", "b")
        rows = [{"source": "b", "row": 3}, {"source": "a", "row": 19}, {"source": "b", "row": 3}]
        change(session, job, artifacts, quarantine={"rows": rows})
        assert steering.log_of(session, job)[-1] == MixtureEntry(1, (1.0, 1.0), (RowRef(1, 3), RowRef(0, 19)))


def test_a_quarantine_of_rows_is_lifted_from_the_step_of_the_change(ledger: Ledger, artifacts: Artifacts) -> None:
    row = {"source": "b", "row": 3}
    with ledger.write() as session:
        job = a_planned_job(session, artifacts, "a", "b")
        claim = claimed(session)
        change(session, job, artifacts, quarantine={"rows": [row]})
        with pytest.raises(InvalidValue, match="row 3 of source 'a' is not quarantined"):
            change(session, job, artifacts, lift={"rows": [{"source": "a", "row": 3}]})
        with pytest.raises(InvalidValue, match="is quarantined by the same change"):
            change(session, job, artifacts, lift={"rows": [row]}, quarantine={"rows": [row]})
        change(session, job, artifacts, lift={"rows": [row]}, reason="it was fine")
        report_steps(session, claim, 1, 2)
        steering.place(session, job, 1, 3, now=NOW)
        steering.place(session, job, 2, 5, now=NOW)
        assert steering.log_of(session, job)[1:] == (
            MixtureEntry(3, (1.0, 1.0), (RowRef(1, 3),)), MixtureEntry(5, (1.0, 1.0), lifted=(RowRef(1, 3),)))
        event = session.scalars(select(Event).where(Event.job_id == job.id).order_by(Event.number.desc())).first()
        assert event is not None
        assert event.message.endswith("; 1 row is let in again")
        with pytest.raises(InvalidValue, match="is not quarantined"):
            change(session, job, artifacts, lift={"rows": [row]})


def test_a_schedule_given_at_submit_is_the_log_from_the_start(ledger: Ledger, artifacts: Artifacts) -> None:
    with ledger.write() as session:
        job = a_planned_job(session, artifacts, "easy", "hard", weights=(1.0, 0.0),
                            mixture_schedule=[{"from_step": 4, "weights": {"hard": 1.0}},
                                              {"from_step": 9, "weights": {"easy": 0.0}}])
        assert log(session, job) == [(1, (1.0, 0.0)), (4, (1.0, 1.0)), (9, (0.0, 1.0))]
        change(session, job, artifacts, drop=["easy"], weights={"hard": 1.0})
        assert log(session, job)[-1] == (9, (0.0, 1.0))


@pytest.mark.parametrize("update, words, param", [
    ({"weights": {"z": 1.0}}, r"'z', which is no source of the job; its sources are 'a', 'b'", "weights"),
    ({"drop": ["a", "b"]}, "make no mixture from step 1 on", "weights"),
    ({"weights": {"a": 0, "b": 0}}, "make no mixture", "weights"),
    ({"weights": {"a": 1e-9}}, "less than a millionth", "weights"),
    ({"weights": {"a": 1.0}, "drop": ["a"]}, "names source 'a' twice", "weights"),
    ({"add": [{"dataset": "a"}]}, "is source 'a' already", "add.0.dataset"),
    ({"quarantine": {"rows": [{"source": "a", "row": 20}]}}, "has no row 20; its 20 rows", "quarantine.rows"),
])
def test_what_does_not_fit_is_refused_with_its_place(sqlite_ledger: Ledger, artifacts: Artifacts, update: dict[str, Any],
                                                     words: str, param: str) -> None:
    with sqlite_ledger.write() as session:
        job = a_planned_job(session, artifacts, "a", "b")
        with pytest.raises(InvalidValue, match=words) as caught:
            change(session, job, artifacts, **update)
        assert caught.value.param == param
        assert log(session, job) == [(1, (1.0, 1.0))]


def test_a_change_that_a_schedule_would_leave_without_a_source_is_refused(sqlite_ledger: Ledger, artifacts: Artifacts) -> None:
    with sqlite_ledger.write() as session:
        job = a_planned_job(session, artifacts, "a", "b", mixture_schedule=[{"from_step": 4, "weights": {"a": 0.0}}])
        with pytest.raises(InvalidValue, match="no mixture from step 4 on"):
            change(session, job, artifacts, drop=["b"])


def test_a_data_set_of_another_project_or_one_being_indexed_cannot_join(sqlite_ledger: Ledger, artifacts: Artifacts) -> None:
    with sqlite_ledger.write() as session:
        job = a_planned_job(session, artifacts, "a")
        foreign, _ = a_dataset(session, a_project(session, "others"), name="foreign")
        a_dataset(session, name="young", is_ready=False)
        with pytest.raises(NotFound):
            change(session, job, artifacts, add=[{"dataset": foreign.id}])
        with pytest.raises(IllegalMove, match="is indexing; it can join a job once it is ready"):
            change(session, job, artifacts, add=[{"dataset": "young"}])


def test_a_data_set_with_faults_cannot_join_a_job_that_skips_none(sqlite_ledger: Ledger, artifacts: Artifacts) -> None:
    with sqlite_ledger.write() as session:
        job = a_planned_job(session, artifacts, "a")
        a_dataset(session, name="faulty", rows=9, faulty=2)
        with pytest.raises(Exception, match=r"add\.0\.dataset has 2 faulty rows of 9"):
            change(session, job, artifacts, add=[{"dataset": "faulty"}])


def test_a_finished_job_and_one_not_yet_planned_are_left_alone(sqlite_ledger: Ledger, artifacts: Artifacts) -> None:
    with sqlite_ledger.write() as session:
        job = a_planned_job(session, artifacts, "a", "b")
        cancel(session, job.project_id, job.id, now=NOW)
        with pytest.raises(IllegalMove, match="is cancelled"):
            change(session, job, artifacts, weights={"a": 2})


def test_a_pending_change_that_fits_no_more_is_refused_in_words(sqlite_ledger: Ledger, artifacts: Artifacts) -> None:
    with sqlite_ledger.write() as session:
        job = a_planned_job(session, artifacts, "a", "b")
        claimed(session)
        change(session, job, artifacts, drop=["a"])
        change(session, job, artifacts, drop=["b"])
        assert steering.place(session, job, 1, 3, now=NOW).state == "held"
        refused = steering.place(session, job, 2, 3, now=NOW)
        assert (refused.state, (refused.error or {})["param"]) == ("refused", "weights")
        assert codes(session, job)[-1] == "mixture.refused"


def test_no_change_holds_from_behind_the_last_step(sqlite_ledger: Ledger, artifacts: Artifacts) -> None:
    with sqlite_ledger.write() as session:
        job = a_planned_job(session, artifacts, "a", "b")
        claimed(session)
        change(session, job, artifacts, weights={"a": 2})
        assert steering.place(session, job, 1, (job.total_steps or 0) + 1, now=NOW).state == "refused"
