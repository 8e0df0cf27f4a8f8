"""A served application for tests: the real one, by uvicorn on a loopback port, on a ledger of the test's own."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from openai import OpenAI

from api.app import create_app
from api.server import Protocol, Server, build_server
from api.stopping import Stop
from core.clock import system_clock
from core.db.session import Ledger
from core.projects.models import Project
from core.projects.repository import get_project
from core.projects.service import create_key
from core.settings import Settings
from core.storage.artifacts import Artifacts
from tests.waiting import PATIENCE_SECONDS, wait_for


@dataclass(frozen=True)
class House:
    """A running server, and what lies behind it."""

    url: str
    app: FastAPI
    ledger: Ledger
    artifacts: Artifacts
    settings: Settings
    project: Project
    key: str
    stranger: Project
    strange_key: str
    rung: list[str]
    """What was rung, in order: queues and jobs."""

    def client(self, key: str | None = "", **headers: str) -> httpx.Client:
        """A plain client; with the project's key unless another or None is given."""
        secret = self.key if key == "" else key
        told = {**headers, **({"authorization": f"Bearer {secret}"} if secret else {})}
        return httpx.Client(base_url=self.url, headers=told, timeout=30)

    def openai(self, **options: Any) -> OpenAI:
        return OpenAI(**{"base_url": f"{self.url}/v1", "api_key": self.key, "max_retries": 0, **options})


@contextlib.contextmanager
def serving(ledger: Ledger, home: Path, *, quiet_seconds: float = 5.0, artifacts: Artifacts | None = None,
            protocol: type[Protocol] = Protocol, **settings: Any) -> Iterator[House]:
    told = Settings(**{"home": home, "min_free_bytes": 0, **settings})
    artifacts = artifacts or Artifacts(told.storage_root)
    rung: list[str] = []
    stop = Stop()
    app = create_app(told, ledger, artifacts, wake_workers=rung.append, wake_listeners=rung.append, stop=stop,
                     quiet_seconds=quiet_seconds)
    project, key = _tenant(ledger, "acme")
    stranger, strange_key = _tenant(ledger, "strangers")
    server = build_server(app, host="127.0.0.1", port=0, stop=stop, protocol=protocol)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield House(_url(server), app, ledger, artifacts, told, project, key, stranger, strange_key, rung)
    finally:
        stop.set()
        server.should_exit = True
        thread.join(PATIENCE_SECONDS)


def _tenant(ledger: Ledger, name: str) -> tuple[Project, str]:
    with ledger.write() as session:
        key, secret = create_key(session, name=f"key of {name}", project=name, is_admin=False, now=system_clock())
        return get_project(session, key.project_id or ""), secret


def _url(server: Server) -> str:
    wait_for(lambda: server.started, "the server did not start")
    return f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"


def error_of(answer: httpx.Response) -> dict[str, Any]:
    """Check that an answer has the error shape, all of it, and give the error."""
    assert answer.headers["content-type"] == "application/json", answer.text
    assert answer.headers["x-request-id"].startswith("req_")
    told = answer.json()
    assert set(told) == {"error"}
    error = told["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert isinstance(error["message"], str)
    assert error["message"]
    assert isinstance(error["code"], str)
    assert error["type"] == ("server_error" if answer.status_code >= 500 else "invalid_request_error")
    return error
