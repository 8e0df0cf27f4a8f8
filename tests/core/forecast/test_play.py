from __future__ import annotations

import random
from collections import Counter

import pytest

from core.forecast.play import Host, Running, Start, Waiting, play
from core.quotas.limits import Limits
from core.quotas.standing import Standing
from core.scheduling.cluster import Slot

CARD = 1 << 30


def a_host(name: str = "a", devices: int = 1, *, workers: int | None = None, memory: int = CARD) -> Host:
    slots = tuple(Slot(f"{name}{number}", "cuda", memory) for number in range(devices))
    return Host(name, "card", slots, devices if workers is None else workers)


def a_run(seconds: float | None, *, host: str = "a", devices: int = 1, project: str = "p") -> Running:
    return Running(host, tuple(f"{host}{number}" for number in range(devices)), seconds, project)


def jobs(*names: str, **fields) -> list[Waiting]:
    return [Waiting(name, **{"project_id": "p", **fields}) for name in names]


def foretold(hosts, running, queue, *, seconds: float | None = 10.0, standing: Standing | None = None, **more
             ) -> dict[str, float]:
    starts = play(hosts, running, queue, durations=lambda job, host: seconds, standing=standing or Standing(), **more)
    return {job_id: start.seconds for job_id, start in starts.items()}


def test_jobs_of_one_device_take_turns():
    assert foretold([a_host()], [a_run(5.0)], jobs("x", "y", "z")) == {"x": 5.0, "y": 15.0, "z": 25.0}


def test_a_start_tells_where_and_for_how_long():
    (start,) = play([a_host("b")], [], jobs("x"), durations=lambda job, host: 7.0, standing=Standing()).values()
    assert start == Start(0.0, "b", 7.0)


def test_nothing_is_foretold_behind_an_end_that_nobody_foresees():
    assert foretold([a_host()], [a_run(None)], jobs("x")) == {}
    assert foretold([a_host()], [], jobs("x", "y"), seconds=None) == {"x": 0.0}


def test_several_hosts_free_their_devices_each_at_its_time():
    hosts, running = [a_host("a"), a_host("b")], [a_run(3.0), a_run(8.0, host="b")]
    assert foretold(hosts, running, jobs("x", "y", "z")) == {"x": 3.0, "y": 8.0, "z": 13.0}


def test_a_job_of_two_devices_is_not_overtaken_on_its_host():
    queue = [*jobs("big", devices=2), *jobs("small")]
    assert foretold([a_host(devices=2)], [a_run(5.0)], queue) == {"big": 5.0, "small": 15.0}


def test_a_job_runs_on_devices_of_one_kind():
    mixed = Host("a", "card", (Slot("x", "cuda", CARD), Slot("y", "cpu", 8 * CARD)), 2)
    assert foretold([mixed], [], jobs("pair", devices=2)) == {}
    assert foretold([mixed], [], jobs("one", "two")) == {"one": 0.0, "two": 0.0}


def test_a_job_that_fits_no_host_keeps_nobody():
    queue = [*jobs("never", devices=3), *jobs("small")]
    assert foretold([a_host(devices=2)], [], queue) == {"small": 0.0}


def test_a_job_waits_for_a_device_that_is_large_enough():
    hosts = [a_host("small"), a_host("large", memory=4 * CARD)]
    queue = [*jobs("big", memory_bytes=2 * CARD), *jobs("any")]
    assert foretold(hosts, [a_run(6.0, host="large")], queue) == {"big": 6.0, "any": 0.0}


def test_as_many_run_at_once_as_there_are_workers():
    assert foretold([a_host(devices=4, workers=1)], [], jobs("x", "y")) == {"x": 0.0, "y": 10.0}


def test_a_quota_of_running_jobs_lets_others_pass():
    standing = Standing({"p": Limits(running_jobs=1)}, running=Counter({"p": 1}))
    queue = [*jobs("x", "y"), *jobs("other", project_id="q")]
    assert foretold([a_host(devices=3)], [a_run(4.0)], queue, standing=standing) == {"other": 0.0, "x": 4.0, "y": 14.0}


def test_spent_device_seconds_hold_until_the_period_turns_but_not_what_has_begun():
    standing = Standing({"p": Limits(device_seconds=100)}, device_seconds={"p": 120.0})
    queue = [*jobs("new"), *jobs("begun", has_begun=True)]
    assert foretold([a_host(devices=2)], [], queue, standing=standing, period_seconds=3600.0) == {"begun": 0.0, "new": 3600.0}


def test_a_job_that_rests_is_passed_and_starts_later():
    queue = [*jobs("rests", not_before=4.0), *jobs("x")]
    assert foretold([a_host()], [], queue) == {"x": 0.0, "rests": 10.0}


def test_a_job_that_rests_starts_as_soon_as_it_may():
    assert foretold([a_host()], [], jobs("rests", not_before=4.0)) == {"rests": 4.0}


@pytest.mark.parametrize("seed", range(30))
def test_no_device_is_ever_held_twice_and_the_order_is_kept(seed: int):
    chance = random.Random(seed)
    hosts = [a_host(name, chance.randint(1, 4)) for name in "abc"]
    queue = [Waiting(str(n), "p", devices=chance.choice((1, 1, 1, 2, 4))) for n in range(40)]
    seconds = {job.id: chance.uniform(1, 50) for job in queue}
    starts = play(hosts, [], queue, durations=lambda job, host: seconds[job.id], standing=Standing())
    sizes = {host.name: len(host.slots) for host in hosts}
    assert set(starts) == {job.id for job in queue if job.devices <= max(sizes.values())}
    needs = {job.id: job.devices for job in queue}
    for moment in (start.seconds for start in starts.values()):
        held = Counter[str]()
        for job_id, start in starts.items():
            if start.seconds <= moment < start.seconds + seconds[job_id]:
                held[start.host] += needs[job_id]
        assert all(held[name] <= size for name, size in sizes.items())
    singles = [starts[job.id].seconds for job in queue if job.devices == 1]
    assert singles == sorted(singles)
