from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from core.signals.queue import Queue
from tests.core.signals.redises import CutLine, Redis, bell_redis
from tests.waiting import PATIENCE_SECONDS
from worker.app import WakeUps

__all__ = ["bell_redis"]


def wait_until_heard(queue: Queue, heard: threading.Event) -> None:
    """Ring until it is heard."""
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        queue.ring("train")
        if heard.wait(0.5):
            heard.clear()
            return
        assert time.monotonic() < until, "no wake-up was heard"


@pytest.mark.parametrize("harm", [lambda redis: None, lambda redis: (redis.kill(), redis.start())])
def test_wake_ups_are_heard_also_after_redis_was_killed(bell_redis: Redis, harm: Callable[[Redis], None]) -> None:
    heard, queue = threading.Event(), Queue(bell_redis.url)
    with WakeUps(bell_redis.url, "train", heard=heard, node="test") as waking:
        wait_until_heard(queue, heard)
        harm(bell_redis)
        wait_until_heard(queue, heard)
    waking.wait_ended(10)
    queue.close()


def test_wake_ups_are_heard_also_after_redis_was_lost_before_one_was_acknowledged(bell_redis: Redis, tmp_path: Path) -> None:
    heard, queue = threading.Event(), Queue(bell_redis.url)
    with CutLine(tmp_path, bell_redis, b"ZREM") as line, WakeUps(line.url, "train", heard=heard, node="test") as waking:
        queue.ring("train")
        assert line.was_cut.wait(PATIENCE_SECONDS)
        heard.wait(1)
        heard.clear()
        wait_until_heard(queue, heard)
        line.shutdown()
    waking.wait_ended(10)
    queue.close()


def test_a_worker_that_starts_before_redis_hears_it_later(bell_redis: Redis) -> None:
    bell_redis.kill()
    heard, queue = threading.Event(), Queue(bell_redis.url)
    with WakeUps(bell_redis.url, "train", heard=heard, node="test") as waking:
        time.sleep(0.5)
        bell_redis.start()
        wait_until_heard(queue, heard)
    waking.wait_ended(10)
    queue.close()
