"""`headrace serve`: a whole server as one parent with its children.

    home, locked → migrations → Redis → API, a train worker a GPU (one where there is none), upkeep → kept until a stop is asked

The ledger, the bell and the storage are the embedded ones unless their settings name others. A train worker that dies has its
leases ended at once, so that its job goes on with the next one instead of waiting for the lease to lapse.

Once the parts run, nothing here waits for the ledger or for a reader of what is said: without either a stop is obeyed and a
dead part started again.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable
from contextlib import closing
from importlib.metadata import version
from typing import Annotated

import httpx
import typer
from sqlalchemy import select

from cli.children import Speaker, dies_with_parent, start_child, state_of
from cli.errors import CommandRefused
from cli.home import Home, hold_home, make_home, settings_for
from cli.house import House, Part
from cli.output import say
from core.clock import system_clock
from core.db import migrate
from core.db.session import Ledger
from core.devices.discovery import find_devices
from core.jobs import claims
from core.places import places_of
from core.projects.service import list_keys
from core.settings import Settings
from core.signals import server as redis_server
from core.workers import service as workers
from core.workers.models import Worker

API_GRACE_SECONDS = 5.0
TRAIN_GRACE_SECONDS = 18.0
"""A train worker tells its child to save the last step's border, and hands the job back."""
UPKEEP_GRACE_SECONDS = 4.0
REDIS_GRACE_SECONDS = 2.0
READY_SECONDS = 60.0


def serve(
    home: Home = None,
    host: Annotated[str | None, typer.Option("--host", help="Address that the API listens on (HEADRACE_HOST).",
                                             show_default=False)] = None,
    port: Annotated[int | None, typer.Option("--port", help="Port that the API listens on; 0 takes a free one (HEADRACE_PORT).",
                                             show_default=False)] = None,
) -> None:
    """Run the whole server in the foreground until Ctrl-C.

    Makes the home if it is not there, brings its database up to date, and starts the API, the workers and an embedded Redis.
    Ctrl-C or TERM stops all in order (training jobs are saved first, and go on at the next start); a second Ctrl-C is quicker.
    """
    keep_house(settings_for(home, host=host, port=port))


def keep_house(settings: Settings, *, worker: str = "worker") -> None:
    """Serve until a stop is asked for; `worker` is the module that workers are started from."""
    settings = settings.model_copy(update={"port": take_port(settings.host, settings.port)})
    make_home(settings.home)
    places_of(settings)  # a mistake in the operator's file ends the start, not the first job that names a place
    with hold_home(settings.home), closing(Speaker()) as speaker:
        migrate.migrate(settings.sql_url)
        ledger = Ledger(settings.sql_url, durability="NORMAL", pool_size=2)
        if not settings.database_url:  # the lock on the home says that nobody else serves this ledger
            free_leases(ledger, runs_no_more, speaker)
        has_key = is_key_there(ledger)
        parts = build_parts(settings, ledger, speaker, worker=worker)
        house = House(parts, speaker, stopped_seconds=settings.lease_seconds)
        house.listen()
        try:
            house.start()
            if house.keep(until=lambda: is_ready(settings), seconds=READY_SECONDS):
                _welcome(settings, speaker, has_key=has_key)
            elif not house.is_stopping:
                speaker.say("serve", f"the API was not ready within {READY_SECONDS:.0f} s; its lines above say why")
            house.keep()
            speaker.say("serve", "stopping: running jobs are saved and handed back (Ctrl-C again to hurry)")
        finally:
            house.stop()
            ledger.close()
        speaker.say("serve", "stopped; the next start goes on with unfinished jobs")


