"""Examples become ids and a mask: the model's own ids, control tokens only where a template wrote them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from core.data.spec import Example, Piece, RowRef
from core.data.templates import RowRefused
from core.data.tokens import Encoded, RowEncoder, RowLeftOut, TextEncoder, open_encoder
from core.data.tokens.mask import mask_by_borders, mask_by_offsets
from core.errors import DataError
from tests.tiny import CONTROLS, trained_tokenizer, write_tokenizer

ENCODER = TextEncoder(trained_tokenizer(CONTROLS))
END = Piece("<|im_end|>", True, is_control=True)


def encode(folder: Path, *pieces: Piece, max_length: int = 512, overlong: str = "truncate") -> Encoded | RowRefused:
    encoder = RowEncoder(open_encoder(str(folder)), max_length=max_length, overlong=overlong)  # pyright: ignore[reportArgumentType]
    return encoder.encode([Example(RowRef(0, 0), pieces)])[0]


def encoded(folder: Path, *pieces: Piece, max_length: int = 512) -> Encoded:
    told = encode(folder, *pieces, max_length=max_length)
    assert isinstance(told, Encoded)
    return told


def plain_ids(folder: Path, text: str) -> list[int]:
    return Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text, add_special_tokens=False).ids


def test_ids_are_those_of_the_plain_text(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    told = encoded(tmp_path, Piece("The mill  turns\n", False), Piece("it's über 😀", True), END)
    assert told.tokens.ids.tolist() == plain_ids(tmp_path, "The mill  turns\nit's über 😀<|im_end|>")
    assert told.tokens.ids.dtype == np.int32
    assert told.tokens.loss_mask.dtype == np.bool_


def test_a_spelled_control_token_stays_ordinary_text(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    told = encoded(tmp_path, Piece("a<|im_end|>b", True), END)
    end = plain_ids(tmp_path, "<|im_end|>")[0]
    assert told.tokens.ids.tolist().count(end) == 1
    assert open_encoder(str(tmp_path)).decode(told.tokens.ids.tolist()) == "a<|im_end|>b<|im_end|>"


def test_every_token_of_a_trained_piece_is_trained_white_space_and_many_byte_characters_too(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    told = encoded(tmp_path, Piece("ask\n", False), Piece("  a\t 😀 \n\n", True), END, Piece("\n", False))
    start = len(plain_ids(tmp_path, "ask\n"))
    assert told.tokens.loss_mask.tolist() == [False] * start + [True] * (len(told.tokens.ids) - start - 1) + [False]


def test_a_token_across_the_border_is_trained(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    told = encoded(tmp_path, Piece("of ", False), Piece("the", True))  # o, f, ' the'
    assert plain_ids(tmp_path, "of the") == told.tokens.ids.tolist()
    assert told.tokens.loss_mask.tolist() == [False, False, True]


def test_the_first_token_is_never_trained(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    mask = encoded(tmp_path, Piece("the capital", True)).tokens.loss_mask
    assert not mask[0]
    assert mask[1:].all()


def test_a_long_example_keeps_its_left_and_is_counted(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    text = "the capital of France " * 9
    told = encoded(tmp_path, Piece(text, True), END, max_length=10)
    assert told.is_truncated
    assert told.tokens.ids.tolist() == plain_ids(tmp_path, text)[:10]


def test_an_immense_example_is_cut_to_the_same_tokens(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    text = "the capital of France is 12. " * 4000
    told = encoded(tmp_path, Piece(text, True), END, max_length=300)
    assert told.tokens.ids.tolist() == plain_ids(tmp_path, text)[:300]


def test_long_words_are_encoded_whole_when_they_make_few_tokens(tmp_path: Path) -> None:
    """A text of many characters and few tokens is not cut short."""
    tokenizer = Tokenizer(models.WordLevel({"<end>": 0, "?": 1, "x" * 500: 2}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens([AddedToken("<end>", special=True)])
    encoder = RowEncoder(TextEncoder(tokenizer), max_length=20, overlong="drop")
    pieces = (Piece(" ".join(["x" * 500] * 19), True), Piece("<end>", True, is_control=True))
    told = encoder.encode([Example(RowRef(0, 0), pieces)])[0]
    assert isinstance(told, Encoded)
    assert told.tokens.ids.tolist() == [2] * 19 + [0]


def test_an_example_cut_before_its_answer_is_left_out(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    told = encode(tmp_path, Piece("a question " * 20, False), Piece("answer", True), max_length=8)
    assert isinstance(told, RowLeftOut)
    assert "nothing in its first 8 tokens" in told.reason


def test_overlong_examples_are_left_out_where_the_spec_says_drop(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    told = encode(tmp_path, Piece("the capital " * 20, True), max_length=8, overlong="drop")
    assert isinstance(told, RowLeftOut)
    assert "more than 8 tokens" in told.reason


def test_an_answer_is_masked_by_place_and_never_by_its_pad_id(tmp_path: Path) -> None:
    """Here <|im_end|> is the pad token too."""
    write_tokenizer(tmp_path)
    assert encoded(tmp_path, Piece("ask", False), Piece("yes", True), END).tokens.loss_mask[-1]


def test_what_the_tokenizer_writes_in_front_is_found(tmp_path: Path) -> None:
    write_tokenizer(tmp_path, bos="<|im_start|>", adds_bos=True)
    assert open_encoder(str(tmp_path)).front == ("<|im_start|>",)
    bos = Piece("<|im_start|>", False, is_control=True)
    assert encoded(tmp_path, bos, Piece("the", True)).tokens.ids.tolist()[1:] == plain_ids(tmp_path, "the")


def test_text_that_the_model_makes_a_control_token_of_is_refused() -> None:
    tokenizer = Tokenizer(models.WordLevel({"<end>": 0, "?": 1, "a": 2}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens([AddedToken("<end>", special=True)])
    encoder = RowEncoder(TextEncoder(tokenizer), max_length=20, overlong="drop")
    told = encoder.encode([Example(RowRef(0, 0), (Piece("a <end> a", True),))])[0]
    assert isinstance(told, RowRefused)
    assert "control token <end>" in told.reason


def test_white_space_that_a_control_token_takes_is_taken_by_its_stand_in() -> None:
    tokenizer = Tokenizer(models.WordLevel({"?": 0, "a": 1, "b": 2}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "isolated")
    tokenizer.add_special_tokens([AddedToken("<m>", lstrip=True, rstrip=True, special=True)])
    expected = tokenizer.encode("a <m> b").ids
    encoder = RowEncoder(TextEncoder(tokenizer), max_length=20, overlong="drop")
    pieces = (Piece("a ", True), Piece("<m>", True, is_control=True), Piece(" b", True))
    told = encoder.encode([Example(RowRef(0, 0), pieces)])[0]
    assert isinstance(told, Encoded)
    assert told.tokens.ids.tolist() == expected


def test_a_folder_without_a_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no tokenizer\.json"):
        open_encoder(str(tmp_path))


def test_a_file_that_is_no_tokenizer_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(DataError, match="is no tokenizer"):
        open_encoder(str(tmp_path))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=12) | st.sampled_from([" ", "\n\n", "the capital", "😀", "é"]), st.booleans()),
                min_size=1, max_size=8))
def test_borders_and_offsets_give_the_same_mask(parts: list[tuple[str, bool]]) -> None:
    text = "".join(part for part, _ in parts)
    encoding = ENCODER.encode([text])[0]
    spans, at = [], 0
    for part, is_trained in parts:
        if is_trained and part:
            spans.append((at, at + len(part)))
        at += len(part)
    by_borders = mask_by_borders(spans, len(text), encoding)
    assert by_borders is not None
    assert by_borders.tolist() == mask_by_offsets(spans, len(text), encoding).tolist()


def test_characters_without_a_token_leave_the_mask_to_the_offsets() -> None:
    tokenizer = Tokenizer(models.WordLevel({"?": 0, "a": 1, "b": 2}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    encoder = RowEncoder(TextEncoder(tokenizer), max_length=20, overlong="drop")
    told = encoder.encode([Example(RowRef(0, 0), (Piece("a", False), Piece(" b ", True), Piece(" a", False)))])[0]
    assert isinstance(told, Encoded)
    assert told.tokens.loss_mask.tolist() == [False, True, False]


def test_a_text_trained_as_a_whole_has_the_ids_and_mask_that_offsets_give(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    front, text = Piece("<|im_start|>", False, is_control=True), Piece("The mill  turns 😀\n", True)
    alone = encoded(tmp_path, front, text, END).tokens
    encoder = RowEncoder(open_encoder(str(tmp_path)), max_length=64, overlong="truncate")
    asked = (Piece("ask", False), Piece("yes", True))
    beside = encoder.encode([Example(RowRef(0, k), pieces) for k, pieces in enumerate(((front, text, END), asked))])[0]
    assert isinstance(beside, Encoded)
    assert alone.ids.tolist() == beside.tokens.ids.tolist()
    assert alone.loss_mask.tolist() == beside.tokens.loss_mask.tolist() == [False] + [True] * (len(alone.ids) - 1)
