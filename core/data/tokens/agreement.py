"""Does the fast tokenizer give the reference's tokens, for this model and these rows? A verdict, and why.

Three looks, each of which may say no:

1. the make of the tokenizer: byte-level BPE that leaves texts as they are, or brings them into NFC;
2. hard strings: white space of every kind, scripts, combining marks, digits, spelled control tokens, single bytes, random
   code points; alone and beside control tokens, cut in two trained differently;
3. rows of the data set itself.

A row that the fast one leaves to the reference is no difference. Cost: about 0.2 s, once for a data set and a model.
"""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from core.data.spec import Example, Piece, RowRef
from core.data.templates import RowRefused
from core.data.tokens.encoder import TextEncoder
from core.data.tokens.fast import FastEncoder
from core.data.tokens.rows import RowEncoder
from core.errors import shown

NormalForm = Literal["NFC"] | None
_RANDOM_STRINGS = 200
_SEED = 20_241_124
_AT_ONCE = 64
_NO_LIMIT = 1 << 30


@dataclass(frozen=True)
class Verdict:
    reason: str | None = None
    """Why the fast tokenizer may not serve; None when it may."""
    normal_form: NormalForm = None

    @property
    def agrees(self) -> bool:
        return self.reason is None

    def to_json(self) -> dict[str, Any]:
        return {"reason": self.reason, "normal_form": self.normal_form}

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Verdict:
        return cls(told["reason"], told["normal_form"])


def read_make(tokenizer_json: bytes) -> Verdict:
    """Judge a tokenizer by what it is made of."""
    try:
        told = orjson.loads(tokenizer_json)
        normalizer = (told.get("normalizer") or {}).get("type")
        is_byte_level = _has_byte_level(told.get("decoder")) and (told.get("model") or {}).get("type", "BPE") == "BPE"
    except (orjson.JSONDecodeError, AttributeError):
        return Verdict("its tokenizer.json cannot be read")
    if not is_byte_level:
        return Verdict("it is no byte-level BPE, whose tokens spell their bytes")
    if normalizer not in (None, "NFC"):
        return Verdict(f"it rewrites texts before it cuts them (normalizer {shown(normalizer)})")
    return Verdict(None, normalizer)


def find_difference(fast: FastEncoder, reference: TextEncoder, examples: Sequence[Example]) -> str | None:
    """Say where the two differ, on hard strings or on these examples; None when they do not."""
    if fast.control_tokens != reference.control_tokens or fast.front != reference.front:
        return "the two know different control tokens"
    encoder = RowEncoder(reference, max_length=_NO_LIMIT, overlong="truncate")
    hard = [*_hard_examples(reference.control_tokens)]
    for start in range(0, len(hard), _AT_ONCE):
        if told := _difference(fast, encoder, hard[start:start + _AT_ONCE]):
            return f"hard strings: {told}"
    for start in range(0, len(examples), _AT_ONCE):
        if told := _difference(fast, encoder, examples[start:start + _AT_ONCE]):
            return f"rows of the data: {told}"
    return None


def _difference(fast: FastEncoder, reference: RowEncoder, examples: Sequence[Example]) -> str | None:
    rows = fast.encode(examples)
    served = [k for k, row in enumerate(rows) if row is not None]
    for k, right in zip(served, reference.encode_whole([examples[k] for k in served]), strict=True):
        row = rows[k]
        assert row is not None
        text = "".join(piece.text for piece in examples[k].pieces)
        if isinstance(right, RowRefused):
            return f"{shown(text)} is refused by the reference and not by the fast tokenizer"
        if row.ids.tolist() != right.ids.tolist():
            return f"other tokens for {shown(text)}"
        if row.mask.tolist() != right.mask.tolist():
            return f"other places of tokens in {shown(text)}"
    return None


def _hard_examples(controls: Sequence[str]) -> Iterator[Example]:
    for k, text in enumerate(_hard_strings(controls)):
        yield Example(RowRef(0, k), (Piece(text, True),))
        half = len(text) // 2
        whole = [Piece(text[:half], False), Piece(text[half:], True)]
        if controls:
            whole = [Piece(controls[k % len(controls)], k % 2 == 0, True), *whole, Piece(controls[-1], True, True)]
        yield Example(RowRef(0, k), tuple(whole))


def _hard_strings(controls: Sequence[str]) -> Iterator[str]:
    yield from _HARD
    yield from (chr(code) for code in range(1, 256))
    yield from (f"a{control}b {control} {control[:-1]} {control[1:]}" for control in controls)
    draw = random.Random(_SEED)
    ranges = [(0x20, 0x7e), (0xa0, 0x24f), (0x300, 0x36f), (0x400, 0x4ff), (0x5d0, 0x6ff), (0x900, 0x97f), (0xe00, 0xe7f),
              (0x2000, 0x206f), (0x3040, 0x30ff), (0x4e00, 0x9fff), (0xac00, 0xd7a3), (0x1f300, 0x1faff), (0x20000, 0x2a6df)]
    for _ in range(_RANDOM_STRINGS):
        low, high = draw.choice(ranges)
        text = "".join(draw.choice((chr(draw.randint(low, high)), chr(draw.randint(0x20, 0x7e)), " ", "\n"))
                       for _ in range(draw.randint(1, 40)))
        yield text
        yield unicodedata.normalize("NFC", text)


_HARD = (
    " ", "  ", "   a", "a   ", "\n", "\n\n\n", " \n \n ", "a\n\nb", "a \n b", "\t\ta", "\r\n", "a\r\n\r\nb", "\u00a0a\u00a0",
    "\u2003a", "\u2028a\u2029b", "\u3000", "\u200b\u200d\ufeff", "\u0000", "a\u0000b", "it's I'll WE'VE don't 's 'S 'tis",
    "1 12 123 1234 12345 3.14159 1,000,000 0x1F 1e-9", "ⅷ ² ½ ٣٤ 一二三", "snake_case camelCase SHOUT kebab-case", "a" * 3000,
    " " * 700, "=" * 500, "ab" * 1500, "\n" * 300, "é e\u0301 Å \u212b", "ﬁ ﷺ ㎏", "ß ſ ı İ",
    "漢字かな交じり文", "한국어 조선말",
    "العربية مع أرقام ١٢٣", "עברית", "हिन्दी में", "ภาษาไทย", "👩‍👩‍👧‍👦 🇩🇪 👍🏽 ☔️", "\U0001f600" * 40, "x\u0336y\u0336",
    "{}[]()<>|/\\\"'`~!@#$%^&*",
    "def f(x):\n    return x  # ok\n\n\nclass A:\n\tpass", "<html>&amp;</html>", "https://a.b/c?d=e&f=%20", "\x7f\x80\x85\xa0",
    "…—–“”‘’",
)


def _has_byte_level(decoder: Any) -> bool:
    if not isinstance(decoder, dict):
        return False
    return decoder.get("type") == "ByteLevel" or any(map(_has_byte_level, decoder.get("decoders") or []))
