"""Rows that are too long become examples that fit, and what is trained on stays right, whatever the policy."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.data.fitting import Fitted, Fitter, split_turns
from core.data.pipeline import open_stream
from core.data.row_set import RowSet
from core.data.spec import Overlong, Row, RowFormat, RowRef
from core.data.templates import RowTemplate, open_template
from core.data.tokens import Encoded, RowEncoder, TextEncoder, open_encoder
from core.errors import DataError
from tests.streams import chat_row, chat_rows, stream_spec, write_source
from tests.tiny import write_tokenizer

POLICIES: tuple[Overlong, ...] = ("truncate", "truncate_left", "keep_last_turns", "split")


@cache
def model(bos: bool) -> tuple[TextEncoder, dict[RowFormat, RowTemplate]]:
    told: dict[str, Any] = {"bos": "<|endoftext|>", "adds_bos": True} if bos else {}
    folder = str(write_tokenizer(Path(mkdtemp()) / "model", **told))
    encoder = open_encoder(folder)
    formats: tuple[RowFormat, ...] = ("chat", "prompt_completion", "text")
    return encoder, {each: open_template(folder, row_format=each, control_tokens=encoder.control_tokens, front=encoder.front)
                     for each in formats}


def fitted(value: dict[str, Any], overlong: Overlong, max_length: int, *, row_format: RowFormat = "chat", bos: bool = False):
    encoder, templates = model(bos)
    fitter = Fitter(RowEncoder(encoder, max_length=max_length, overlong=overlong, front=encoder.front), templates)
    row = Row(RowRef(0, 7), value)
    (found,) = fitter.fit([(row, row_format, templates[row_format].example(row))])
    return found


def text_of(example: Encoded) -> str:
    return model(False)[0].decode(example.tokens.ids.tolist())


def trained_of(example: Encoded) -> str:
    return model(False)[0].decode(example.tokens.ids[example.tokens.loss_mask].tolist())


def whole(value: dict[str, Any], row_format: RowFormat = "chat", bos: bool = False) -> Encoded:
    found = fitted(value, "truncate", 100_000, row_format=row_format, bos=bos)
    assert isinstance(found, Fitted)
    return found.examples[0]


def chat(*turns: tuple[str, str], system: str | None = None) -> dict[str, Any]:
    head = [{"role": "system", "content": system}] if system else []
    return {"messages": head + [{"role": role, "content": text} for ask, answer in turns
                                for role, text in (("user", ask), ("assistant", answer))]}


LONG = chat(("What is first?", "The gate."), ("And second?", "The wheel turns."), ("And last?", "The stone."),
            system="Be brief.")


def test_a_row_that_fits_is_left_alone_by_every_policy() -> None:
    for policy in POLICIES:
        found = fitted(LONG, policy, 1000)
        assert isinstance(found, Fitted)
        assert (found.overlong, len(found.examples)) == (None, 1)
        assert found.examples[0].tokens.ids.tolist() == whole(LONG).tokens.ids.tolist()


def test_the_last_turns_are_kept_with_the_system_message() -> None:
    kept = whole({"messages": [LONG["messages"][0], *LONG["messages"][3:]]})
    found = fitted(LONG, "keep_last_turns", len(kept.tokens.ids))
    assert isinstance(found, Fitted)
    assert (found.overlong, len(found.examples), found.examples[0].is_truncated) == ("keep_last_turns", 1, False)
    assert found.examples[0].tokens.ids.tolist() == kept.tokens.ids.tolist()
    assert found.examples[0].tokens.loss_mask.tolist() == kept.tokens.loss_mask.tolist()
    shorter = fitted(LONG, "keep_last_turns", len(kept.tokens.ids) - 1)
    assert isinstance(shorter, Fitted)
    assert text_of(shorter.examples[0]).count("<|im_start|>user") == 1


def test_a_last_turn_that_is_too_long_is_truncated() -> None:
    found = fitted(chat(("a", "b"), ("c", "The water falls. " * 50)), "keep_last_turns", 40)
    assert isinstance(found, Fitted)
    assert (found.overlong, found.examples[0].is_truncated, len(found.examples[0].tokens.ids)) == ("truncate", True, 40)


def test_a_chat_is_split_by_turns_each_with_the_system_message() -> None:
    longest = max(len(whole({"messages": [LONG["messages"][0], *LONG["messages"][k : k + 2]]}).tokens.ids) for k in (1, 3, 5))
    found = fitted(LONG, "split", longest)
    assert isinstance(found, Fitted)
    assert found.overlong == "split"
    assert [text_of(each).count("<|im_start|>system\nBe brief.") for each in found.examples] == [1] * len(found.examples)
    assert "".join(map(trained_of, found.examples)) == trained_of(whole(LONG))


def test_the_end_is_kept_behind_the_token_in_front() -> None:
    text = {"text": " ".join(f"word{k}" for k in range(200))}
    for bos in (False, True):
        found = fitted(text, "truncate_left", 32, row_format="text", bos=bos)
        assert isinstance(found, Fitted)
        (example,) = found.examples
        ids = whole(text, "text", bos).tokens.ids.tolist()
        assert example.tokens.ids.tolist() == ([ids[0], *ids[-31:]] if bos else ids[-32:])
        assert example.tokens.loss_mask.tolist() == [False] + [True] * 31


def test_a_text_whose_start_is_out_of_reach_keeps_its_end() -> None:
    text = {"text": "The water falls. " * 150_000 + "The wheel turns."}
    found = fitted(text, "truncate_left", 16, row_format="text")
    assert isinstance(found, Fitted)
    assert text_of(found.examples[0]).endswith("The wheel turns.<|im_end|>")


def test_an_immense_text_is_split_into_few_examples_and_the_rest_is_counted_as_cut() -> None:
    found = fitted({"text": "The water falls. " * 20_000}, "split", 64, row_format="text")
    assert isinstance(found, Fitted)
    assert len(found.examples) == 64
    assert [each.is_truncated for each in found.examples] == [False] * 63 + [True]


@settings(max_examples=60, deadline=None)
@given(words=st.integers(1, 60), max_length=st.integers(8, 40), prompt=st.integers(0, 20), bos=st.booleans())
def test_each_trained_token_of_a_split_text_is_trained_on_once(words: int, max_length: int, prompt: int, bos: bool) -> None:
    row = {"prompt": "ask " * prompt, "completion": " ".join(f"w{k}" for k in range(words))}
    found = fitted(row, "split", max_length, row_format="prompt_completion", bos=bos)
    assert isinstance(found, Fitted)
    told = whole(row, "prompt_completion", bos).tokens
    assert [number for each in found.examples for number in each.tokens.ids[each.tokens.loss_mask].tolist()] == \
        told.ids[told.loss_mask].tolist()
    assert all(len(each.tokens.ids) <= max_length and not each.tokens.loss_mask[0] for each in found.examples)


@settings(max_examples=60, deadline=None)
@given(turns=st.lists(st.tuples(st.sampled_from(["How?", "Why so? " * 9]), st.sampled_from(["So.", "It falls. " * 7]),
                                st.sampled_from([0, 1])), min_size=1, max_size=6),
       max_length=st.integers(16, 90), policy=st.sampled_from(POLICIES), has_system=st.booleans())
def test_under_every_policy_what_is_trained_on_was_so_before(turns: list, max_length: int, policy: Overlong,
                                                             has_system: bool) -> None:
    value = chat(*((ask, answer) for ask, answer, _ in turns), system="Be brief." if has_system else None)
    for message, weight in zip(value["messages"][1 + has_system :: 2], (weight for *_, weight in turns), strict=True):
        message["weight"] = weight
    found = fitted(value, policy, max_length)
    if not isinstance(found, Fitted):
        return
    told = whole(value) if any(weight for *_, weight in turns) else None
    assert told is not None
    pieces = [trained_of(each) for each in found.examples]
    assert all(len(each.tokens.ids) <= max_length and each.trained == int(each.tokens.loss_mask.sum()) > 0
               for each in found.examples)
    assert all(piece in trained_of(told) for piece in pieces)
    if policy == "split" and not any(each.is_truncated for each in found.examples):
        assert "".join(pieces) == trained_of(told)


def test_turns_begin_with_a_user() -> None:
    roles = ["system", "user", "user", "assistant", "tool", "assistant", "user", "assistant"]
    head, turns = split_turns([{"role": role} for role in roles])
    assert [message["role"] for message in head] == ["system"]
    assert [[message["role"] for message in turn] for turn in turns] == [roles[1:6], roles[6:]]


def long_rows() -> list[dict[str, Any]]:
    rows = chat_rows(12)
    rows[5] = chat(*((f"question {k}", "it is so") for k in range(12)))
    return rows


@pytest.mark.parametrize("policy", [*POLICIES, "drop"])
def test_a_steps_rows_are_the_same_under_every_policy(tmp_path: Path, policy: Overlong) -> None:
    source = write_source(tmp_path, "rows", long_rows())
    spec = stream_spec(tmp_path, source, max_length=80, overlong=policy)
    with open_stream(spec) as stream:
        batches = list(stream.batches())
        due = [set(stream.due(batch.step).rows) for batch in batches]
    assert [set(batch.rows) | {hole.ref for hole in batch.holes} for batch in batches] == due
    assert sum(batch.overlong.get(policy, 0) for batch in batches) == 1
    for batch in batches:
        assert len(batch.rows) == len(batch.slots) == sum(len(micro.sources) for micro in batch.micro_batches)


def test_ranks_share_the_examples_of_a_split_row_as_they_share_the_row(tmp_path: Path) -> None:
    spec = stream_spec(tmp_path, write_source(tmp_path, "rows", long_rows()), max_length=80, overlong="split")
    shares = []
    for rank in range(3):
        with open_stream(replace(spec, rank=rank, ranks=3)) as stream:
            shares.append(list(stream.batches()))
    with open_stream(spec) as stream:
        for step, batch in enumerate(stream.batches()):
            parts = [share[step] for share in shares]
            assert sorted(ref.row for part in parts for ref in part.rows) == sorted(ref.row for ref in batch.rows)
            assert {part.trained_tokens for part in parts} == {batch.trained_tokens}


def test_one_bad_row_more_than_may_be_skipped_ends_the_stream(tmp_path: Path) -> None:
    rows = [*chat_rows(6), {**chat_row(6), "messages": [{"role": "user", "content": "\ufdd0"}, *chat_row(6)["messages"][1:]]}]
    spec = stream_spec(tmp_path, write_source(tmp_path, "rows", rows), on_bad_row="skip", epochs=3)
    with open_stream(replace(spec, max_bad_rows=1)) as stream:
        assert sum(len(batch.holes) for batch in stream.batches()) == 3
    with open_stream(replace(spec, max_bad_rows=0)) as stream, pytest.raises(DataError, match="more rows than the 0") as caught:
        list(stream.batches())
    assert caught.value.code == "too_many_bad_rows"
    assert spec.fingerprint() == replace(spec, max_bad_rows=0).fingerprint()


def test_rows_skipped_before_a_resume_count_against_the_limit_each_once(tmp_path: Path) -> None:
    bad = {"messages": [{"role": "user", "content": "\ufdd0"}, *chat_row(6)["messages"][1:]]}
    spec = stream_spec(tmp_path, write_source(tmp_path, "rows", [*chat_rows(6), bad]), on_bad_row="skip", max_bad_rows=1)
    with open_stream(spec, skipped=RowSet().with_rows([RowRef(0, 6)])) as stream:
        assert [hole.ref for batch in stream.batches() for hole in batch.holes] == [RowRef(0, 6)]
    with open_stream(spec, skipped=RowSet().with_rows([RowRef(0, 5)])) as stream, pytest.raises(DataError, match="than the 1"):
        list(stream.batches())


def test_rows_are_told_apart_from_those_that_come_again(tmp_path: Path) -> None:
    rows = [*chat_rows(6), chat_row(10 ** 200)]
    spec = stream_spec(tmp_path, write_source(tmp_path, "rows", rows), epochs=3, max_length=64, overlong="drop")
    with open_stream(spec) as stream:
        batches = list(stream.batches())
    assert [batch.overlong for batch in batches if batch.overlong] == [{"drop": 1}] * 3
    assert [batch.overlong_first for batch in batches if batch.overlong] == [{"drop": 1}, {}, {}]
    assert [(hole.cause, hole.is_first) for batch in batches for hole in batch.holes] == [
        ("overlong", True), ("overlong", False), ("overlong", False)]
