"""The mixture of a job, the rows behind its steps and the receipts of its checkpoints, as clients see them."""

from __future__ import annotations

import base64
import threading
import time
from typing import Any

import numpy as np

from core.checkpoints import service as checkpoints
from core.data.pipeline.timetable import Timetable
from core.data.proof import chained, step_digest
from core.data.rows import RowReader
from core.jobs import claims
from core.jobs.claims import Claim
from core.jobs.models import Job
from core.lineage import service as lineage
from core.specs.mixture import MixtureUpdate
from core.steering import service as steering
from tests.api.serving import House, error_of
from tests.core.steering.jobs import a_planned_job, a_real_dataset, claimed
from tests.factories import NOW, report_steps

JOBS = "/v1/fine_tuning/jobs"


def a_job(house: House, *names: str, is_running: bool = False, **fields: Any) -> Job:
    with house.ledger.write() as session:
        job = a_planned_job(session, house.artifacts, *names, project=house.project, **fields)
        return claimed(session, job).job if is_running else job


def patch(house: House, job: Job, **update: Any):
    with house.client() as client:
        return client.patch(f"{JOBS}/{job.id}/mixture", json=update)


def get(house: House, path: str, **params: Any) -> dict[str, Any]:
    with house.client() as client:
        answer = client.get(path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()


def test_a_change_of_a_job_that_waits_is_answered_with_its_step(house: House) -> None:
    job = a_job(house, "wiki", "web")
    answer = patch(house, job, weights={"wiki": 0.25}, quarantine={"rows": [{"source": "web", "row": 3}]}, reason="noise")
    assert answer.status_code == 200
    told = answer.json()
    assert {name: told[name] for name in ("number", "status", "from_step", "weights", "quarantined_rows", "reason")} == {
        "number": 1, "status": "held", "from_step": 1, "weights": {"wiki": 0.25}, "reason": "noise",
        "quarantined_rows": [{"source": "web", "row": 3}]}
    assert told["created_by"].startswith("key_")
    mixture = get(house, f"{JOBS}/{job.id}/mixture")
    assert [(s["source"], s["weight"], s["share"], s["status"]) for s in mixture["sources"]] == [
        ("wiki", 0.25, 0.2, "drawn"), ("web", 1.0, 0.8, "drawn")]
    assert mixture["changes"] == [told]


def test_a_quarantine_that_is_lifted_is_told_as_a_change_of_its_own(house: House) -> None:
    job, row = a_job(house, "loud", "low"), {"source": "low", "row": 3}
    assert error_of(patch(house, job, lift={"rows": [row]}))["param"] == "lift.rows"
    assert patch(house, job, quarantine={"rows": [row]}).json()["lifted_rows"] == []
    told = patch(house, job, lift={"rows": [row]}).json()
    assert (told["status"], told["lifted_rows"], told["quarantined_rows"]) == ("held", [row], [])
    assert get(house, f"{JOBS}/{job.id}/mixture")["changes"][1] == told


def test_a_run_that_tells_its_step_in_time_is_waited_for(house: House) -> None:
    job = a_job(house, "one", "two", is_running=True)

    def answer_soon() -> None:
        while True:
            time.sleep(0.05)
            with house.ledger.write() as session:
                number = steering.first_pending(session, job.id)
                if number is not None:
                    steering.place(session, session.get_one(Job, job.id), number, 7, now=NOW)
                    return

    thread = threading.Thread(target=answer_soon)
    thread.start()
    answer = patch(house, job, drop=["two"])
    thread.join()
    assert (answer.status_code, answer.json()["from_step"], answer.json()["dropped"]) == (200, 7, ["two"])


def test_a_run_that_says_nothing_for_two_seconds_leaves_it_pending(house: House) -> None:
    job = a_job(house, "left", "right", is_running=True)
    began = time.monotonic()
    answer = patch(house, job, weights={"left": 0})
    assert time.monotonic() - began > 1.9
    assert (answer.status_code, answer.json()["status"], answer.json()["from_step"]) == (202, "pending", None)
    assert get(house, f"{JOBS}/{job.id}/mixture")["changes"][0]["status"] == "pending"
    with house.ledger.write() as session:
        claim = session.get_one(Job, job.id)
        claims.settle(session, claim.run_id or "", claim.fence, "cancelled", now=NOW)
    assert get(house, f"{JOBS}/{job.id}/mixture")["changes"][0]["status"] == "lapsed"
    refused = patch(house, job, weights={"left": 0})
    assert (refused.status_code, error_of(refused)["code"]) == (400, "invalid_state")


def test_what_a_change_names_and_is_not_there_is_a_fault_of_the_request(house: House) -> None:
    job = a_job(house, "here")
    for update, param in (({"weights": {"gone": 1}}, "weights"), ({"add": [{"dataset": "gone"}]}, "add.0.dataset"),
                          ({"weights": {"here": -1}}, "weights.here"), ({}, None), ({"colour": 1}, "colour")):
        answer = patch(house, job, **update)
        assert answer.status_code == 400, update
        assert error_of(answer)["param"] == param


def test_a_schedule_is_told_with_the_job_and_refused_in_words(house: House) -> None:
    schedule = [{"from_step": 3, "weights": {"plain": 0.5}}]
    job = a_job(house, "plain", "fancy", mixture_schedule=schedule, exhaustion="repeat")
    told = get(house, f"{JOBS}/{job.id}")
    assert (told["mixture_schedule"], told["exhaustion"]) == (schedule, "repeat")
    change = get(house, f"{JOBS}/{job.id}/mixture")["changes"][0]
    assert (change["status"], change["from_step"], change["created_by"]) == ("held", 3, None)
    with house.client() as client:
        for fields, words in (({"mixture_schedule": [{"from_step": 1, "weights": {"plain": 1}}]}, "a number of at least 2"),
                              ({"mixture_schedule": schedule * 2}, "the steps must increase"),
                              ({"mixture_schedule": [{"from_step": 2, "weights": {"none": 1}}]}, "no source of the job")):
            body = {"model": "tiny", "datasets": [{"dataset": "plain"}, {"dataset": "fancy"}], **fields}
            answer = client.post(JOBS, json=body)
            assert answer.status_code == 400
            assert words in error_of(answer)["message"]


def train(house: House, claim: Claim, steps: int) -> int:
    """Report steps as a run does that is trained on exactly what it is due; give the digest of their order."""
    with house.ledger.write() as session:
        stream = steering.data_stream(session, claim.job, artifacts=house.artifacts)
        order = 0
        with RowReader(stream.sources) as reader:
            timetable = Timetable(stream, reader.indexes)
            for step in range(1, steps + 1):
                due = timetable.due(step)
                trained = [ref not in due.quarantined for ref in due.rows]
                digest = step_digest((ref, reader.read(ref).digest)
                                     for ref, is_in in zip(due.rows, trained, strict=True) if is_in)
                losses = np.array([step + n / 10 if is_in else np.nan for n, is_in in enumerate(trained)], "<f4")
                lineage.record(session, claim.job.id, [(step, f"{digest:016x}", base64.b64encode(losses.tobytes()).decode())])
                order = chained(order, digest)
        report_steps(session, claim, *range(1, steps + 1))
        drawn = list(timetable.position_after(steps).drawn)
        job, run = claims.hold(session, claim.run.id, claim.run.fence)
        checkpoints.record(session, job, run, step=steps, kind="listed", folder_key="x", manifest_digest="ab", bytes=1,
                           position={"step": steps, "drawn": drawn, "mixture_entry": 0}, metrics={}, now=NOW,
                           seen={"order": f"{order:016x}", "examples": drawn, "tokens": [9, 8], "trained_tokens": [5, 4]})
    return order


def a_trained_job(house: House, *names: str) -> tuple[Claim, int]:
    with house.ledger.write() as session:
        job = a_planned_job(session, house.artifacts, *names, project=house.project)
        steering.ask(session, job.project_id, job.id, _update(quarantine={"rows": [{"source": names[0], "row": n}
                     for n in range(10)]}), created_by=None, artifacts=house.artifacts, now=NOW)
        claim = claimed(session, job)
    return claim, train(house, claim, 5)


def _update(**fields: Any) -> MixtureUpdate:
    return MixtureUpdate.model_validate(fields)


def test_the_rows_behind_a_step_are_those_trained_on(house: House) -> None:
    claim, _ = a_trained_job(house, "deep", "wide")
    path = f"{JOBS}/{claim.job.id}/steps/3/rows"
    told = get(house, path)
    assert (told["verified"], told["slots"], len(told["data"]), told["has_more"]) == (True, 4, 4, False)
    for row in told["data"]:
        assert row["trained"] == (not (row["source"] == "deep" and row["row"] < 10))
        assert (row["loss"] is not None) == row["trained"]
        assert (row["line"], row["content"]["messages"][0]["role"]) == (row["row"] + 1, "user")
    page = get(house, path, limit=2, after=0)
    assert ([row["slot"] for row in page["data"]], page["has_more"]) == ([1, 2], True)
    with house.client() as client:
        assert client.get(f"{JOBS}/{claim.job.id}/steps/6/rows").status_code == 404
        assert client.get(f"{JOBS}/{claim.job.id}/steps/0/rows").status_code == 400


def test_a_later_change_leaves_the_rows_behind_earlier_steps_alone(house: House) -> None:
    claim, _ = a_trained_job(house, "early", "late")
    paths = [f"{JOBS}/{claim.job.id}/steps/{step}/rows" for step in range(1, 6)]
    before = [get(house, path) for path in paths]
    with house.ledger.write() as session:
        a_real_dataset(session, house.artifacts, "joined", project=house.project)
        job, _ = claims.hold(session, claim.run.id, claim.run.fence)
        row = before[4]["data"][0]
        steering.ask(session, job.project_id, job.id, _update(drop=["early"], add=[{"dataset": "joined"}], quarantine={
            "rows": [{"source": row["source"], "row": row["row"]}]}), created_by=None, artifacts=house.artifacts, now=NOW)
        steering.place(session, job, 2, 6, now=NOW)
    assert [get(house, path) for path in paths] == before


def test_a_row_that_changed_on_disk_is_told(house: House) -> None:
    claim, _ = a_trained_job(house, "solid", "soft")
    path = f"{JOBS}/{claim.job.id}/steps/1/rows"
    row = next(row for row in get(house, path)["data"] if row["trained"])
    with house.ledger.read() as session:
        stream = steering.data_stream(session, claim.job, artifacts=house.artifacts)
    shard = next(source for source in stream.sources if source.name == row["source"]).shards[0]
    with open(shard.path, "r+b") as file:
        content = file.read().replace(row["content"]["messages"][0]["content"].encode(), b"another q", 1)
        file.seek(0)
        file.write(content)
    told = get(house, path)
    assert told["verified"] is False
    assert any(row["error"] for row in told["data"])


def test_a_receipt_tells_what_a_checkpoint_has_seen_and_stays_the_same(house: House) -> None:
    claim, order = a_trained_job(house, "north", "south")
    checkpoint = get(house, f"{JOBS}/{claim.job.id}/checkpoints")["data"][0]
    path = f"{JOBS}/{claim.job.id}/checkpoints/{checkpoint['id']}/receipt"
    told = get(house, path)
    assert (told["step"], told["order_digest"], told["base_model"]) == (5, f"{order:016x}", {"name": "tiny", "digest": "b4se"})
    assert [(s["source"], s["rows"], s["rows_drawn"], s["tokens"]) for s in told["sources"]] == [
        ("north", 20, 10, 9), ("south", 20, 10, 8)]
    assert [entry["from_step"] for entry in told["mixture"]] == [1, 1]
    assert len(told["mixture"][1]["quarantined_rows"]) == 10
    with house.ledger.write() as session:
        job, _ = claims.hold(session, claim.run.id, claim.run.fence)
        steering.ask(session, job.project_id, job.id, _update(drop=["north"]), created_by=None, artifacts=house.artifacts,
                     now=NOW)
        steering.place(session, job, 2, 6, now=NOW)
    assert get(house, path) == told
