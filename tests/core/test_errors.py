from __future__ import annotations

import pytest

from core.errors import number_of


@pytest.mark.parametrize(("many", "said"), [(0, "0 faulty rows"), (1, "1 faulty row"), (1200, "1,200 faulty rows")])
def test_one_of_a_thing_is_told_without_a_plural(many: int, said: str) -> None:
    assert number_of(many, "faulty row") == said


def test_a_plural_that_no_s_makes_is_given() -> None:
    assert [number_of(many, "entry", "entries") for many in (1, 2)] == ["1 entry", "2 entries"]
