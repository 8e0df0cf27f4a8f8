"""Make chat rows for the benches: seeded, so that the same size and seed give the same bytes on every machine.

Rows have one to three turns of English-like words, about 1.6 KB and in the median about 350 tokens of a byte-pair tokenizer;
their lengths are spread as in collections of answers (log-normal). Words are drawn from 100,000 forms: a few hundred English
ones most often, the others, made of syllables, the more rarely the later they stand, so that a tokenizer cannot live on its
memory of words. Some rows carry code, digits, other scripts and escapes, so that neither the parser nor a tokenizer meets
one easy case only.

    python bench/generate.py FILE MEGABYTES [--seed N]
"""

from __future__ import annotations

import argparse
import functools
import random
from collections.abc import Iterator
from pathlib import Path

import orjson

MEDIAN_WORDS = 250
SPREAD = 0.55
_WRITE_BYTES = 8 << 20
_WORDS = tuple("""the of and to a in is that it was for on are as with his they be at one have this from or had by hot word but
what some we can out other were all there when up use your how said an each she which do their time if will way about many
then them write would like so these her long make thing see him two has look more day could go come did number sound no
most people my over know water than call first who may down side been now find any new work part take get place made live
where after back little only round man year came show every good me give our under name very through just form sentence
great think say help low line differ turn cause much mean before move right boy old too same tell does set three want air
well also play small end put home read hand port large spell add even land here must big high such follow act why ask men
change went light kind off need house picture try us again animal point mother world near build self earth father head
stand own page should country found answer school grow study still learn plant cover food sun four between state keep eye
never last let thought city tree cross farm hard start might story saw far sea draw left late run while press close night
real life few north temperature gradient estuary millstone reservoir tributary hydraulic turbulence sediment catchment
spillway penstock aqueduct evaporation discharge velocity coefficient parameter measurement uncertainty approximately
nevertheless consequently independent significant observation experiment distribution maintenance infrastructure""".split())  # noqa: SIM905
_SYLLABLES = tuple("""an ar at ba be bo ca ce co da de di do el en er es fa fi fo ga ge go ha he hi ho il in is ja ka ke la le
li lo ma me mi mo na ne ni no ol on or pa pe pi po ra re ri ro sa se si so ta te ti to ul un ur va ve vi vo wa we za al st tr
pl br cl dr gr sh th ch""".split())  # noqa: SIM905
_FORMS = 100_000
_STEEPNESS = 5
"""How much oftener the first forms are drawn than the last: the English ones make nearly nine words of ten."""
_ODD = (
    "```python\ndef flow(head_m, area_m2):\n    return area_m2 * (2 * 9.81 * head_m) ** 0.5\n```",
    "3.14159, 2.71828, 1,024 and 65,536", "Zürich, São Paulo, Kraków", "水は低きに流れる", "\"quoted\" and a \\ backslash\ttab",
    "https://example.org/a?b=c&d=%20", "☔️ → 🌊", "# Title\n\n- first\n- second\n",
)


def iter_rows(seed: int = 0) -> Iterator[dict]:
    """Give chat rows for ever."""
    draw = random.Random(seed)
    while True:
        words = max(12, int(draw.lognormvariate(0, SPREAD) * MEDIAN_WORDS))
        turns = draw.choice((1, 1, 1, 2, 3))
        messages = [{"role": "system", "content": _text(draw, 8)}] if draw.random() < 0.3 else []
        for _ in range(turns):
            messages.append({"role": "user", "content": _text(draw, max(4, words // (5 * turns)))})
            messages.append({"role": "assistant", "content": _text(draw, max(6, words * 4 // (5 * turns)))})
        yield {"messages": messages}


def write_rows(path: Path, *, size_bytes: int, seed: int = 0) -> int:
    """Write rows until the file has the size or just more; give their number. The last row ends with a line feed.

    A large file repeats a stretch of 64 MB whose rows are told apart by a number, since drawing words costs more than
    reading them.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    stretch = _stretch(seed, min(size_bytes, 64 << 20))
    rows = written = 0
    with path.open("wb", buffering=_WRITE_BYTES) as file:
        while written < size_bytes:
            row = stretch[rows % len(stretch)]
            lap = rows // len(stretch)
            line = row if not lap else row.replace(b'"content":"', b'"content":"(%d) ' % lap, 1)
            written += file.write(line)
            rows += 1
    return rows


def _stretch(seed: int, size_bytes: int) -> list[bytes]:
    lines: list[bytes] = []
    total = 0
    for row in iter_rows(seed):
        lines.append(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
        total += len(lines[-1])
        if total >= size_bytes:
            return lines
    return lines


def _text(draw: random.Random, words: int) -> str:
    """Join words into sentences; the frequent ones stand early in the list and are drawn most."""
    forms = _forms()
    parts = [forms[int(_FORMS ** draw.random() ** _STEEPNESS) - 1] for _ in range(words)]
    for i in range(9, words, 14):
        parts[i] += "."
    if draw.random() < 0.15:
        parts.insert(words // 2, draw.choice(_ODD))
    return " ".join(parts).capitalize()


@functools.cache
def _forms() -> tuple[str, ...]:
    """The English words, then made ones of two to five syllables, each once."""
    draw = random.Random(1)
    forms = dict.fromkeys(_WORDS)
    while len(forms) < _FORMS:
        forms["".join(draw.choice(_SYLLABLES) for _ in range(draw.choice((2, 2, 3, 3, 4, 5))))] = None
    return tuple(forms)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write seeded chat rows as JSON Lines.")
    parser.add_argument("path", type=Path)
    parser.add_argument("megabytes", type=float)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    rows = write_rows(asked.path, size_bytes=int(asked.megabytes * 1_000_000), seed=asked.seed)
    print(f"{rows:,} rows, {asked.path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
