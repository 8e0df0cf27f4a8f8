"""How long a place that does not answer is tried: tries with growing waits, then the fault is told."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from core.data.shards.faults import Broken, Refused, StoreFault, told_as_interrupted, told_to_user

T = TypeVar("T")


@dataclass(frozen=True)
class Patience:
    tries: int = 8
    first_wait_seconds: float = 0.5
    """Doubled after each try."""
    most_wait_seconds: float = 15.0
    jitter: Callable[[], float] = random.random
    """From 0 to 1: up to half of a wait is left out by it, so that many readers do not come back at once."""

    def wait_seconds(self, tried: int) -> float:
        wait = min(self.first_wait_seconds * 2 ** (tried - 1), self.most_wait_seconds)
        return wait * (1 - self.jitter() / 2)


def insist(call: Callable[[], T], *, what: str, place: str, patience: Patience, sleep: Callable[[float], object],
           is_known_to_open: bool) -> T:
    """Call until it succeeds; raise DataError for what stays so, RunInterrupted for what might pass and did not.

    Where a file has been read before (`is_known_to_open`), a refusal may pass too: a link that expired is renewed, a key
    is changed."""
    waited = 0.0
    last: StoreFault | None = None
    for tried in range(1, patience.tries + 1):
        try:
            return call()
        except (Broken, Refused) as fault:
            if isinstance(fault, Refused) and not is_known_to_open:
                raise told_to_user(fault, what, place=place) from fault
            last = fault
        except StoreFault as fault:
            raise told_to_user(fault, what, place=place) from fault
        if tried < patience.tries:
            wait = patience.wait_seconds(tried)
            sleep(wait)
            waited += wait
    assert last is not None
    raise told_as_interrupted(last, what, tries=patience.tries, seconds=waited) from last
