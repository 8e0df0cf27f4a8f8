"""How long this end waits for PostgreSQL, and PostgreSQL for this end.

A part that hangs, or whose host lost power, must keep no row from the others; a server or a network that fell silent must keep
no part. So each wait has an end:

    a writing transaction of which nothing more is heard     the server ends its session     `hold_seconds`
    a lock that another transaction keeps                    the statement is refused        `hold_seconds`
    a peer whose machine or network is gone                  either kernel closes            some 9 seconds
    a statement that is taken and never answered             we close the connection         `answer_seconds`

Each comes out as an error that `core/db/away.py` knows: what was asked is asked again, by another connection. A transaction
that only reads holds nothing that a writer waits for, and may rest as long as it likes: a download from a bucket, say.
"""

from __future__ import annotations

from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url

from core.db.patience import Patience

CLIENT: dict[str, Any] = {"connect_timeout": 5, "keepalives": 1, "keepalives_idle": 5, "keepalives_interval": 2,
                          "keepalives_count": 2, "tcp_user_timeout": 8000}
"""For libpq, well below the shipped lease; what the database's address says itself goes before."""
SERVER = "SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 2"
BOUND = text("SELECT set_config('lock_timeout', :hold, true), "
             "set_config('idle_in_transaction_session_timeout', :hold, true)")
"""For this transaction alone, so that it holds behind a pooler of connections too."""


class PatientConnection(psycopg.Connection[Any]):
    """Closes itself when the server takes a statement and does not answer: over TCP alone that may last for hours."""

    answer_seconds: float | None = None

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        if timeout is not None or self.answer_seconds is None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, self.answer_seconds)
        except psycopg.errors._WaitTimeout as error:
            self.close()
            raise psycopg.OperationalError(f"the database took a statement and gave no answer in {self.answer_seconds:g} s; "
                                           "this connection is closed, the next one asks again") from error


def build(url: str, patience: Patience | None, **shared: Any) -> Engine:
    """An engine on PostgreSQL; without `patience`, for a migration, statements and transactions take what they take."""
    address = make_url(url)
    wishes = {name: value for name, value in CLIENT.items() if name not in address.query}
    engine = create_engine(address, pool_pre_ping=True, connect_args=wishes, **shared)

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: Any, _record: Any, arguments: Any, parameters: Any) -> PatientConnection:
        connection = PatientConnection.connect(*arguments, **parameters)
        connection.answer_seconds = patience.answer_seconds if patience is not None else None
        connection.execute(SERVER)
        connection.commit()
        return connection

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if patience is not None and not connection.get_execution_options().get("headrace_reads", False):
            connection.execute(BOUND, {"hold": f"{patience.hold_seconds * 1000:.0f}"})

    return engine
