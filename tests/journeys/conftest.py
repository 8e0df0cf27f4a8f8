"""One server for the journeys that leave it whole; those that stop it have their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers import Server, a_server


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with a_server(tmp_path_factory.mktemp("journeys"), HEADRACE_PRIVATE_WEBHOOKS="true") as server:
        yield server
