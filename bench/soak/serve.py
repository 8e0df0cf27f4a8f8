"""`python -m bench.soak.serve --port N [--small] [--apart]`: a whole server to be killed in parts.

Without options it is `headrace serve`. `--small` starts the small trainer instead of torch. `--apart` runs the parts as an
operator of several machines does: each alone, started again when it dies, with nobody who ends a dead worker's lease at
once; Redis is the one that HEADRACE_REDIS_URL names, a socket in the home here.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from cli.children import Speaker, dies_with_parent
from cli.home import settings_for
from cli.house import House, Part
from cli.serve import build_parts, keep_house
from core.db.migrate import migrate
from core.db.session import Ledger
from core.settings import Settings
from core.signals import server as redis_server


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.soak.serve", description="A server to be killed in parts.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--small", action="store_true", help="children are the small trainer")
    parser.add_argument("--apart", action="store_true", help="parts on their own, as on several machines")
    asked = parser.parse_args()
    settings = settings_for(None, host=None, port=asked.port)
    worker = "bench.soak.worker" if asked.small else "worker"
    if asked.apart:
        keep_apart(settings, worker=worker)
    else:
        keep_house(settings, worker=worker)


def keep_apart(settings: Settings, *, worker: str) -> None:
    settings.home.mkdir(parents=True, exist_ok=True)
    migrate(settings.sql_url)
    speaker = Speaker()
    ledger = Ledger(settings.sql_url, pool_size=1)
    parts = [replace(part, when_dead=lambda pid: None) for part in build_parts(settings, ledger, speaker, worker=worker)]
    house = House([_redis(settings), *parts], speaker)
    house.listen()
    try:
        house.start()
        house.keep()
    finally:
        house.stop()
        ledger.close()


def _redis(settings: Settings) -> Part:
    socket = Path(settings.redis_url.removeprefix("unix://"))
    return Part("redis", lambda: redis_server.start(settings.home, socket, before_exec=dies_with_parent()), 4, 2.0)


if __name__ == "__main__":
    main()
