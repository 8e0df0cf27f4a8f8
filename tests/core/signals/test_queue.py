from __future__ import annotations

import ssl

import pytest

from core.signals.client import build_hint_client
from core.signals.queue import Queue, broker_url, build_celery
from tests.core.signals.redises import Redis
from tests.waiting import wait_for


@pytest.mark.parametrize("url, expected", [
    ("redis://host:6379/3", "redis://host:6379/3"),
    ("unix:///home/redis.sock", "redis+socket:///home/redis.sock?virtual_host=0"),
    ("unix:///home/redis.sock?db=2", "redis+socket:///home/redis.sock?virtual_host=2"),
])
def test_celery_gets_its_own_form_of_the_url(url: str, expected: str) -> None:
    assert broker_url(url) == expected


def test_celery_takes_json_alone_and_keeps_no_results() -> None:
    conf = build_celery("redis://localhost").conf
    assert conf.accept_content == ["json"]
    assert conf.result_backend is None
    assert not conf.task_acks_late
    assert conf.worker_prefetch_multiplier == 0
    assert conf.broker_connection_max_retries is None


def test_a_tls_url_demands_a_certificate_that_is_checked() -> None:
    connection = build_celery("rediss://host:6379/0").connection_for_write()
    assert connection.ssl == {"ssl_cert_reqs": ssl.CERT_REQUIRED}
    assert not build_celery("redis://host:6379/0").connection_for_write().ssl


def test_a_ring_puts_one_wake_up_on_its_queue(bell_redis: Redis) -> None:
    queue = Queue(bell_redis.url)
    queue.ring("train")
    wait_for(lambda: queue.depth("train") == 1)
    assert queue.depth("upkeep") == 0
    message = build_hint_client(bell_redis.url).lrange("headrace:train", 0, 0)[0]
    assert b"application/json" in message
    assert b"ftjob" not in message
    queue.close()


def test_without_redis_a_ring_is_no_error_and_the_depth_is_unknown(tmp_path) -> None:
    queue = Queue(f"unix://{tmp_path / 'nobody.sock'}")
    queue.ring("train")
    assert queue.depth("train") is None
    queue.close()
