from __future__ import annotations

import os

import pytest

from bench.schedule.world import Task, World
from core.scheduling.cluster import Host, Need, Slot
from core.scheduling.policy import Policy
from tests.core.scheduling.schedules import check_ended, random_world

SCHEDULES = int(os.environ.get("HEADRACE_TEST_RANDOM_SCHEDULES", "100000"))
"""Random schedules in all; a second of one core does some three thousand."""
PARTS = 4


@pytest.mark.parametrize("part", range(PARTS))
def test_random_schedules_keep_every_promise(part: int) -> None:
    for seed in range(part, SCHEDULES, PARTS):
        world = random_world(seed)
        try:
            world.run()
            check_ended(world)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error


def four_cards(policy: Policy) -> World:
    return World({"h": Host("h", tuple(Slot(f"h{n}", "cuda", 1) for n in range(4)), 4)}, policy)


@pytest.mark.parametrize("is_foreseen", [True, False])
def test_an_endless_stream_of_small_jobs_does_not_starve_a_big_one(is_foreseen: bool) -> None:
    world = four_cards(Policy(backfill_seconds=600))
    for number in range(2000):
        world.submit(Task(f"small{number}", f"p{number % 7}", 290.0, is_foreseen=is_foreseen), number * 60.0)
    world.submit(Task("big", "q", 100.0, need=Need(4)), 5000.0)
    world.run(20_000.0)
    assert world.tasks["big"].starts[0] - 5000.0 <= 600 + 290 + 60


def test_small_jobs_fill_what_waits_for_a_big_one() -> None:
    world = four_cards(Policy())
    world.submit(Task("long", "a", 1000.0), 0.0)
    world.submit(Task("big", "b", 100.0, need=Need(4)), 1.0)
    for number in range(6):
        world.submit(Task(f"small{number}", "c", 400.0), 2.0)
    world.run()
    assert world.tasks["big"].starts == [1000.0]
    assert [world.tasks[f"small{n}"].starts[0] < 1000.0 for n in range(6)] == [True] * 6


def test_a_preempted_job_goes_on_where_it_was_and_none_goes_back_and_forth() -> None:
    world = four_cards(Policy(preempt_after_seconds=60))
    for number in range(4):
        world.submit(Task(f"low{number}", "a", 1000.0), 0.0)
    world.submit(Task("high", "b", 500.0, priority=5), 100.0)
    world.run()
    low = [world.tasks[f"low{n}"] for n in range(4)]
    assert world.tasks["high"].starts == [103.0]
    assert sorted(len(task.starts) for task in low) == [1, 1, 1, 2]
    assert max(task.finished_at or 0 for task in low) == pytest.approx(1500.0, abs=1.0)


def test_projects_of_equal_weight_share_alike_and_weights_tell_otherwise() -> None:
    world = four_cards(Policy())
    for project in "abcd":
        for number in range(300):
            world.submit(Task(f"{project}{number}", project, 100.0), 0.0)
    world.weights["d"] = 3.0
    world.run(5000.0)
    held = {project: sum(d * (end - begin) for p, begin, end, d in world.uses if p == project) for project in "abcd"}
    total = sum(held.values())
    assert {project: round(seconds / total, 2) for project, seconds in held.items()} == pytest.approx(
        {"a": 1 / 6, "b": 1 / 6, "c": 1 / 6, "d": 3 / 6}, abs=0.02)
