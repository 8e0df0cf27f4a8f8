"""Data sets of several files over HTTP: what is taken, what is shown, what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.clock import system_clock
from core.datasets.models import DatasetVersion
from core.db.session import Ledger
from tests.api.serving import House, error_of, serving
from tests.core.data.files_on_disk import KINDS
from tests.indexing import index_uploads


@pytest.fixture
def house(sqlite_ledger: Ledger, tmp_path: Path) -> Iterator[House]:
    (tmp_path / "lake").mkdir()
    (tmp_path / "places.toml").write_text(f'[places.lake]\nurl = "file://{tmp_path}/lake"\n')
    with serving(sqlite_ledger, tmp_path) as opened:
        yield opened


def pairs(first: int, count: int) -> list[dict[str, str]]:
    return [{"prompt": f"question {n}", "completion": f"answer {n}"} for n in range(first, first + count)]


def uploaded(house: House, kind: str, rows: list[dict[str, str]]) -> str:
    return house.openai().files.create(file=(f"rows.{kind}", KINDS[kind](rows)), purpose="fine-tune").id


def post(house: House, url: str, /, **told: Any) -> dict[str, Any]:
    with house.client() as client:
        answer = client.post(url, json=told)
    assert answer.status_code == 200, answer.text
    return answer.json()


def get(house: House, path: str) -> dict[str, Any]:
    with house.client() as client:
        answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


def indexed(house: House, version: dict[str, Any]) -> None:
    with house.ledger.write() as session:
        index_uploads(session, session.get_one(DatasetVersion, version["id"]), house.artifacts, now=system_clock())


def test_a_version_shows_its_files_and_their_rows_are_one_sequence(house: House):
    ids = [uploaded(house, "json", pairs(0, 3)), uploaded(house, "parquet", pairs(3, 2)), uploaded(house, "csv", pairs(5, 1))]
    dataset = post(house, "/v1/datasets", name="mixed", file_ids=ids)
    assert [shard["status"] for shard in dataset["version"]["shards"]] == ["waiting"] * 3
    indexed(house, dataset["version"])
    version = get(house, f"/v1/datasets/{dataset['id']}")["version"]
    assert (version["rows"], version["shard_count"], version["file_id"], version["format"]) == (6, 3, None, "prompt_completion")
    told = [(shard["file"], shard["kind"], shard["stored_as"], shard["rows"]) for shard in version["shards"]]
    assert told == [
        ("rows.csv", "csv", "csv", 1), ("rows.json", "json", "frames", 3), ("rows.parquet", "parquet", "parquet", 2)]
    assert version["converted_bytes"] == version["shards"][1]["converted_bytes"] > 0
    assert "buckets" not in version["lengths"]
    page = get(house, f"/v1/datasets/{dataset['id']}/rows?after=0&limit=4")
    assert [row["file"] for row in page["data"]] == ["rows.json"] * 3 + ["rows.parquet"]
    assert [row["content"] for row in page["data"]] == pairs(0, 4)
    assert (page["has_more"], page["last_id"]) == (True, 4)


def test_files_of_a_version_come_in_pages(house: House):
    ids = [uploaded(house, "jsonl", pairs(n, 1)) for n in range(5)]
    dataset = post(house, "/v1/datasets", name="many", file_ids=ids)
    first = get(house, f"/v1/datasets/{dataset['id']}/shards?limit=3")
    rest = get(house, f"/v1/datasets/{dataset['id']}/shards?limit=3&after={first['last_id']}")
    assert ([shard["number"] for shard in first["data"]], first["has_more"]) == ([0, 1, 2], True)
    assert ([shard["number"] for shard in rest["data"]], rest["has_more"]) == ([3, 4], False)


def test_appending_makes_the_next_version(house: House):
    dataset = post(house, "/v1/datasets", name="grows", file_id=uploaded(house, "jsonl", pairs(0, 2)))
    indexed(house, dataset["version"])
    by_name = post(house, "/v1/datasets", name="grows", file_id=uploaded(house, "tsv", pairs(2, 2)), append=True)
    indexed(house, by_name["version"])
    by_id = post(house, f"/v1/datasets/{dataset['id']}/versions", file_id=uploaded(house, "json.gz", pairs(4, 2)))
    assert [shard["status"] for shard in by_id["shards"]] == ["ready", "ready", "waiting"]
    indexed(house, by_id)
    versions = get(house, f"/v1/datasets/{dataset['id']}/versions")["data"]
    assert [(version["number"], version["rows"]) for version in versions] == [(3, 6), (2, 4), (1, 2)]
    rows = get(house, f"/v1/datasets/{dataset['id']}/rows?version=3")["data"]
    assert [row["content"] for row in rows] == pairs(0, 6)


def test_the_same_content_again_is_told(house: House):
    for number in (1, 2):
        told = post(house, "/v1/datasets", name="twice", file_id=uploaded(house, "jsonl", pairs(0, 2)))["version"]
        indexed(house, told)
        version = get(house, f"/v1/datasets/{told['dataset']}")["version"]
        assert (version["number"], version["same_as"]) == (number, None if number == 1 else 1)


def test_a_place_is_named_with_a_path(house: House):
    version = post(house, "/v1/datasets", name="there", place="lake", path="2026/*.jsonl")["version"]
    assert (version["place"], version["path"]) == ("lake", "2026/*.jsonl")
    assert (version["shard_count"], version["status"]) == (0, "indexing")


@pytest.mark.parametrize(("told", "param", "words"), [
    ({}, "file_id", "neither is given"),
    ({"file_id": "FILE", "file_ids": ["FILE"]}, "file_ids", "file_id and file_ids are both given"),
    ({"file_ids": ["FILE", "FILE"]}, "file_ids", "twice"),
    ({"file_id": "FILE", "place": "lake", "path": "a"}, "place", "both given"),
    ({"place": "lake"}, "path", "belong together"),
    ({"file_id": "FILE", "path": "/etc"}, "place", "belong together"),
    ({"place": "lake", "path": "/etc/passwd"}, "path", "relative"),
    ({"place": "lake", "path": "../secret"}, "path", "write it relative to the place"),
    ({"place": "elsewhere", "path": "a"}, "place", "is not one that the operator"),
    ({"file_id": "FILE", "append": True}, "append", "no data set 'x' to append to"),
    ({"file_ids": []}, "file_ids", ""),
])
def test_what_does_not_say_where_rows_are_is_refused(house: House, told: dict[str, Any], param: str, words: str):
    file_id = uploaded(house, "jsonl", pairs(0, 1))
    told = {name: [file_id] * len(value) if isinstance(value, list) else file_id if value == "FILE" else value
            for name, value in told.items()}
    with house.client() as client:
        answer = client.post("/v1/datasets", json={"name": "x", **told})
    assert answer.status_code in (400, 422)
    assert error_of(answer)["param"] == param
    assert words in error_of(answer)["message"]
