"""Lines of an event stream in, messages out: `id:` and `data:`, comments passed over, a blank line ends a message."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Message:
    id: str | None
    data: str


def read_messages(lines: Iterable[str]) -> Iterator[Message]:
    """Read messages as they come; one that the connection's end cut off is dropped, as its id was not seen either."""
    last_id: str | None = None
    data: list[str] = []
    for line in lines:
        if line == "":
            if data:
                yield Message(last_id, "\n".join(data))
            data = []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "id":
            last_id = value
        elif name == "data":
            data.append(value)
