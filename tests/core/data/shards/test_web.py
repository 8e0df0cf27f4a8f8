"""Files behind a web server that is real, on loopback, and misbehaves as it is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.data.shards import OpenPlaces
from core.data.shards.cache import BLOCK_BYTES
from core.data.shards.patience import Patience
from core.data.spec import Places, ShardSpec
from core.errors import DataError, InvalidValue, RunInterrupted
from tests.remote import TOKEN, WebServer, a_web_server

ROWS = bytes(range(256)) * (BLOCK_BYTES // 256 * 3 + 40)


@pytest.fixture
def web() -> Iterator[WebServer]:
    with a_web_server({"rows.jsonl": ROWS, "ä b#c?.jsonl": b"odd\n", "empty.jsonl": b""}, token=TOKEN) as server:
        yield server


class Waits(list[float]):
    """Notes the waits instead of waiting."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def opened(web: WebServer, *, cache: Path | None = None, waits: Waits | None = None, tries: int = 8) -> OpenPlaces:
    places = Places({"web": web.place()}, str(cache) if cache else None, 1 << 30)
    return OpenPlaces(places, patience=Patience(tries=tries, jitter=lambda: 0.0), sleep=waits if waits is not None else Waits())


def registered(places: OpenPlaces, path: str = "rows.jsonl") -> ShardSpec:
    stat = places.stat("web", path)
    return ShardSpec(path, "", "", place="web", bytes=stat.size, tag=stat.tag)


def test_any_range_is_read_as_it_stands(web: WebServer) -> None:
    with opened(web) as places:
        shard = places.open_shard(registered(places))
        for start, end in [(0, 5), (0, 0), (BLOCK_BYTES - 3, BLOCK_BYTES + 3), (100, 3 * BLOCK_BYTES + 7),
                           (len(ROWS) - 9, len(ROWS))]:
            assert shard.read(start, end) == ROWS[start:end]


def test_a_block_is_fetched_once_by_all_processes_of_a_host(web: WebServer, tmp_path: Path) -> None:
    with opened(web, cache=tmp_path) as places:
        spec = registered(places)
        shard = places.open_shard(spec)
        assert [shard.read(at, at + 9) for at in range(0, 5000, 50)] == [ROWS[at:at + 9] for at in range(0, 5000, 50)]
        assert places.figures.fetched_blocks == 1
    with opened(web, cache=tmp_path) as places:
        assert places.open_shard(spec).read(7, 70) == ROWS[7:70]
        assert (places.figures.fetched_blocks, places.figures.cached_blocks) == (0, 1)


def test_a_file_is_read_from_front_to_back_with_the_next_blocks_on_their_way(web: WebServer) -> None:
    with opened(web) as places, places.open_for_reading("web", "rows.jsonl") as file:
        assert file.read(10) == ROWS[:10]
        assert file.read() == ROWS[10:]
        assert file.read() == b""
        assert places.figures.fetched_blocks == 4


@pytest.mark.parametrize("fault", ["drop", "short", "500", "503", "429", "408", "403", "401"])
def test_a_fault_that_passes_is_read_over_with_growing_waits(web: WebServer, fault: str) -> None:
    waits = Waits()
    with opened(web, waits=waits) as places:
        shard = places.open_shard(registered(places))
        web.fail(fault, fault, fault)
        assert shard.read(0, 100) == ROWS[:100]
    assert waits == [0.5, 1.0, 2.0]


def test_a_file_that_is_read_through_survives_breaks_on_the_way(web: WebServer) -> None:
    with opened(web) as places, places.open_for_reading("web", "rows.jsonl") as file:
        web.fail("drop", "500", "short", "drop")
        assert file.read() == ROWS


@pytest.mark.parametrize(("fault", "words"), [("503", "HTTP 503"), ("403", "HTTP 403.*key or link still holds"),
                                              ("drop", "in 3 tries")])
def test_a_fault_that_stays_interrupts_the_run_and_names_place_path_and_bytes(web: WebServer, fault: str, words: str) -> None:
    with opened(web, tries=3) as places:
        shard = places.open_shard(registered(places))
        web.lasting = fault
        with pytest.raises(RunInterrupted, match=words) as raised:
            shard.read(BLOCK_BYTES, BLOCK_BYTES + 5)
    assert "'rows.jsonl' in place 'web' (bytes 1,048,576 to 2,097,152)" in raised.value.message
    assert raised.value.code == "place_unreachable"
    assert TOKEN not in raised.value.message


def test_a_server_that_is_gone_interrupts_the_run() -> None:
    with a_web_server({"rows.jsonl": ROWS}) as web, opened(web, tries=2) as places:
        shard = places.open_shard(registered(places))
        web.close()
        with pytest.raises(RunInterrupted, match="ConnectError"):
            shard.read(0, 5)


def test_a_slow_server_is_waited_for(web: WebServer) -> None:
    with opened(web) as places:
        shard = places.open_shard(registered(places))
        web.seconds = 0.2
        assert shard.read(0, 5) == ROWS[:5]
        assert places.figures.wait_seconds > 0.15


