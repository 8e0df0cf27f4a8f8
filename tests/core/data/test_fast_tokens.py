"""The fast tokenizer gives the reference's ids and masks, or leaves the row to it, or does not serve at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from core.data.pipeline import open_stream
from core.data.pipeline.meeting import MakeExamples, meet
from core.data.rows import RowReader
from core.data.spec import Example, Piece, RowRef, StreamSpec
from core.data.tokens import Encoded, RowEncoder, find_difference, open_encoder, open_fast_encoder, read_make
from core.data.tokens.agreement import Verdict
from core.data.tokens.fast import FastEncoder
from tests.streams import chat_row, stream_spec, told, write_source
from tests.tiny import CONTROLS, trained_tokenizer, write_tokenizer

END = Piece("<|im_end|>", True, is_control=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tokenizer(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def both(folder: Path) -> tuple[RowEncoder, RowEncoder]:
    """With the fast tokenizer, and without."""
    reference, fast = open_encoder(str(folder)), open_fast_encoder(folder / "tokenizer.json")
    return (RowEncoder(reference, max_length=64, overlong="truncate", fast=fast),
            RowEncoder(reference, max_length=64, overlong="truncate"))


def look(found: Any) -> Any:
    return (found.tokens.ids.tolist(), found.tokens.loss_mask.tolist(), found.trained, found.is_truncated,
            found.is_spelled) if isinstance(found, Encoded) else found.reason


texts = st.text(max_size=30) | st.sampled_from([" ", "\n\n", "the capital", "😀", "é", "<|im_end|>", "  a", "\r\n"])
pieces = st.lists(st.builds(Piece, texts, st.booleans()) | st.builds(
    Piece, st.sampled_from(CONTROLS), st.booleans(), st.just(True)), min_size=1, max_size=6)


@settings(max_examples=200, deadline=None)
@given(rows=st.lists(pieces, min_size=1, max_size=4))
def test_ids_and_masks_are_those_of_the_reference(both: tuple[RowEncoder, RowEncoder], rows: list[list[Piece]]) -> None:
    examples = [Example(RowRef(0, k), tuple(row)) for k, row in enumerate(rows)]
    fast, reference = (list(map(look, encoder.encode(examples))) for encoder in both)
    assert fast == reference


def test_the_fast_tokenizer_serves_ordinary_rows_and_gives_int32_and_bool(both: tuple[RowEncoder, RowEncoder]) -> None:
    before = both[0].by_reference
    found = both[0].encode([Example(RowRef(0, 0), (Piece("ask\n", False), Piece("  yes 😀", True), END))])[0]
    assert isinstance(found, Encoded)
    assert (found.tokens.ids.dtype, found.tokens.loss_mask.dtype) == (np.int32, np.bool_)
    assert both[0].by_reference == before


def without_byte(folder: Path, byte: str) -> Path:
    """A tokenizer whose vocabulary lacks a byte."""
    made = json.loads(trained_tokenizer(CONTROLS).to_str())
    vocabulary = {word: k for k, word in enumerate(word for word in made["model"]["vocab"] if word != byte)}
    made["model"]["vocab"] = vocabulary
    made["model"]["merges"] = [m for m in made["model"]["merges"] if "".join(m) in vocabulary]
    for token in made["added_tokens"]:
        token["id"] = vocabulary[token["content"]]
    (folder / "tokenizer.json").write_text(json.dumps(made))
    return folder


def test_a_row_that_the_fast_tokenizer_refuses_is_the_references_and_counted(tmp_path: Path) -> None:
    without_byte(tmp_path, "Q")
    reference, fast = open_encoder(str(tmp_path)), open_fast_encoder(tmp_path / "tokenizer.json")
    encoder = RowEncoder(reference, max_length=64, overlong="truncate", fast=fast)
    examples = [Example(RowRef(0, k), (Piece("ask", False), Piece(text, True), END))
                for k, text in enumerate(("the", "what Q is", "mill"))]
    alone = RowEncoder(reference, max_length=64, overlong="truncate").encode(examples)
    assert list(map(look, encoder.encode(examples))) == list(map(look, alone))
    assert encoder.by_reference == 1
    assert fast.encode(examples)[1] is None


def test_what_a_row_spells_never_becomes_a_control_token(both: tuple[RowEncoder, RowEncoder], folder: Path) -> None:
    end = Tokenizer.from_file(str(folder / "tokenizer.json")).token_to_id("<|im_end|>")
    found = both[0].encode([Example(RowRef(0, 0), (Piece("a<|im_end|>b", True), END))])[0]
    assert isinstance(found, Encoded)
    assert found.tokens.ids.tolist().count(end) == 1
    assert found.is_spelled


def test_a_text_outside_the_normal_form_is_left_to_the_reference(tmp_path: Path) -> None:
    tokenizer = trained_tokenizer(CONTROLS)
    tokenizer.normalizer = normalizers.NFC()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    make = read_make((tmp_path / "tokenizer.json").read_bytes())
    assert make == Verdict(None, "NFC")
    fast = open_fast_encoder(tmp_path / "tokenizer.json", normal_form=make.normal_form)
    rows = fast.encode([Example(RowRef(0, k), (Piece(text, True),)) for k, text in enumerate(("cafe\u0301", "caf\u00e9"))])
    assert [row is None for row in rows] == [True, False]
    assert find_difference(fast, open_encoder(str(tmp_path)), []) is None


def test_a_tokenizer_whose_tokens_do_not_spell_their_bytes_is_not_served() -> None:
    tokenizer = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    assert "byte-level" in (read_make(tokenizer.to_str().encode()).reason or "")
    tokenizer = trained_tokenizer(CONTROLS)
    tokenizer.normalizer = normalizers.Lowercase()  # pyright: ignore[reportAttributeAccessIssue]
    assert "Lowercase" in (read_make(tokenizer.to_str().encode()).reason or "")


def test_other_tokens_are_noticed_with_the_string(folder: Path, tmp_path: Path) -> None:
    """The fast tokenizer is given another model's file."""
    other = json.loads((folder / "tokenizer.json").read_text())
    other["model"]["merges"] = other["model"]["merges"][:-40]
    (tmp_path / "tokenizer.json").write_text(json.dumps(other))
    rows = [Example(RowRef(0, 0), (Piece("The miller opens the gate", True),))]
    told = find_difference(open_fast_encoder(tmp_path / "tokenizer.json"), open_encoder(str(folder)), rows)
    assert "other tokens for" in (told or "")


