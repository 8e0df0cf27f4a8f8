
import pytest

from core.data.shards.paths import check_path, folder_of, has_wildcards, matcher
from core.errors import InvalidValue


@pytest.mark.parametrize("path", [
    "", "/etc/passwd", "../a", "a/../b", "a/..", "./a", "a//b", "~root/a", "https://elsewhere/a", "s3://other/a", "a\\..\\b",
    "%2e%2e/a", "a/%2E%2E/b", "a%2fb", "a\x00b", "a\nb", "x" * 1025,
])
def test_a_path_that_may_leave_its_place_is_refused(path: str):
    with pytest.raises(InvalidValue, match="relative to the place"):
        check_path(path)


@pytest.mark.parametrize("path", ["a.jsonl", "a/b/c.parquet", "a/*.jsonl", "logs/", "100% sure.txt", "ü/日本.jsonl", "...a"])
def test_a_plain_path_is_taken(path: str):
    assert check_path(path) == path


@pytest.mark.parametrize(("pattern", "path", "is_meant"), [
    ("a.jsonl", "a.jsonl", True), ("a.jsonl", "aXjsonl", False),
    ("a/*.jsonl", "a/x.jsonl", True), ("a/*.jsonl", "a/b/x.jsonl", False), ("a/*.jsonl", "a/.x.jsonl", False),
    ("a/.*", "a/.x", True), ("*", "a", True), ("*", "a/b", False),
    ("**/*.jsonl", "x.jsonl", True), ("**/*.jsonl", "a/b/x.jsonl", True), ("**/*.jsonl", "a/.b/x.jsonl", False),
    ("a/**/b/*.txt", "a/b/x.txt", True), ("a/**/b/*.txt", "a/c/d/b/x.txt", True), ("a/**/b/*.txt", "a/c/x.txt", False),
    ("a/", "a/x", True), ("a/", "a/b/c/x", True), ("a/", "ab/x", False), ("a/", "a/.b/x", False),
    ("p-?.x", "p-1.x", True), ("p-?.x", "p-12.x", False),
    ("p-[0-4].x", "p-3.x", True), ("p-[0-4].x", "p-5.x", False), ("p-[!0-4].x", "p-5.x", True), ("[ab]", "b", True),
])
def test_a_pattern_means_these_paths(pattern: str, path: str, is_meant: bool):
    assert matcher(pattern)(path) is is_meant


def test_no_pattern_is_slow():
    """A matcher that tries every way would not end."""
    assert not matcher("*a" * 200 + "b")("a" * 1000)
    assert not matcher("**/" * 100 + "b")("a/" * 500 + "c")


def test_only_patterns_have_wildcards_and_the_folder_before_them_is_listed():
    assert [has_wildcards(path) for path in ("a/b", "a/*", "a/?", "a/[1]", "a/")] == [False, True, True, True, True]
    assert [folder_of(path) for path in ("a/b/*.x", "a/b-*/c", "*.x", "a/", "a/b/")] == ["a/b", "a", "", "a", "a/b"]
