from __future__ import annotations

import orjson
from hypothesis import given
from hypothesis import strategies as st

from core.data.row_set import RowSet
from core.data.spec import RowRef

refs = st.lists(st.builds(RowRef, st.integers(0, 3), st.integers(0, 200)))


@given(refs, refs)
def test_a_row_is_in_a_set_once_however_often_it_is_added(first: list[RowRef], then: list[RowRef]) -> None:
    found = RowSet().with_rows(first)
    grown = found.with_rows(then)
    assert (len(found), len(grown)) == (len(set(first)), len({*first, *then}))
    assert set(found.new_among(then)) == set(then) - set(first)
    assert all(ref in grown for ref in [*first, *then])
    assert RowRef(4, 0) not in grown


@given(refs)
def test_a_set_crosses_as_json(given_refs: list[RowRef]) -> None:
    found = RowSet().with_rows(given_refs)
    assert RowSet.from_json(orjson.loads(orjson.dumps(found.to_json()))) == found


def test_a_few_rows_of_a_large_source_are_small() -> None:
    found = RowSet().with_rows([RowRef(0, 7), RowRef(0, 40_000_000)])
    assert len(orjson.dumps(found.to_json())) < 8192
