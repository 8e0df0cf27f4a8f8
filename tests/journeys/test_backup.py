"""A home that is copied while a job runs, lost, and put back: what was finished is there, and the job goes on."""

from __future__ import annotations

import shutil
import signal
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from tests.journeys import jobs
from tests.servers import a_server

EPOCHS = 20


def back_up(home: Path, copy: Path) -> None:
    """As docs/operations.md tells it: the database first, and then the files, each of which is older than its row."""
    copy.mkdir()
    with closing(sqlite3.connect(home / "headrace.db")) as source, closing(sqlite3.connect(copy / "headrace.db")) as target:
        source.backup(target)
    for folder in ("storage", "models"):
        with suppress(shutil.Error):  # a recovery point that went while it was copied; all else is told at the end too
            shutil.copytree(home / folder, copy / folder, ignore=shutil.ignore_patterns(".tmp-*"))


def test_a_copy_taken_while_a_job_runs_is_a_server_whose_jobs_go_on(tmp_path: Path) -> None:
    with a_server(tmp_path) as server, server.client() as client:
        file_id = jobs.upload(client, jobs.chat_rows(48))
        finished = jobs.submit(client, file_id)
        assert jobs.wait_for_end(server, client, finished)["status"] == "succeeded"
        twin = jobs.submit(client, file_id, epochs=EPOCHS)
        assert jobs.wait_for_end(server, client, twin)["status"] == "succeeded"
        running = jobs.submit(client, file_id, epochs=EPOCHS)
        jobs.wait_for_step(server, client, running, 40)
        digests = [jobs.adapter_digest(client, job_id) for job_id in (finished, twin)]
        back_up(server.home, tmp_path / "copy")
        server.stop(signal.SIGTERM)
        shutil.rmtree(server.home)
        (tmp_path / "copy").rename(server.home)
        server.start()
        job = jobs.wait_for_end(server, client, running)
        events = jobs.all_events(client, running)
        assert job["status"] == "succeeded", job["error"]
        assert jobs.steps(events) == list(range(1, job["progress"]["total_steps"] + 1))
        assert [jobs.adapter_digest(client, job_id) for job_id in (finished, running)] == digests
