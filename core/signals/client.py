"""Redis clients for hints: they give up at once, since a hint that waits is worth less than the poll it spares."""

from __future__ import annotations

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

HINT_SECONDS = 1.0


def build_hint_client(redis_url: str) -> redis.Redis:
    """One try, one second: the library's defaults try eleven times and hold a publisher for seconds while Redis is away."""
    return redis.Redis.from_url(
        redis_url, socket_timeout=HINT_SECONDS, socket_connect_timeout=HINT_SECONDS, retry=Retry(NoBackoff(), 0),
    )
