import os
import subprocess
import sys
import threading
from pathlib import Path

from core.data.shards.cache import BlockCache, key_of
from tests.waiting import PATIENCE_SECONDS

KEY = key_of("somewhere", "a.jsonl", 10, "tag")


def blocks_in(folder: Path) -> list[Path]:
    return [path for path in folder.glob("??/*") if not path.name.startswith(".")]


def a_cache(folder: Path, budget: int = 1 << 20) -> BlockCache:
    return BlockCache(folder, budget, min_free_bytes=0)


def test_a_block_is_read_as_it_was_put_by_another_process_too(tmp_path: Path):
    put = a_cache(tmp_path).put(KEY, 3, b"hello world")
    assert put is not None
    assert put.read(0, 5) == b"hello"
    found = a_cache(tmp_path).get(KEY, 3)
    assert found is not None
    assert found.read(6, 11) == b"world"
    assert a_cache(tmp_path).get(KEY, 4) is None
    assert a_cache(tmp_path).get(key_of("somewhere", "a.jsonl", 10, "other"), 3) is None


def test_a_torn_block_is_fetched_anew(tmp_path: Path):
    cache = a_cache(tmp_path)
    cache.put(KEY, 0, b"x" * 1000)
    (path,) = blocks_in(tmp_path)
    path.write_bytes(path.read_bytes()[:500])
    assert cache.get(KEY, 0) is None
    assert not path.exists()


def test_the_budget_holds_and_the_longest_unused_go_first(tmp_path: Path):
    cache = a_cache(tmp_path, 10_000)
    for number in range(8):
        cache.put(KEY, number, b"x" * 992)
        os.utime(cache._path(KEY, number), (number, number))
    assert cache.get(KEY, 0) is not None
    cache.put(KEY, 99, b"x" * 992)
    left = {int(path.name.partition("-")[2]) for path in blocks_in(tmp_path)}
    assert {0, 99} <= left
    assert 1 not in left
    assert sum(path.stat().st_size for path in blocks_in(tmp_path)) <= 10_000


def test_whoever_reads_a_block_keeps_it_when_it_is_removed(tmp_path: Path):
    cache = a_cache(tmp_path)
    held = cache.put(KEY, 0, b"abc")
    for path in blocks_in(tmp_path):
        path.unlink()
    assert held is not None
    assert held.read(0, 3) == b"abc"


def test_a_block_beyond_the_budget_and_one_on_a_full_disk_are_not_kept(tmp_path: Path):
    assert a_cache(tmp_path, 100).put(KEY, 0, b"x" * 1000) is None
    assert BlockCache(tmp_path, 1 << 20, min_free_bytes=1 << 60).put(KEY, 0, b"x") is None
    assert blocks_in(tmp_path) == []


def test_a_disk_that_refuses_costs_no_more_than_the_block(tmp_path: Path):
    (tmp_path / "file").write_text("")
    assert a_cache(tmp_path / "file" / "below").put(KEY, 0, b"x") is None
    assert a_cache(tmp_path / "file" / "below").get(KEY, 0) is None


def test_what_a_killed_writer_left_goes_away(tmp_path: Path):
    cache = a_cache(tmp_path)
    left = tmp_path / KEY[:2] / ".half"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"x" * 100)
    os.utime(left, (1, 1))
    cache.put(KEY, 0, b"abc")
    assert not left.exists()


def test_many_threads_and_processes_share_one_folder(tmp_path: Path):
    program = ("import sys; from pathlib import Path; from core.data.shards.cache import BlockCache, key_of\n"
               "cache = BlockCache(Path(sys.argv[1]), 400_000, min_free_bytes=0)\n"
               "for n in range(300):\n"
               "    key, data = key_of('k', n % 50), bytes([n % 50]) * 5000\n"
               "    block = cache.get(key, 0) or cache.put(key, 0, data)\n"
               "    assert block is None or block.read(0, 5000) == data\n")
    others = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path)]) for _ in range(2)]
    threads = [threading.Thread(target=_put_and_get, args=(tmp_path,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [process.wait(PATIENCE_SECONDS) for process in others] == [0, 0]
    assert sum(path.stat().st_size for path in blocks_in(tmp_path)) <= 400_000


def _put_and_get(folder: Path) -> None:
    cache = BlockCache(folder, 400_000, min_free_bytes=0)
    for number in range(200):
        block = cache.put(key_of("t", number), 0, b"y" * 4000)
        assert block is None or block.read(0, 4000) == b"y" * 4000
