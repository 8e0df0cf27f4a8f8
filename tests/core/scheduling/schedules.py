"""Random schedules: a small world of hosts and jobs in which runs are lost, interrupted and handed back, and users pause,
resume and cancel, at random moments. The seed gives the whole history again; the world checks its promises as it goes."""

from __future__ import annotations

import random
from typing import Any, cast

from bench.schedule.world import Task, World
from core.jobs.endings import Ending
from core.jobs.states import FINISHED
from core.scheduling.cluster import Host, Need, Slot
from core.scheduling.policy import Policy

GIB = 1 << 30


class RandomWorld(World):
    """A world in which things happen to runs and jobs."""

    def _on_upset(self, outcome: str) -> None:
        """A run that is there ends badly, or its worker stops."""
        for run_id in list(self.running)[:1]:
            self.end(run_id, Ending(cast(Any, outcome)))

    def _on_ask(self, asked: tuple[str, str]) -> None:
        verb, name = asked
        task = self.tasks.get(name)
        if task is not None:
            {"pause": self.pause, "resume": self.resume, "cancel": self.cancel}[verb](task)


def random_world(seed: int) -> RandomWorld:
    chance = random.Random(seed)
    hosts = [_host(chance, f"h{number}") for number in range(chance.choice((1, 1, 2)))]
    policy = Policy(chance.choice((60.0, 3600.0)), chance.choice((0.0, 60.0, 600.0)), chance.choice((0.0, 30.0)))
    world = RandomWorld({host.name: host for host in hosts}, policy)
    largest = max(hosts, key=lambda host: len(host.slots))
    for number in range(chance.randint(2, 5)):
        world.submit(_task(chance, f"j{number}", largest), chance.choice((0.0, 0.0, 3.0, 40.0)))
        _upset(chance, world, f"j{number}")
    return world


def check_ended(world: World) -> None:
    """Every job has ended as its history says, and nothing is held."""
    assert not world.running
    assert all(slot.run_id is None for host in world.hosts.values() for slot in host.slots)
    for task in world.tasks.values():
        assert task.state in FINISHED, f"{task.id} is left {task.state}"
        assert task.state != "succeeded" or task.left < 1e-3
        assert task.preemptions <= len(task.starts)
    held = sum(devices * (until - since) for _, since, until, devices in world.uses)
    assert held <= sum(len(host.slots) for host in world.hosts.values()) * world.now + 1e-6


def _host(chance: random.Random, name: str) -> Host:
    sizes = [chance.choice((24, 80)) * GIB for _ in range(chance.randint(1, 3))]
    return Host(name, tuple(Slot(f"{name}{n}", "cuda", size) for n, size in enumerate(sizes)), len(sizes))


def _task(chance: random.Random, name: str, largest: Host) -> Task:
    devices = chance.randint(1, len(largest.slots))
    is_large = devices <= sum(slot.memory_bytes > 40 * GIB for slot in largest.slots) and chance.random() < 0.3
    return Task(name, chance.choice("abc"), chance.choice((5.0, 50.0, 500.0)), chance.choice((0, 0, 0, 5)),
                Need(devices, 40 * GIB if is_large else None), chance.random() < 0.6)


def _upset(chance: random.Random, world: RandomWorld, name: str) -> None:
    if chance.random() < 0.4:
        world._push(chance.uniform(0, 400), "upset", chance.choice(("lost", "interrupted", "handed_back")))
    if chance.random() < 0.2:
        at = chance.uniform(0, 300)
        world._push(at, "ask", ("pause", name))
        for wait in (1.0, 2000.0):  # the first may come while the run still saves
            world._push(at + wait, "ask", ("resume", name))
    if chance.random() < 0.1:
        world._push(chance.uniform(0, 600), "ask", ("cancel", name))


__all__ = ["check_ended", "random_world"]
