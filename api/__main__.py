"""`python -m api`: serve the API in the foreground until SIGINT or SIGTERM.

Settings come from the environment; wrong ones, and a database that is not at this version's schema, end it with one line on
standard error and status 2; a database that does not answer, with status 1.
"""

from __future__ import annotations

import sys

import redis
from sqlalchemy.exc import OperationalError

from api.app import create_app
from api.server import build_server
from api.stopping import Stop
from core.db.migrate import require_current
from core.db.session import Ledger
from core.errors import ConfigurationError
from core.logs import configure_logs
from core.process_heap import share_heap
from core.settings import Settings, read_settings
from core.signals.bell import Bell
from core.signals.client import build_hint_client
from core.signals.queue import Queue
from core.storage.opening import open_artifacts


def main() -> int:
    share_heap()
    try:
        settings = read_settings()
        ledger = open_ledger(settings)
    except ConfigurationError as error:
        print(error.message, file=sys.stderr)
        return 2
    except OperationalError as error:
        print(f"the database does not answer ({type(error.orig).__name__}); start it, or correct HEADRACE_DATABASE_URL",
              file=sys.stderr)
        return 1
    configure_logs(settings.log_level, process="api")
    queue, bell, stop = Queue(settings.bell_url), Bell(settings.bell_url), Stop()
    app = create_app(settings, ledger, open_artifacts(settings), wake_workers=queue.ring, wake_listeners=bell.ring,  # pyright: ignore[reportArgumentType]
                     listen=bell.listen, is_bell_heard=lambda: _answers(settings.bell_url), stop=stop)
    try:
        build_server(app, host=settings.host, port=settings.port, stop=stop).run()
    finally:
        queue.close()
        bell.close()
        ledger.close()
    return 0


def open_ledger(settings: Settings) -> Ledger:
    """Open the database; raise ConfigurationError when there is no home or another schema."""
    if not settings.database_url and not settings.home.is_dir():
        raise ConfigurationError(f"HEADRACE_HOME {settings.home} is no folder; start `headrace serve` once, or name its home")
    ledger = Ledger(settings.sql_url, durability="FULL")
    require_current(ledger.engine)
    return ledger


def _answers(bell_url: str) -> bool:
    client = build_hint_client(bell_url)
    try:
        return bool(client.ping())
    except (redis.RedisError, OSError):
        return False
    finally:
        client.close()


if __name__ == "__main__":
    sys.exit(main())
