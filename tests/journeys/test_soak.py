"""The soak in small: kills at random under a load of jobs, and the whole history checked. The full one is in bench/soak."""

from __future__ import annotations

from pathlib import Path

from bench.soak.soak import Outcome, Plan, soak


def test_jobs_survive_random_kills_of_every_part_of_a_server(tmp_path: Path) -> None:
    outcome = soak(tmp_path, Plan(jobs=8, kills=12, seed=11))
    assert_clean(outcome, jobs=8, kills=12)


def test_jobs_survive_random_kills_of_parts_on_their_own_over_postgresql(tmp_path: Path, empty_postgres_url: str) -> None:
    outcome = soak(tmp_path, Plan(jobs=5, kills=7, seed=12, database_url=empty_postgres_url, lease_seconds=2.0))
    assert_clean(outcome, jobs=5, kills=7)


def test_jobs_of_the_real_trainer_survive_random_kills(tmp_path: Path) -> None:
    outcome = soak(tmp_path, Plan(jobs=2, kills=3, seed=13, is_real=True, epochs=20, kinds=("child", "worker")))
    assert_clean(outcome, jobs=2, kills=3)


def assert_clean(outcome: Outcome, *, jobs: int, kills: int) -> None:
    assert outcome.findings.words == []
    assert (outcome.findings.jobs, len(outcome.kills)) == (jobs, kills)
    assert outcome.findings.runs > jobs
