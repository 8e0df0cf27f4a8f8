"""A run whose rows lie in a place: it is told what opens it on standard input, and nothing else holds that."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from core.data.shards import OpenPlaces
from core.data.spec import Place, Places, SourceSpec, layout_for
from core.errors import Unavailable
from core.settings import Settings
from core.specs.run import RunSpec
from tests.remote import TOKEN, WebServer, a_web_server
from tests.worker.runs import Supervised, adapter, losses, registered, run_spec
from worker.reports import Failed, Finished, Given, Saved, StepDone, read_command
from worker.run_spec import places_for


@pytest.fixture
def web() -> Iterator[WebServer]:
    with a_web_server({}, token=TOKEN) as server:
        yield server


def on_places(folder: Path, web: WebServer, **changes: object) -> RunSpec:
    """The usual run, its rows and its held-out rows behind the web server."""
    source = moved(registered(folder / "data"), web)
    return run_spec(folder, stream={"sources": (source,)}, **changes)


def moved(source: SourceSpec, web: WebServer) -> SourceSpec:
    (shard,) = source.shards
    web.files["rows.jsonl"] = Path(shard.path).read_bytes()
    with OpenPlaces(Places({"web": web.place()})) as places:
        stat = places.stat("web", "rows.jsonl")
    there = replace(shard, place="web", path="rows.jsonl", bytes=stat.size, tag=stat.tag)
    return replace(source, shards=(there,), layout=layout_for([there]), block_rows=2)


def given(folder: Path, *places: Place) -> Given:
    return Given(**Places({place.name: place for place in places}, str(folder / "cache"), 1 << 24).to_json())


def test_it_trains_and_validates_on_remote_rows_and_a_kill_changes_nothing(tmp_path: Path, web: WebServer) -> None:
    spec = on_places(tmp_path, web)
    with Supervised(tmp_path, spec) as child:
        child.say(given(tmp_path, web.place()))
        child.until(lambda line: isinstance(line, StepDone) and line.step == 5)
        child.process.kill()
        child.until()
        heard = child.heard
    newest = next(line.folder for line in reversed(heard) if isinstance(line, Saved))
    web.fail("drop", "503", "drop")
    with Supervised(tmp_path, spec.model_copy(update={"resume_from": newest})) as child:
        child.say(given(tmp_path, web.place()))
        assert isinstance(child.until(lambda line: isinstance(line, (Finished, Failed))), Finished)
        heard += child.heard
    (tmp_path / "twin").mkdir()
    with Supervised(tmp_path / "twin", on_places(tmp_path / "twin", web)) as twin:
        twin.say(given(tmp_path / "twin", web.place()))
        twin.until()
    assert adapter(heard) == adapter(twin.heard)
    assert losses(heard) == losses(twin.heard)
    assert any(line.valid_loss for line in heard if isinstance(line, StepDone))


def test_no_file_environment_or_argument_holds_what_opens_the_place(tmp_path: Path, web: WebServer) -> None:
    with Supervised(tmp_path, on_places(tmp_path, web, recovery_every_seconds=1e9)) as child:
        child.say(given(tmp_path, web.place()))
        child.until(lambda line: isinstance(line, StepDone))
        family = [psutil.Process(child.process.pid), *psutil.Process(child.process.pid).children(recursive=True)]
        shown = b"".join(Path(f"/proc/{each.pid}/{name}").read_bytes() for each in family for name in ("environ", "cmdline"))
        web.lasting = "404"
        child.until()
        child.end()
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert len(family) >= 2
    assert TOKEN.encode() not in shown + written + child.errors.encode()


def test_a_place_that_opens_no_more_interrupts_and_rows_that_changed_are_the_users(tmp_path: Path, web: WebServer) -> None:
    spec = on_places(tmp_path, web)
    web.files["rows.jsonl"] += b"\n"
    with Supervised(tmp_path, spec) as child:
        child.say(given(tmp_path, web.place()))
        failed = child.until(lambda line: isinstance(line, Failed))
    assert isinstance(failed, Failed)
    assert (failed.failure, failed.code) == ("user", "shard_changed")
    assert "'rows.jsonl' in place 'web'" in failed.message


def test_by_hand_the_places_come_as_one_line(tmp_path: Path, web: WebServer) -> None:
    spec = on_places(tmp_path, web, validation_fraction=0.0)
    (tmp_path / "spec.json").write_text(spec.model_dump_json())
    command = [sys.executable, "-m", "worker.run", str(tmp_path / "spec.json")]
    told = subprocess.run(command, input=given(tmp_path, web.place()).to_line(), capture_output=True, timeout=120)
    assert told.returncode == 0, told.stderr.decode()
    untold = subprocess.run(command, input=b"", capture_output=True, timeout=120)
    assert untold.returncode == 1
    assert b"was not told what opens them" in untold.stdout


def test_the_places_of_a_run_are_read_from_the_operators_file_as_it_is_now(tmp_path: Path, web: WebServer) -> None:
    settings = Settings(home=tmp_path)
    streams = on_places(tmp_path, web).streams
    (tmp_path / "places.toml").write_text(f'[places.web]\nurl = "{web.url}/data"\ntoken = "{TOKEN}"\n'
                                          '[places.other]\nurl = "file:///srv"')
    found = places_for(streams, settings, project="acme")
    assert found is not None
    assert list(found.places) == ["web"]
    (tmp_path / "places.toml").write_text(f'[places.web]\nurl = "{web.url}/data"\nprojects = ["lab"]')
    withheld = places_for(streams, settings, project="acme")
    assert withheld is not None
    assert withheld.places == {}
    assert read_command(found.to_line()) == found
    assert TOKEN not in repr(found)
    assert places_for([], settings, project="acme") is None
    (tmp_path / "places.toml").write_text("[places.web]")
    with pytest.raises(Unavailable, match=r"places\.web\.url is missing"):
        places_for(streams, settings, project="acme")