def test_the_verdict_is_kept_beside_the_index_and_holds_for_this_model_alone(tmp_path: Path) -> None:
    spec = stream_spec(tmp_path)
    open_stream(spec).close()
    index = Path(spec.sources[0].shards[0].index_path)
    (kept,) = index.glob("agreement-*.json")
    assert json.loads(kept.read_text()) == {"reason": None, "normal_form": None}
    kept.write_text(json.dumps({"reason": "tried out", "normal_form": None}))
    with open_stream(spec) as stream:
        assert "tried out" in stream.warnings[0]
    write_tokenizer(tmp_path / "model", controls=(*CONTROLS, "<more>"))
    with open_stream(spec) as stream:
        assert not stream.warnings


def test_a_model_that_the_fast_tokenizer_cannot_serve_goes_the_reference_way_and_says_so(tmp_path: Path) -> None:
    spec = stream_spec(tmp_path)
    tokenizer = trained_tokenizer(CONTROLS)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.decoder = decoders.Metaspace()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.save(str(tmp_path / "model" / "tokenizer.json"))
    with open_stream(spec) as stream:
        assert "reference tokenizer" in stream.warnings[0]
        assert next(stream.batches()).tokens


def never(*_: object) -> list[Example]:
    raise AssertionError("the verdict was known")


def test_a_stream_is_the_same_by_either_tokenizer(tmp_path: Path) -> None:
    rows = [chat_row(k, words=1 + k % 4) for k in range(30)]
    rows[3]["messages"][1]["content"] = "<|im_end|> 😀 \n\n\t ½"
    spec = stream_spec(tmp_path, write_source(tmp_path, "rows", rows))
    with open_stream(spec) as stream:
        batches = list(stream.batches())
    assert [sum(batch.spelled for batch in batches), sum(batch.loading.by_reference for batch in batches)] == [1, 0]
    assert all(batch.loading.reading > 0 and batch.loading.tokenising > 0 for batch in batches)
    fast = list(map(told, batches))
    (kept,) = Path(spec.sources[0].shards[0].index_path).glob("agreement-*.json")
    kept.write_text(json.dumps({"reason": "tried out", "normal_form": None}))
    with open_stream(spec) as stream:
        batches = list(stream.batches())
    assert list(map(told, batches)) == fast
    assert sum(batch.loading.by_reference for batch in batches) == 30
    assert [len(batch.warnings) for batch in batches[:2]] == [1, 0]


def test_a_known_verdict_opens_no_reference_and_reads_no_row(tmp_path: Path) -> None:
    spec: StreamSpec = stream_spec(tmp_path)
    open_stream(spec).close()
    make: MakeExamples = never
    with RowReader(spec.sources) as reader:
        tokenizing = meet(spec, reader, make)
    assert isinstance(tokenizing.fast, FastEncoder)
    assert tokenizing.control_tokens == CONTROLS
    assert "encoder" not in vars(tokenizing.reference)
