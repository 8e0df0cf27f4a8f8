"""Pictures of hosts, runs and queues for tests of the policy: each function takes only what a test cares about."""

from __future__ import annotations

from collections.abc import Sequence

from core.scheduling.cluster import Cluster, Host, Need, Running, Slot
from core.scheduling.order import Waiting
from tests.factories import NOW, later

GIB = 1 << 30


def waits(name: str, project: str = "p", *, priority: int = 0, since: float = 0.0, devices: int = 1, gib: int | None = None,
          blocked: float | None = None, held: str | None = None, promised: float | None = None, takes: float | None = None
          ) -> Waiting:
    """A waiting job; times are seconds after NOW."""
    return Waiting(name, project, priority, later(since), Need(devices, None if gib is None else gib * GIB),
                   None if blocked is None else later(blocked), held, None if promised is None else later(promised), takes)


def runs(name: str, *, host: str = "h", project: str = "r", priority: int = 0, devices: int = 1, since: float = -3600.0,
         ends: float | None = None, is_leaving: bool = False) -> Running:
    return Running(name, f"job of {name}", project, priority, host, devices, later(since),
                   None if ends is None else later(ends), is_leaving)


def host(name: str, holders: Sequence[str | None], *, gib: int | Sequence[int] = 24, kind: str = "cuda", idle: int = 1
         ) -> Host:
    """A host whose devices are held by these runs, None for a free one."""
    sizes = [gib] * len(holders) if isinstance(gib, int) else gib
    slots = [Slot(f"{name}{n}", kind, size * GIB, run) for n, (run, size) in enumerate(zip(holders, sizes, strict=True))]
    return Host(name, tuple(slots), idle)


def cluster(hosts: Sequence[Host], running: Sequence[Running] = ()) -> Cluster:
    return Cluster({each.name: each for each in hosts}, {run.id: run for run in running})


__all__ = ["GIB", "NOW", "cluster", "host", "runs", "waits"]
