"""Whether the Redis that wakes workers does so reliably.

It holds hints: what it loses costs the second until a worker's own look. So what is odd about it is a note, and a fault only
what keeps every hint away.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import redis

from cli.finding import Finding
from cli.home import home_holder
from core.settings import Settings
from core.signals.client import build_hint_client
from core.signals.server import find_binary

OLDEST = (7, 2)
"""The oldest that the client library supports; Valkey tells the version of Redis that it equals."""


def look_at_redis(settings: Settings) -> Finding:
    """Ask it for its version, its role and its settings; one that is embedded may be down, or without a program to run."""
    binary = "" if settings.redis_url else f" ({find_binary()})"
    client = build_hint_client(settings.bell_url)
    try:
        client.ping()
        return redis_finding(_info(client), where=binary)
    except redis.RedisError as error:
        if settings.redis_url:
            return Finding("redis", "fault", f"HEADRACE_REDIS_URL does not answer ({error}); start it, or correct the URL")
        if holder := home_holder(settings.home):
            return Finding("redis", "note", f"embedded, and does not answer ({error}); process {holder}, which serves, starts "
                                            f"it again: see {settings.home / 'redis' / 'server.log'} if it stays so")
        return Finding("redis", "note", f"embedded, not running; `headrace serve` starts it{binary}")
    finally:
        client.close()


def redis_finding(info: Mapping[str, Any], *, where: str = "") -> Finding:
    """Judge what INFO tells."""
    told = str(info.get("redis_version", ""))
    name = f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {told}" if told else "a Redis"
    if info.get("role", "master") not in ("master", "primary"):
        return Finding("redis", "fault", f"{name} is a replica, which takes no wake-ups; let HEADRACE_REDIS_URL "
                                         "name its primary")
    odd = [*_age(told), *_eviction(info)]
    if odd:
        return Finding("redis", "note", f"{name} answers{where}; {'; '.join(odd)}. Until then no job is lost: workers "
                                        "look in the database once a second")
    return Finding("redis", "ok", f"{name} answers{where}")


def _age(told: str) -> list[str]:
    parts = told.split(".")[:2]
    if not all(part.isdigit() for part in parts) or tuple(int(part) for part in parts) >= OLDEST:
        return []
    return [f"{told} is older than what this release was made for: install {'.'.join(map(str, OLDEST))} or later"]


def _eviction(info: Mapping[str, Any]) -> list[str]:
    policy = info.get("maxmemory_policy", "noeviction")
    if policy == "noeviction":
        return []
    return [f"its maxmemory-policy is {policy}, by which it drops wake-ups when memory is short: set it to noeviction, in its "
            "configuration and by `redis-cli CONFIG SET maxmemory-policy noeviction`"]


def _info(client: redis.Redis) -> Mapping[str, Any]:
    """An ACL may forbid INFO to a key that may ring; then nothing is known, and nothing is wrong."""
    try:
        return client.info()  # pyright: ignore[reportReturnType]
    except redis.ResponseError:
        return {}
