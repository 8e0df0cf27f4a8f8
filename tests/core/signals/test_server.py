from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import redis

from core.errors import ConfigurationError
from core.settings import Settings
from core.signals import server
from core.signals.client import build_hint_client
from tests.waiting import PATIENCE_SECONDS, wait_for


def test_a_binary_is_found_on_every_machine() -> None:
    assert os.access(server.find_binary(), os.X_OK)


def test_the_bundled_binary_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert os.access(server.find_binary(), os.X_OK)


def test_a_server_on_the_path_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "redis-server"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert server.find_binary() == own


def test_what_was_written_is_there_after_a_kill_and_only_its_owner_may_come_in(tmp_path: Path) -> None:
    socket = tmp_path / "redis.sock"
    first = server.start(tmp_path, socket)
    build_hint_client(f"unix://{socket}").set("key", "value")
    wait_until_kept(tmp_path)
    first.kill()
    first.wait()
    second = server.start(tmp_path, socket)
    try:
        assert build_hint_client(f"unix://{socket}").get("key") == b"value"
        assert stat.S_IMODE((tmp_path / "redis").stat().st_mode) == 0o700
        assert stat.S_IMODE(socket.stat().st_mode) == 0o700
    finally:
        second.terminate()
        assert second.wait(PATIENCE_SECONDS) == 0


def wait_until_kept(home: Path) -> None:
    wait_for(lambda: any(b"value" in path.read_bytes() for path in (home / "redis").rglob("*.aof")))


def test_nobody_listens_on_a_port(tmp_path: Path) -> None:
    running = server.start(tmp_path, tmp_path / "redis.sock")
    try:
        client = build_hint_client(f"unix://{tmp_path / 'redis.sock'}")
        assert client.config_get("port") == {"port": "0"}
    finally:
        running.kill()
        running.wait()


def test_a_server_that_cannot_start_is_told_with_its_log(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho cannot map memory\nexit 1\n")
    broken.chmod(0o755)
    with pytest.raises(Exception, match="cannot map memory"):
        server.start(tmp_path, tmp_path / "redis.sock", binary=broken)


def test_a_home_with_a_long_path_gets_a_short_private_socket(tmp_path: Path) -> None:
    home = tmp_path / ("long" * 30)
    settings = Settings(home=home)
    assert len(os.fsencode(settings.redis_socket)) <= 100
    assert settings.redis_socket == Settings(home=home).redis_socket
    assert settings.redis_socket != Settings(home=home.with_name("other" * 30)).redis_socket
    home.mkdir()
    running = server.start(home, settings.redis_socket)
    try:
        assert redis.Redis.from_url(settings.bell_url).ping()
        assert stat.S_IMODE(settings.redis_socket.parent.stat().st_mode) == 0o700
    finally:
        running.terminate()
        running.wait()
        settings.redis_socket.parent.rmdir() if not any(settings.redis_socket.parent.iterdir()) else None


def test_a_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(ConfigurationError, match="link"):
        server.make_private_folder(tmp_path / "link")
