"""The operator's home, as commands beside the server use it: settings, the ledger, and one lock.

Every command but `serve`, `demo` and `migrate` refuses a home that is not there: a mistyped path would otherwise make an empty
server that looks like a lost one.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from cli.errors import CommandRefused
from core.db.session import Ledger
from core.settings import Settings, read_settings

Home = Annotated[Path | None, typer.Option("--home", help="The server's home; HEADRACE_HOME when absent.", show_default=False)]

LOCK = "serve.lock"


def settings_for(home: Path | None, **more: object) -> Settings:
    """Read the settings, with the home that the command line names before that of the environment."""
    given = {**more, **({"home": home} if home is not None else {})}
    return read_settings(**{name: value for name, value in given.items() if value is not None})


def require_home(settings: Settings) -> None:
    """Raise CommandRefused where the ledger that the settings name has not been made."""
    if settings.database_url:
        return
    if not settings.home.is_dir():
        raise CommandRefused(f"the home {settings.home} is not there; start `headrace serve` once, or name another with --home "
                             "or HEADRACE_HOME")
    if not (settings.home / "headrace.db").exists():
        raise CommandRefused(f"{settings.home} holds no headrace.db, so it is no home of a server; start `headrace serve` "
                             "there once, or name another with --home or HEADRACE_HOME")


def make_home(home: Path) -> None:
    """Make the home, for its owner alone; one that is there keeps its content and loses others' access."""
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        home.chmod(0o700)
    except OSError as error:
        raise _not_writable(home, error) from error


@contextmanager
def open_ledger(settings: Settings) -> Iterator[Ledger]:
    """Open the ledger of a home that is there."""
    require_home(settings)
    ledger = Ledger(settings.sql_url, pool_size=2)
    try:
        yield ledger
    finally:
        ledger.close()


def home_holder(home: Path) -> str | None:
    """Tell the process id of the server that holds the home now; None when none does."""
    try:
        descriptor = os.open(home / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read_holder(descriptor)
    finally:
        os.close(descriptor)
    return None


@contextmanager
def hold_home(home: Path) -> Iterator[None]:
    """Hold the home for one server; raise CommandRefused that names the process which holds it already.

    The kernel lets go of the lock when its holder dies, however it dies.
    """
    try:
        descriptor = os.open(home / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _not_writable(home, error) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _read_holder(descriptor)
            raise CommandRefused(f"another `headrace serve` (process {holder}) holds the home {home}; stop it, or choose "
                                 "another home with --home or HEADRACE_HOME") from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _not_writable(home: Path, error: OSError) -> CommandRefused:
    return CommandRefused(f"the home {home} cannot be written ({error.strerror}: {error.filename}); give it to this user, or "
                          "name a folder that you may write with --home or HEADRACE_HOME")


def _read_holder(descriptor: int) -> str:
    return os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
