"""A data set meets a model: may the fast tokenizer serve this stream? Asked once for the two, and remembered.

The answer lies beside the index of the source's first shard, in a small file named by what it holds for: the tokenizer's
file, the content of the source, the builds of both tokenizers. Where it cannot be written it is found anew each time.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import fastokens._native as fastokens
import numpy as np
import orjson
import tokenizers.tokenizers as tokenizers
import xxhash

from core.data.rows import RowReader
from core.data.spec import Example, Row, RowRef, SourceSpec, StreamSpec
from core.data.templates import RowRefused
from core.data.tokens import FastEncoder, Reference, TextEncoder, Verdict, find_difference, open_fast_encoder, read_make
from core.errors import DataError

SAMPLE_ROWS = 64
SAMPLE_CHARACTERS = 1 << 18
"""Of one source, so that a data set of immense rows does not keep a start waiting."""

MakeExamples = Callable[[SourceSpec, TextEncoder, Sequence[Row]], list[Example]]


@dataclass(frozen=True)
class Tokenizing:
    """How a stream's texts become tokens."""

    reference: Reference
    fast: FastEncoder | None
    warnings: tuple[str, ...] = ()

    @property
    def control_tokens(self) -> tuple[str, ...]:
        return (self.fast or self.reference.encoder).control_tokens

    @property
    def front(self) -> tuple[str, ...]:
        return (self.fast or self.reference.encoder).front


def meet(spec: StreamSpec, reader: RowReader, make_examples: MakeExamples) -> Tokenizing:
    """Find out how to tokenise a stream; raises DataError when its model has no tokenizer that can be read."""
    path = Path(spec.tokenizer_path) / "tokenizer.json"
    reference = Reference(spec.tokenizer_path)
    try:
        content = path.read_bytes()
    except OSError:
        reference.encoder  # noqa: B018 - says what is missing
        raise
    asked = _Question(path, content, reference, reader, make_examples)
    verdicts = [asked.verdict(number, source) for number, source in enumerate(spec.sources)]
    warnings = tuple(_warning(source, verdict) for source, verdict in zip(spec.sources, verdicts, strict=True)
                     if not verdict.agrees)
    return Tokenizing(reference, None if warnings else asked.fast(verdicts[0]), warnings)


class _Question:
    def __init__(self, path: Path, content: bytes, reference: Reference, reader: RowReader, make: MakeExamples) -> None:
        self._path, self._content = path, content
        self._reference, self._reader, self._make_examples = reference, reader, make
        self._mark = xxhash.xxh3_128_hexdigest(content) + _build(fastokens) + _build(tokenizers)
        self._fast: FastEncoder | None = None

    def fast(self, verdict: Verdict) -> FastEncoder:
        self._fast = self._fast or open_fast_encoder(self._path, normal_form=verdict.normal_form)
        return self._fast

    def verdict(self, number: int, source: SourceSpec) -> Verdict:
        kept = Path(source.shards[0].index_path) / f"agreement-{xxhash.xxh3_64_hexdigest(self._mark + source.digest)}.json"
        with suppress(OSError, orjson.JSONDecodeError, KeyError, TypeError):
            return Verdict.from_json(orjson.loads(kept.read_bytes()))
        verdict = self._found(number, source)
        _keep(kept, verdict)
        return verdict

    def _found(self, number: int, source: SourceSpec) -> Verdict:
        make = read_make(self._content)
        if not make.agrees:
            return make
        try:
            fast = self.fast(make)
        except DataError as error:
            return Verdict(error.message)
        examples = self._make_examples(source, self._reference.encoder, self._sample(number))
        return Verdict(find_difference(fast, self._reference.encoder, examples), make.normal_form)

    def _sample(self, number: int) -> list[Row]:
        """Good rows from all over the source."""
        rows = self._reader.indexes[number].rows
        numbers = np.unique(np.linspace(0, rows - 1, min(SAMPLE_ROWS, rows), dtype=np.int64)).tolist()
        return [row for row in self._reader.read_many([RowRef(number, each) for each in numbers]) if isinstance(row, Row)]


def some_examples(rows: Sequence[Row], make: Callable[[Row], Example]) -> list[Example]:
    """The examples of rows, those left out that are refused, until they are long enough together."""
    examples: list[Example] = []
    characters = 0
    for row in rows:
        with suppress(RowRefused):
            example = make(row)
            characters += sum(len(piece.text) for piece in example.pieces)
            if characters > SAMPLE_CHARACTERS:
                return examples
            examples.append(example)
    return examples


def _keep(path: Path, verdict: Verdict) -> None:
    aside = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    with suppress(OSError):
        aside.write_bytes(orjson.dumps(verdict.to_json()))
        os.replace(aside, path)


def _build(module: ModuleType) -> str:
    """What tells one build of a library from another, without a look into its package's metadata."""
    found = os.stat(module.__file__ or "")
    return f"-{found.st_size}-{found.st_mtime_ns}"


def _warning(source: SourceSpec, verdict: Verdict) -> str:
    return (f"the rows of source '{source.name}' are tokenised by the reference tokenizer, about twenty times slower than by "
            f"the fast one, which does not give this model's tokens for certain: {verdict.reason}")
