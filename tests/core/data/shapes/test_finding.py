"""The first rows tell their shape, and each shape's rows become canonical values by two ways that agree."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.data.shapes import Columns, RowFault, candidates, find_shape, open_shape, read_columns
from core.data.shapes.shape import RowShape
from tests.core.data.shapes.rows import ANSWER, ASK, CHAT, PAIR, SHAPED, said


def found(*rows: Any, shape: str | None = None, columns: Any = None) -> RowShape:
    told = find_shape(rows, candidates(shape, read_columns(columns)))
    assert told is not None
    return told


@pytest.mark.parametrize("name, row, value", SHAPED)
def test_a_rows_fields_tell_its_shape_and_its_value(name: str, row: dict, value: dict) -> None:
    shape = found(row)
    assert (shape.name, shape.canonical(row)) == (name, value)


@pytest.mark.parametrize("name, row, value", SHAPED)
def test_the_cheap_way_and_the_explaining_way_agree(name: str, row: dict, value: dict) -> None:
    assert found(row).read(row) == value


@pytest.mark.parametrize("name, row, value", SHAPED)
def test_a_shape_that_was_written_down_reads_the_same(name: str, row: dict, value: dict) -> None:
    assert open_shape(json.loads(json.dumps(found(row).to_json()))).canonical(row) == value


@pytest.mark.parametrize("name, row, value", [each for each in SHAPED if isinstance(each[2].get("messages"), list)])
def test_lists_that_a_table_keeps_as_json_are_read(name: str, row: dict, value: dict) -> None:
    flat = {key: json.dumps(told) if isinstance(told, list | dict) else told for key, told in row.items()}
    if name != "alpaca" and "prompt" not in row:
        assert found(flat).canonical(flat) == value


def test_most_rows_decide() -> None:
    rows = [{"messages": "broken"}, *[{"conversations": [said("human", "a"), said("gpt", "b")]}] * 3, CHAT]
    assert found(*rows).name == "sharegpt"


@pytest.mark.parametrize("name, row, fault", [
    ("chat", CHAT, {"messages": [ASK, {**ANSWER, "weight": 0.5}]}),
    ("chat", CHAT, {"messages": [ASK, {**ANSWER, "tool_calls": [{"function": {"name": "gauge"}}]}]}),
    ("alpaca", {"instruction": "How high?", "output": "2 m", "text": "How high? 2 m"},
     {"instruction": "How high?", "output": "", "text": "How high?"}),
])
def test_rows_at_fault_do_not_make_a_file_one_of_a_shape_that_asks_for_less(name: str, row: dict, fault: dict) -> None:
    assert found(fault, row, fault).name == name


@pytest.mark.parametrize("answer, code", [
    ({**ANSWER, "weight": 0.5}, "wrong_weight"),
    ({**ANSWER, "tool_calls": [{"function": {"name": "gauge"}}]}, "wrong_tool_call"),
    ({**ANSWER, "name": 3}, "wrong_type"),
])
@pytest.mark.parametrize("field", ["messages", "conversations"])
def test_openais_rows_that_all_break_a_rule_are_chats_and_say_so(answer: dict, code: str, field: str) -> None:
    rows = [{field: [ASK, answer]}] * 3
    shape = found(*rows)
    with pytest.raises(RowFault) as caught:
        shape.canonical(rows[0])
    assert (shape.name, caught.value.code) == ("chat", code)


def test_roles_that_the_user_named_are_read_as_such() -> None:
    row = {"messages": [ASK, {"role": "tool", "content": "2.0"}, ANSWER]}
    tags = {"role_tag": "role", "content_tag": "content", "observation_tag": "tool"}
    assert found(row, columns={"messages": "messages", **tags}).name == "sharegpt"
    assert found(row).name == "chat"


def test_the_names_of_roles_tell_sharegpt_under_openais_fields() -> None:
    row = {"messages": [{"role": "human", "content": "How high?"}, {"role": "gpt", "content": "Two metres."}]}
    assert found(row, CHAT, row).name == "sharegpt"


def test_rows_of_no_shape_have_none() -> None:
    assert find_shape([{"id": 1}], candidates(None, Columns())) is None


@pytest.mark.parametrize("columns, row, value", [
    ({"prompt": "question", "completion": "answer"}, {"question": "How", "answer": "high?"},
     {"prompt": "How", "completion": "high?"}),
    ({"prompt": "question", "response": "answer"}, {"question": "How high?", "answer": "Two metres."}, CHAT),
    ({"prompt": "q", "query": "more", "response": "a", "system": "s"}, {"q": "How high?", "a": "Two metres."}, CHAT),
    ({"text": "content"}, {"content": "a"}, {"text": "a"}),
    ({"prompt": "content"}, {"content": "a"}, {"text": "a"}),
    ({"messages": "dialog"}, {"dialog": [ASK, ANSWER]}, CHAT),
    ({"messages": "dialog", "role": "who", "content": "what", "user": "client", "assistant": "clerk"},
     {"dialog": [{"who": "client", "what": "How high?"}, {"who": "clerk", "what": "Two metres."}]}, CHAT),
    ({"messages": "talk", "role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"},
     {"talk": [ASK, ANSWER]}, CHAT),
    ({"formatting": "sharegpt", "columns": {"messages": "talk"}},
     {"talk": [said("human", "How high?"), said("gpt", "Two metres.")]}, CHAT),
    ({"file_name": "a.json"}, {"instruction": "How high?", "input": "", "output": "Two metres."}, CHAT),
    ({"file_name": "a.txt", "columns": {"prompt": "text"}}, {"text": "a"}, {"text": "a"}),
    ({"hf_hub_url": "x/y", "ranking": True, "columns": {"prompt": "q", "chosen": "better", "rejected": "worse"}},
     {"q": "How high?", "better": "Two metres.", "worse": "No idea."}, PAIR),
    ({"prompt": "q", "chosen": "better", "rejected": "worse"}, {"q": "How", "better": "high?", "worse": "now?"},
     {"prompt": "How", "chosen": "high?", "rejected": "now?"}),
])
def test_columns_say_which_field_holds_what(columns: dict, row: dict, value: dict) -> None:
    shape = found(row, columns=columns)
    assert shape.canonical(row) == value
    assert open_shape(shape.to_json()).canonical(row) == value


def test_a_shape_that_is_asked_for_holds() -> None:
    assert found(CHAT, shape="sharegpt").name == "sharegpt"
    assert found({"chosen": "a"}, {"prompt": "a", "chosen": "b", "rejected": "c"}, shape="preference").name == "preference_trl"


@pytest.mark.parametrize("columns, words", [
    ("prompt", "must be an object"), ({"promt": "q"}, "did you mean 'prompt'"), ({"prompt": 3}, "must be the name of a field"),
    ({"formatting": "vicuna"}, "must be 'alpaca', 'sharegpt' or 'openai'"), ({"columns": "prompt"}, "must be an object"),
])
def test_a_mapping_that_is_none_is_refused_in_words(columns: Any, words: str) -> None:
    with pytest.raises(Exception, match=words):
        read_columns(columns)


@pytest.mark.parametrize("row, code, words", [
    ({"conversations": [said("humen", "a"), said("gpt", "b")]}, "wrong_role", "did you mean 'human'"),
    ({"conversations": [said("human", "a")]}, "no_assistant_message", "none of the assistant"),
    ({"conversations": [said("human", "a"), said("gpt", " \n")]}, "nothing_to_train_on", "empty or white space"),
    ({"conversations": [said("human", "a"), said("function_call", "{")]}, "wrong_tool_call", "holds no JSON"),
    ({"conversations": [{"from": "human"}, said("gpt", "b")]}, "missing_field", "value is missing"),
    ({"conversations": [said("human", "a"), said("gpt", "b")], "tools": "{}"}, "wrong_tool", "tools is an object"),
    ({"instruction": "", "input": "", "output": "b"}, "missing_field", "instruction is empty"),
    ({"instruction": "a", "input": 3, "output": "b"}, "wrong_type", "input is a number"),
    ({"instruction": "a", "output": ""}, "nothing_to_train_on", "output is empty"),
    ({"instruction": "a", "output": "b", "history": [["x"]]}, "wrong_type", r"history\[0\] is no turn"),
    ({"prompt": "a", "chosen": "b", "rejected": "b"}, "same_answers", "the same"),
    ({"prompt": "a", "chosen": "b", "rejected": " "}, "empty_answer", "rejected is empty"),
    ({"prompt": "a", "chosen": "b", "rejected": None}, "missing_field", "rejected is missing"),
    ({"prompt": "a", "chosen": 1, "rejected": "b"}, "wrong_type", "all three must be strings"),
    ({"chosen": [ANSWER], "rejected": [{**ANSWER, "content": "x"}]}, "missing_field", "nothing is asked"),
    ({"text": " \u3000\n"}, "nothing_to_train_on", "text is empty"),
    ({"messages": [{"role": "asistant", "content": "a"}]}, "wrong_role", "did you mean 'assistant'"),
    ({"messages": [ASK] * 5000 + [ANSWER]}, "too_many_messages", "5,001 messages"),
])
def test_a_broken_rule_is_named_with_its_remedy(row: dict, code: str, words: str) -> None:
    with pytest.raises(RowFault, match=words) as caught:
        found(row).canonical(row)
    assert caught.value.code == code
    assert caught.value.remedy


def test_the_older_spelling_of_tools_becomes_the_newer() -> None:
    row = {"messages": [ASK, {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
                        {"role": "function", "name": "f", "content": "2 m"}, ANSWER], "functions": [{"name": "f"}]}
    value = found(row).canonical(row)
    asked, call, answer, _ = value["messages"]
    assert (asked, value["tools"]) == (ASK, [{"type": "function", "function": {"name": "f"}}])
    assert call["tool_calls"][0]["function"] == {"name": "f", "arguments": "{}"}
    assert (answer["role"], answer["tool_call_id"]) == ("tool", call["tool_calls"][0]["id"])
    assert "functions" not in value


def test_a_deep_value_is_a_fault() -> None:
    deep: Any = "end"
    for _ in range(900):
        deep = {"a": [deep]}
    with pytest.raises(RowFault, match="more than 64 deep"):
        found(CHAT).read({**CHAT, "tools": [deep]})
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "[" * 200 + "]" * 200}}
    with pytest.raises(RowFault, match="more than 64 deep"):
        found(CHAT).read({"messages": [ASK, {"role": "assistant", "tool_calls": [call]}]})