def take_port(host: str, port: int) -> int:
    """Check that the address can be listened on and give the port, a free one for 0; raise CommandRefused otherwise."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            return probe.getsockname()[1]
    except OSError as error:
        raise CommandRefused(f"cannot listen on {host}:{port} ({error.strerror}); choose another with --port or --host, or "
                             "stop what listens there") from error


def build_parts(settings: Settings, ledger: Ledger, speaker: Speaker, *, worker: str = "worker") -> list[Part]:
    """List what makes this server, in the order of starting."""
    environment = {**os.environ, **part_environment(settings)}

    def python(name: str, *arguments: str, stops_as: int, grace: float) -> Part:
        command = [sys.executable, "-m", *arguments]
        return Part(name, lambda: start_child(command, environment=environment), stops_as, grace,
                    lambda pid: free_leases(ledger, lambda each: each == pid and runs_no_more(pid), speaker))

    trainers = len(find_devices(settings.device))
    names = ["train"] if trainers == 1 else [f"train {number}" for number in range(trainers)]
    return [
        *([] if settings.redis_url else [_redis(settings)]),
        python("api", "api", stops_as=1, grace=API_GRACE_SECONDS),
        *(python(name, worker, "--queue", "train", stops_as=2, grace=TRAIN_GRACE_SECONDS) for name in names),
        python("upkeep", worker, "--queue", "upkeep", stops_as=3, grace=UPKEEP_GRACE_SECONDS),
    ]


def part_environment(settings: Settings) -> dict[str, str]:
    """What a part must be told beside the environment that `serve` itself was given."""
    return {"HEADRACE_HOME": str(settings.home), "HEADRACE_HOST": settings.host, "HEADRACE_PORT": str(settings.port),
            "PYTHONUNBUFFERED": "1"}


def free_leases(ledger: Ledger, is_dead: Callable[[int], bool], speaker: Speaker) -> None:
    """End the leases of this host's workers whose process `is_dead`, and note their end; away from the ledger they lapse."""
    try:
        with ledger.write() as session:
            query = select(Worker).where(Worker.host == socket.gethostname(), Worker.stopped_at.is_(None))
            for gone in [worker for worker in session.scalars(query).all() if is_dead(worker.pid)]:
                claims.end_worker(session, gone.id)
                workers.stop(session, gone.id)
    except Exception as error:
        speaker.say("serve", f"the leases of dead workers could not be ended ({error}); they lapse by themselves in "
                             "HEADRACE_LEASE_SECONDS")


def runs_no_more(pid: int) -> bool:
    """Tell whether a process is gone, or dead and still to be waited for by whoever is its parent now."""
    return state_of(pid) in ("", "Z")


def is_key_there(ledger: Ledger) -> bool:
    with ledger.read() as session:
        return any(key.revoked_at is None for key in list_keys(session))


def is_ready(settings: Settings) -> bool:
    try:
        return httpx.get(address(settings) + "/readyz", timeout=1.0, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def address(settings: Settings) -> str:
    """Where a client on this machine reaches the API."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(settings.host, settings.host)
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def _redis(settings: Settings) -> Part:
    def start():
        return redis_server.start(settings.home, settings.redis_socket, before_exec=dies_with_parent())

    return Part("redis", start, 4, REDIS_GRACE_SECONDS)


def _welcome(settings: Settings, speaker: Speaker, *, has_key: bool) -> None:
    devices = find_devices(settings.device)
    lines = [
        f"Headrace {version('headrace')} listens on {address(settings)} (process {os.getpid()}, "
        f"{time.strftime('%H:%M:%S', system_clock().astimezone().timetuple())})",
        f"  home      {settings.home}",
        f"  database  {'as HEADRACE_DATABASE_URL says' if settings.database_url else 'SQLite in the home'}",
        f"  redis     {'as HEADRACE_REDIS_URL says' if settings.redis_url else 'embedded, in the home'}",
        f"  training  on {', '.join(device.name for device in devices) if devices[0].kind == 'cuda' else 'the CPU'}",
    ]
    if not has_key:
        lines.append(f"  no key yet: in another terminal, HEADRACE_HOME={settings.home} headrace keys create me")
    for line in lines:
        speaker.say("serve", line)


def api(home: Home = None) -> None:
    """Run the HTTP API alone (it needs a database that `headrace migrate` has brought up to date)."""
    _become(settings_for(home), "api")


def worker(
    queue: Annotated[str, typer.Option("--queue", help="train: fine-tunes, on a GPU where there is one. upkeep: indexes data, "
                                       "checks jobs, watches leases.", show_default=False)],
    home: Home = None,
) -> None:
    """Run one worker alone: `train` (one per GPU) or `upkeep` (at least one per installation)."""
    if queue not in ("train", "upkeep"):
        raise CommandRefused(f"--queue is {queue!r}; train or upkeep was expected")
    _become(settings_for(home), "worker", "--queue", queue)


def migrate_command(home: Home = None) -> None:
    """Bring the database up to date (and make the home of the embedded default if it is not there)."""
    settings = settings_for(home)
    if not settings.database_url:
        make_home(settings.home)
    migrate.migrate(settings.sql_url)
    say("the database is up to date")


def _become(settings: Settings, *module: str) -> None:
    """Turn this process into the part, so that its supervisor's signals reach it."""
    os.environ.update(part_environment(settings))
    os.execv(sys.executable, [sys.executable, "-m", *module])
