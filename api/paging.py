"""Lists on the wire: OpenAI's page, and the parameters that choose one.

`after` is the id of the last entry seen. A `limit` that is not a whole number of at least 1 is refused; one above a
list's own maximum is cut to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel

from core.db.paging import Page


class Entry(BaseModel):
    """What a list holds: something with an id."""

    id: str


Row = TypeVar("Row")
Item = TypeVar("Item", bound=Entry)

After = Annotated[str | None, Query(max_length=256, description="Id of the last entry seen; the page begins behind it.")]
Limit = Annotated[int, Query(ge=1, description="Entries at most; cut to the list's maximum.")]

MOST = 100
"""Largest page of jobs, events, checkpoints and data sets."""


class ListObject(BaseModel, Generic[Item]):
    object: str = "list"
    data: list[Item]
    has_more: bool
    first_id: str | None
    last_id: str | None


def page_of(page: Page[Row], shape: Callable[[Row], Item]) -> ListObject[Item]:
    return list_of([shape(row) for row in page.items], has_more=page.has_more)


def list_of(items: Sequence[Item], *, has_more: bool = False) -> ListObject[Item]:
    first, last = (items[0].id, items[-1].id) if items else (None, None)
    return ListObject(data=list(items), has_more=has_more, first_id=first, last_id=last)
