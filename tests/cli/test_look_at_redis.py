from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from cli.home import hold_home
from cli.look_at_redis import look_at_redis, redis_finding
from core.settings import Settings
from core.signals import server
from tests.waiting import PATIENCE_SECONDS

GOOD = {"redis_version": "7.2.4", "valkey_version": "9.1.2", "role": "master", "maxmemory_policy": "noeviction"}


@pytest.mark.parametrize(("odd", "verdict", "words"), [
    ({}, "ok", "Valkey 9.1.2 answers"),
    ({"role": "slave"}, "fault", "is a replica, which takes no wake-ups; let HEADRACE_REDIS_URL name its primary"),
    ({"maxmemory_policy": "allkeys-lru"}, "note", "is allkeys-lru, by which it drops wake-ups when memory is short: set it to "
                                                  "noeviction"),
    ({"redis_version": "6.2.14"}, "note", "6.2.14 is older than what this release was made for: install 7.2 or later")])
def test_a_redis_that_loses_wake_ups_is_told_with_what_to_do(odd: dict[str, str], verdict: str, words: str) -> None:
    finding = redis_finding({**GOOD, **odd})
    assert finding.verdict == verdict
    assert words in finding.says


def test_a_redis_that_tells_nothing_of_itself_is_no_fault() -> None:
    assert redis_finding({}).verdict == "ok"


def test_a_running_redis_is_asked_for_its_settings(tmp_path: Path) -> None:
    with a_redis(tmp_path) as url:
        settings = Settings(home=tmp_path, redis_url=url)
        assert look_at_redis(settings).verdict == "ok"
        redis.Redis.from_url(url).config_set("maxmemory-policy", "volatile-ttl")
        assert "is volatile-ttl" in look_at_redis(settings).says


def test_one_that_is_named_and_silent_is_a_fault_and_an_embedded_one_a_note(tmp_path: Path) -> None:
    named = look_at_redis(Settings(home=tmp_path, redis_url="redis://127.0.0.1:1"))
    assert (named.verdict, "HEADRACE_REDIS_URL does not answer" in named.says) == ("fault", True)
    embedded = look_at_redis(Settings(home=tmp_path))
    assert (embedded.verdict, "`headrace serve` starts it" in embedded.says) == ("note", True)


@contextlib.contextmanager
def a_redis(folder: Path) -> Iterator[str]:
    socket = folder / "redis.sock"
    process = server.start(folder, socket)
    try:
        yield f"unix://{socket}"
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def test_an_embedded_one_that_is_silent_while_a_server_runs_is_told_as_such(tmp_path: Path) -> None:
    with hold_home(tmp_path):
        finding = look_at_redis(Settings(home=tmp_path))

    assert finding.verdict == "note"
    assert f"process {os.getpid()}, which serves, starts it again" in finding.says
