from __future__ import annotations

import threading
import time

from core.signals.ringer import Ringer
from tests.waiting import PATIENCE_SECONDS


def test_rings_of_one_name_that_wait_are_one() -> None:
    sent: list[list[str]] = []
    may_send = threading.Event()

    def send(names: list[str]) -> None:
        may_send.wait(PATIENCE_SECONDS)
        sent.append(names)

    ringer = Ringer(send, name="test")
    ringer.ring("first")
    while ringer._waiting:
        time.sleep(0.001)
    for name in ("job", "other", "job", "job"):
        ringer.ring(name)
    may_send.set()
    ringer.close()
    assert sent == [["first"], ["job", "other"]]


def test_a_ring_never_raises_and_never_waits() -> None:
    all_rung = threading.Event()

    def fail(names: list[str]) -> None:
        all_rung.wait()
        raise ConnectionError("Redis is away")

    ringer = Ringer(fail, name="test")
    for number in range(1000):
        ringer.ring(f"job {number}")
    all_rung.set()
    ringer.close()


def test_it_rings_again_after_a_failure() -> None:
    heard = threading.Event()
    tries: list[list[str]] = []

    def send(names: list[str]) -> None:
        tries.append(names)
        if len(tries) == 1:
            raise ConnectionError("Redis is away")
        heard.set()

    ringer = Ringer(send, name="test")
    ringer.ring("one")
    while not tries:
        time.sleep(0.001)
    ringer.ring("two")
    assert heard.wait(PATIENCE_SECONDS)
    ringer.close()


def test_what_waits_at_the_close_is_still_sent() -> None:
    sent: list[str] = []
    ringer = Ringer(sent.extend, name="test")
    ringer.ring("last")
    ringer.close()
    ringer.ring("too late")
    assert sent == ["last"]
