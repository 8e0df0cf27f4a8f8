"""`headrace serve` as a process: its lock, its port, its end."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
from pathlib import Path

import psutil
import pytest

from cli.children import Speaker
from cli.errors import CommandRefused
from cli.serve import free_leases, runs_no_more, take_port
from core.db.migrate import migrate
from core.db.session import Ledger
from core.workers import service as workers
from tests.cli.conftest import run
from tests.servers import Server, a_server
from tests.waiting import wait_for


def test_a_second_server_on_one_home_is_told_who_holds_it(server: Server) -> None:
    assert server.process is not None
    done = run(server, "serve", "--port", "0")

    assert done.returncode == 2
    assert f"process {server.process.pid})" in done.stderr


def test_a_port_in_use_is_one_line() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(CommandRefused, match=rf"cannot listen on 127.0.0.1:{port} .*--port"):
            take_port("127.0.0.1", port)


def test_an_address_of_nobody_is_one_line() -> None:
    with pytest.raises(CommandRefused, match=r"cannot listen on no\.such\.host\.invalid:80"):
        take_port("no.such.host.invalid", 80)


def test_workers_that_are_dead_are_noted_as_stopped_also_those_that_nobody_has_waited_for(tmp_path: Path) -> None:
    dead = subprocess.Popen(["true"])
    os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)
    migrate(f"sqlite:///{tmp_path}/headrace.db")
    ledger = Ledger(f"sqlite:///{tmp_path}/headrace.db", pool_size=1)
    with ledger.write() as session:
        for name, pid in (("dead", dead.pid), ("living", os.getpid())):
            workers.announce(session, worker_id=name, host=socket.gethostname(), pid=pid, queue="train", version="1")
    free_leases(ledger, runs_no_more, Speaker(io.BytesIO()))
    with ledger.read() as session:
        assert [worker.id for worker in workers.alive(session)] == ["living"]
    ledger.close()
    dead.wait()


def test_a_server_stops_in_order_on_ctrl_c_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with a_server(tmp_path) as server:
        assert server.process is not None
        children = psutil.Process(server.process.pid).children(recursive=True)
        server.stop(signal.SIGINT)

        assert server.process.returncode == 0
        assert len(children) >= 4
        assert not [child for child in children if child.is_running()]
        assert not (server.home / "redis.sock").exists()


def test_a_server_that_is_killed_takes_all_its_processes_along_and_starts_again(tmp_path: Path) -> None:
    with a_server(tmp_path) as server:
        assert server.process is not None
        children = psutil.Process(server.process.pid).children(recursive=True)
        server.process.kill()
        server.process.wait()

        wait_for(lambda: not [child for child in children if child.is_running()], "processes were left behind")
        server.start()
        assert server.processes("worker", "train")
