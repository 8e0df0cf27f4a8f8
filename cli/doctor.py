"""`headrace doctor`: looks at what a server needs on this machine, and says what to do about what is missing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict

import typer
from rich.markup import escape
from sqlalchemy.exc import OperationalError

from cli.errors import JOB_FAILED
from cli.finding import Finding
from cli.home import Home, home_holder, require_home, settings_for
from cli.look_at_gpu import look_at_gpu
from cli.look_at_redis import look_at_redis
from cli.look_at_versions import look_at_python, look_at_training
from cli.output import Json, out, print_json, size
from core.clock import system_clock
from core.data.spec import Place
from core.db.migrate import require_current
from core.db.session import Ledger, database_now
from core.errors import HeadraceError
from core.places import places_of
from core.settings import Settings
from core.storage.opening import open_artifacts
from core.workers import service as workers

CLOCK_SECONDS = 5.0
"""Clocks that are further apart are told; leases hold nevertheless."""
MARKS = {"ok": "[green]✓[/green]", "note": "[yellow]![/yellow]", "fault": "[red]✗[/red]"}


def doctor(home: Home = None, as_json: Json = False) -> None:
    """Look at what a server needs on this machine. Exit code 1 when something must be mended."""
    findings = examine(settings_for(home))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            out().print(f"{MARKS[finding.verdict]} {finding.about:<9} {escape(finding.says)}", soft_wrap=True)
    if any(finding.verdict == "fault" for finding in findings):
        raise typer.Exit(JOB_FAILED)


def examine(settings: Settings) -> list[Finding]:
    """Look at one thing after another; one that cannot be looked at is itself a finding."""
    looks: dict[str, Callable[[Settings], Finding]] = {
        "python": lambda _: look_at_python(), "home": _home, "database": _database, "clock": _clock, "redis": look_at_redis,
        "workers": _workers, "disk": _disk, "storage": _storage, "places": _places, "device": look_at_gpu,
        "training": lambda _: look_at_training(),
    }
    findings = []
    for about, look in looks.items():
        try:
            findings.append(look(settings))
        except HeadraceError as error:
            findings.append(Finding(about, "fault", error.message))
        except OperationalError as error:
            findings.append(Finding(about, "fault", _away(settings, error)))
        except Exception as error:
            findings.append(Finding(about, "fault", f"{type(error).__name__}: {error}"))
    return findings


def _away(settings: Settings, error: OperationalError) -> str:
    told = " ".join(str(error.orig).split())
    if settings.database_url:
        return f"HEADRACE_DATABASE_URL does not answer ({told}); start the database, or correct the URL"
    return f"{settings.home / 'headrace.db'} cannot be used ({told}); look at its disk, and at who owns the home"


def _home(settings: Settings) -> Finding:
    if settings.database_url and not settings.home.is_dir():
        return Finding("home", "note", f"{settings.home} is not there; with HEADRACE_DATABASE_URL only `models add` needs it")
    require_home(settings)
    if not os.access(settings.home, os.W_OK):
        return Finding("home", "fault", f"{settings.home} cannot be written by this user; give it to the user that serves")
    holder = home_holder(settings.home)
    return Finding("home", "ok", f"{settings.home}, " + (f"served by process {holder}" if holder else "not served now"))


def _database(settings: Settings) -> Finding:
    with _opened(settings) as ledger:
        require_current(ledger.engine)
        return Finding("database", "ok", f"{ledger.engine.dialect.name}, schema as this release needs it")


def _clock(settings: Settings) -> Finding:
    """Leases go by the database's clock; files' times and log lines by this machine's."""
    if not settings.database_url:
        return Finding("clock", "ok", "the database is on this machine and goes by its clock")
    with _opened(settings) as ledger, ledger.read() as session:
        apart = (database_now(session) - system_clock()).total_seconds()
    return clock_finding(apart)


def clock_finding(apart_seconds: float) -> Finding:
    """Judge how far the database's clock is before this machine's."""
    if abs(apart_seconds) <= CLOCK_SECONDS:
        return Finding("clock", "ok", f"{abs(apart_seconds):.1f} s apart from the database's")
    which = "behind" if apart_seconds > 0 else "before"
    return Finding("clock", "fault", f"this machine's clock is {abs(apart_seconds):.0f} s {which} the database's; let both "
                                     "follow a time server (chrony or systemd-timesyncd)")


def _workers(settings: Settings) -> Finding:
    """Who renews its row; a server that is not running has nobody, which is no fault."""
    with _opened(settings) as ledger, ledger.read() as session:
        seen = workers.alive(session)
    told = {queue: sum(worker.queue == queue for worker in seen) for queue in ("train", "upkeep")}
    lately = f"in the last {workers.ALIVE_SECONDS:.0f} s"
    missing = [queue for queue, count in told.items() if not count]
    if missing:
        return Finding("workers", "note", f"no {' and no '.join(missing)} worker was seen {lately}; `headrace serve` starts "
                                          "them, `headrace worker` one alone")
    return Finding("workers", "ok", ", ".join(f"{count} {queue}" for queue, count in told.items()) + f" seen {lately}")


@contextmanager
def _opened(settings: Settings) -> Iterator[Ledger]:
    """Open the database, which needs a home only where it lies in one."""
    if not settings.database_url:
        require_home(settings)
    ledger = Ledger(settings.sql_url, pool_size=1)
    try:
        yield ledger
    finally:
        ledger.close()


def _disk(settings: Settings) -> Finding:
    folder = settings.storage_root
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < settings.min_free_bytes:
        return Finding("disk", "fault", f"{size(free)} free at {settings.storage_root}, below HEADRACE_MIN_FREE_BYTES "
                                        f"({size(settings.min_free_bytes)}), so uploads are refused; free some space")
    return Finding("disk", "ok", f"{size(free)} free at {settings.storage_root}")


def _storage(settings: Settings) -> Finding:
    """Write, read and delete an object of a bucket; a folder is seen to by what is said of the disk."""
    artifacts = open_artifacts(settings)
    if not artifacts.is_shared:
        return Finding("storage", "ok", f"a folder, {settings.storage_root}")
    artifacts.probe()
    return Finding("storage", "ok", f"{settings.storage_url} can be written, read and deleted from")


def _places(settings: Settings) -> Finding:
    """What the file says; whether a place answers is seen when data is registered from it."""
    named = places_of(settings).by_name
    told = ", ".join(f"{name} ({place.kind}, {_open_to(place)})" for name, place in sorted(named.items()))
    return Finding("places", "ok", told or "none named; clients upload their rows")


def _open_to(place: Place) -> str:
    return "for all projects" if place.projects is None else f"for {', '.join(place.projects) or 'no project'}"

