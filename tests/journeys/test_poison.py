"""Jobs that are at fault themselves: they end with their cause, and their neighbours do not notice."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.journeys import jobs
from tests.journeys.small import Small, a_small_server

POISON, REFUSED = 666, 667


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    options = ("--poison-seed", str(POISON), "--refused-seed", str(REFUSED))
    with a_small_server(tmp_path_factory.mktemp("poison"), *options, HEADRACE_RECOVERY_SECONDS="60") as small:
        yield small


def test_a_job_that_kills_its_child_ends_after_three_attempts_and_its_neighbours_succeed(small: Small) -> None:
    with small.server.client() as client:
        file_id = jobs.upload(client, jobs.chat_rows(32))
        before, poison, after = (jobs.submit(client, file_id, seed=seed) for seed in (1, POISON, 2))
        ended = {job_id: jobs.wait_for_end(small.server, client, job_id) for job_id in (before, poison, after)}
        told = {job_id: jobs.codes(jobs.all_events(client, job_id)) for job_id in ended}
    assert [ended[job_id]["status"] for job_id in (before, poison, after)] == ["succeeded", "failed", "succeeded"]
    assert told[poison].count("run.started") == 3
    assert "3 attempts in a row ended at step 3" in ended[poison]["error"]["message"]
    assert "SIGKILL" in ended[poison]["error"]["message"]
    assert "this row is poison" in ended[poison]["error"]["message"]
    assert [told[neighbour].count("run.started") for neighbour in (before, after)] == [1, 1]
    assert ended[after]["finished_at"] <= ended[poison]["finished_at"]  # it did not wait for the poison's attempts


def test_a_job_whose_data_is_at_fault_is_not_tried_again(small: Small) -> None:
    with small.server.client() as client:
        job_id = jobs.submit(client, jobs.upload(client, jobs.chat_rows(32)), seed=REFUSED)
        job = jobs.wait_for_end(small.server, client, job_id)
        told = jobs.codes(jobs.all_events(client, job_id))
    assert (job["status"], job["error"]["code"], job["error"]["param"]) == ("failed", "bad_row", "training_file")
    assert told.count("run.started") == 1
    assert told[-1] == "job.failed"