@pytest.mark.parametrize("content", [ROWS[:-1], ROWS + b"x", b"x" + ROWS[1:], b"", ROWS[:BLOCK_BYTES]])
def test_changed_content_is_noticed_and_told_to_register_again(web: WebServer, content: bytes) -> None:
    with opened(web) as places:
        shard = places.open_shard(registered(places))
        web.files["rows.jsonl"] = content
        with pytest.raises(DataError, match=r"'rows\.jsonl' in place 'web' .* changed .*; register it again"):
            shard.read(2 * BLOCK_BYTES, 2 * BLOCK_BYTES + 5)


def test_content_that_changes_on_the_way_is_noticed(web: WebServer) -> None:
    waits = Waits()
    with opened(web, waits=waits) as places, places.open_for_reading("web", "rows.jsonl") as file:
        web.lasting = "other tag"
        with pytest.raises(DataError, match=r"tag '\"other\"', and .* was registered"):
            file.read()
    assert waits == []


def test_a_file_that_is_gone_is_the_users_to_put_back(web: WebServer) -> None:
    with opened(web) as places:
        shard = places.open_shard(registered(places))
        del web.files["rows.jsonl"]
        with pytest.raises(DataError, match=r"is not there \(HTTP 404\); put it back"):
            shard.read(0, 5)


def test_a_server_without_ranges_is_refused(web: WebServer) -> None:
    web.lasting = "no ranges"
    with opened(web) as places, pytest.raises(DataError, match="answers a ranged read with the whole file"):
        places.stat("web", "rows.jsonl")


def test_more_bytes_than_asked_for_are_not_taken(web: WebServer) -> None:
    with opened(web) as places:
        shard = places.open_shard(registered(places))
        web.lasting = "long"
        with pytest.raises(DataError, match="more bytes were sent"):
            shard.read(0, 5)


def test_a_refusal_at_the_first_look_is_told_at_once() -> None:
    waits = Waits()
    with a_web_server({"rows.jsonl": ROWS}, token=TOKEN) as web:
        web.token, place = "another", web.place()
        with OpenPlaces(Places({"web": place}), sleep=waits) as places:
            web.token = "changed"
            with pytest.raises(DataError, match=r"leave it out, or ask the operator to see that place 'web' opens it"):
                places.stat("web", "rows.jsonl")
    assert waits == []


def test_a_redirect_is_followed_within_the_host_and_nowhere_else(web: WebServer) -> None:
    with a_web_server({"rows.jsonl": b"of another host"}) as other, opened(web) as places:
        web.fail("redirect /data/rows.jsonl")
        assert places.stat("web", "ä b#c?.jsonl").size == len(ROWS)
        for target in (f"{other.url}/data/rows.jsonl", f"//127.0.0.1:{other.url.rpartition(':')[2]}/data/rows.jsonl",
                       "http://169.254.169.254/latest/meta-data", "file:///etc/passwd"):
            web.fail(f"redirect {target}")
            with pytest.raises(DataError, match="redirects to another host"):
                places.stat("web", "rows.jsonl")
        assert other.requests == []
        web.lasting = "redirect /data/rows.jsonl"
        with pytest.raises(DataError, match="redirected more than 3 times"):
            places.stat("web", "rows.jsonl")


def test_a_name_with_odd_characters_is_the_name_of_a_file(web: WebServer) -> None:
    with opened(web) as places, places.open_for_reading("web", "ä b#c?.jsonl") as file:
        assert file.read() == b"odd\n"


def test_an_empty_file_has_no_bytes(web: WebServer) -> None:
    with opened(web) as places, places.open_for_reading("web", "empty.jsonl") as file:
        assert file.read() == b""


def test_a_web_server_is_not_listed(web: WebServer) -> None:
    with opened(web) as places:
        assert places.list_paths("web", "rows.jsonl") == ["rows.jsonl"]
        with pytest.raises(DataError, match=r"pattern '.*' in place '.*' cannot be read: .* cannot be listed; name each file"):
            places.list_paths("web", "*.jsonl")


def test_a_path_out_of_the_place_asks_nobody(web: WebServer) -> None:
    with opened(web) as places:
        for path in ("../secret", "/etc/passwd", "http://elsewhere/x", "%2e%2e/x"):
            with pytest.raises(InvalidValue):
                places.stat("web", path)
    assert web.requests == []


def test_a_place_that_is_not_told_is_missed() -> None:
    with OpenPlaces(Places()) as places, pytest.raises(DataError, match="place 'sea' is not one that the operator names now"):
        places.stat("sea", "a")


def test_closing_ends_tries_that_wait(web: WebServer) -> None:
    places = OpenPlaces(Places({"web": web.place()}))
    shard = places.open_shard(registered(places))
    web.lasting = "503"
    shard.expect([(0, 5)])
    places.close()
    with pytest.raises(RuntimeError):
        shard.read(0, 5)
