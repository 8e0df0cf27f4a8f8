from __future__ import annotations

import socket
from pathlib import Path

import pytest
import typer

from cli.doctor import clock_finding, doctor, examine
from core.db.migrate import migrate
from core.db.session import Ledger
from core.settings import Settings
from core.workers import service as workers


def found(settings: Settings) -> dict[str, tuple[str, str]]:
    return {finding.about: (finding.verdict, finding.says) for finding in examine(settings)}


@pytest.mark.parametrize(("apart", "verdict", "words"), [
    (0.2, "ok", "0.2 s apart"), (-4.9, "ok", "4.9 s apart"), (90.0, "fault", "is 90 s behind the database's"),
    (-30.0, "fault", "is 30 s before the database's; let both follow a time server")])
def test_clocks_that_are_apart_are_told_with_what_to_do(apart: float, verdict: str, words: str) -> None:
    finding = clock_finding(apart)
    assert finding.verdict == verdict
    assert words in finding.says


def test_the_database_server_is_asked_for_its_clock(postgres_url: str, tmp_path: Path) -> None:
    assert found(Settings(home=tmp_path, database_url=postgres_url))["clock"][0] == "ok"


def test_workers_that_are_alive_are_counted_and_missing_ones_told(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    migrate(settings.sql_url)
    assert found(settings)["workers"] == ("note", "no train and no upkeep worker was seen in the last 90 s; `headrace serve` "
                                                  "starts them, `headrace worker` one alone")
    ledger = Ledger(settings.sql_url, pool_size=1)
    with ledger.write() as session:
        for queue in ("train", "train", "upkeep"):
            workers.announce(session, worker_id=f"wrk_{queue}_{len(workers.alive(session))}", host="h", pid=1, queue=queue,
                             version="1")
    ledger.close()
    assert found(settings)["workers"] == ("ok", "2 train, 1 upkeep seen in the last 90 s")


def test_a_database_that_is_not_there_is_a_fault_that_says_so(tmp_path: Path) -> None:
    told = found(Settings(home=tmp_path, database_url="postgresql+psycopg://nobody@127.0.0.1:1/none"))
    assert told["database"][0] == told["clock"][0] == told["workers"][0] == "fault"
    assert "refused" in told["database"][1]
    assert told["database"][1].endswith("start the database, or correct the URL")


def test_a_database_that_takes_the_call_and_says_nothing_is_a_fault(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql+psycopg://nobody@127.0.0.1:{silent.getsockname()[1]}/none?connect_timeout=1"
        told = found(Settings(home=tmp_path, database_url=url))["database"]

    assert told[0] == "fault"
    assert "does not answer" in told[1]


def test_findings_are_printed_as_they_are_also_where_they_hold_brackets(tmp_path: Path,
                                                                        capsys: pytest.CaptureFixture[str]) -> None:
    home = tmp_path / "home[train]"
    home.mkdir()
    with pytest.raises(typer.Exit):
        doctor(home)
    assert str(home) in capsys.readouterr().out.replace("\n", "")
