"""Pages of a list that is read while it grows.

A page begins behind the last entry that its reader saw: an entry, not an offset, so entries created meanwhile shift nothing.
The order is (created_at, id), which is total even for entries of one microsecond.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import Select, literal, tuple_
from sqlalchemy.orm import Session

T = TypeVar("T")


@dataclass(frozen=True)
class Page(Generic[T]):
    items: list[T]
    has_more: bool


def read_page(session: Session, query: Select[T], *, table: Any, after: Any | None, limit: int,
              is_ascending: bool = False) -> Page[T]:
    """Read up to `limit` rows of `table`, newest first unless `is_ascending`; `after` is the row seen last."""
    key = tuple_(table.created_at, table.id)
    if after is not None:
        seen = tuple_(*_bound(table, after))
        query = query.where(key > seen if is_ascending else key < seen)
    order = (table.created_at, table.id) if is_ascending else (table.created_at.desc(), table.id.desc())
    return cut(session.scalars(query.order_by(*order).limit(limit + 1)).all(), limit)


def cut(rows: Sequence[T], limit: int) -> Page[T]:
    """Make a page of rows that were read with a limit of one more."""
    return Page(list(rows[:limit]), len(rows) > limit)


def _bound(table: Any, row: Any) -> tuple[Any, Any]:
    return literal(row.created_at, table.created_at.type), literal(row.id, table.id.type)
