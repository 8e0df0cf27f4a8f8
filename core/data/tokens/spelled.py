"""Does a text spell a control token? Asked of every row, so first for one letter that they all begin with."""

from __future__ import annotations

import re
from collections.abc import Sequence


class Spelling:
    def __init__(self, control_tokens: Sequence[str]) -> None:
        self._first_letters = sorted({token[0] for token in control_tokens if token})
        self._controls = re.compile("|".join(map(re.escape, control_tokens)) or "(?!)")

    def is_in(self, text: str) -> bool:
        for letter in self._first_letters:
            if letter in text:
                return self._controls.search(text) is not None
        return False
