"""Jobs with limits on a run's seconds as they could be submitted before there was a bound."""

from __future__ import annotations

import orjson
from sqlalchemy import select

from core.db.migrate import migrate
from core.db.session import Ledger, build_engine
from core.jobs.models import Job
from core.specs.job import MOST_RUN_SECONDS, JobSpec
from tests.migrations.test_shards import AT, at, insert

NUMBERS = ("seed", "priority", "step", "processed_tokens", "last_event", "fence", "attempts", "failed_attempts")


def test_a_stored_limit_beyond_all_calendars_becomes_the_longest_and_others_stay(empty_database_url: str):
    asked = {"far": 10**12, "near": 60, "none": None}
    engine = build_engine(empty_database_url, durability="FULL", pool_size=1)
    with engine.begin() as connection:
        at(connection, "0010")
        insert(connection, "projects", id="proj_1", name="p", organization_id="org_1", created_at=AT)
        for name, most in asked.items():
            spec = {"model": "m", "training_file": "f", "options": {"max_run_seconds": most}}
            insert(connection, "jobs", id=name, project_id="proj_1", state="queued", spec=orjson.dumps(spec).decode(),
                   spec_version=1, model="m", sources="[]", created_at=AT, **dict.fromkeys(NUMBERS, 0))
    engine.dispose()
    migrate(empty_database_url)
    ledger = Ledger(empty_database_url)
    with ledger.read() as session:
        specs = {job.id: JobSpec.model_validate(job.spec) for job in session.scalars(select(Job))}
        found = {name: spec.options and spec.options.max_run_seconds for name, spec in specs.items()}
    ledger.close()
    assert found == asked | {"far": MOST_RUN_SECONDS}
