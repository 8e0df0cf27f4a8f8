import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data.index import RowFault, parse_row
from core.data.shapes import SHAPES, Columns, RowShape, candidates
from tests.core.data.rows_on_disk import chat_row

USER = {"role": "user", "content": "Where does the water come from?"}
ANSWER = {"role": "assistant", "content": "From the headrace."}
CALL = {"id": "c1", "type": "function", "function": {"name": "gauge", "arguments": '{"at": "weir"}'}}
CALLING = {"role": "assistant", "content": None, "tool_calls": [CALL]}
TOOL = {"type": "function", "function": {"name": "gauge", "parameters": {"type": "object"}}}


def shape_of(name: str) -> RowShape:
    return candidates(name, Columns())[0]


def fault_of(row: object, shape: str = "chat") -> RowFault:
    raw = row if isinstance(row, bytes) else orjson.dumps(row)
    with pytest.raises(RowFault) as caught:
        parse_row(raw, shape_of(shape))
    return caught.value


@pytest.mark.parametrize("messages", [
    [USER, ANSWER],
    [{"role": "system", "content": "Be brief."}, USER, ANSWER],
    [{"role": "developer", "content": "Be brief."}, USER, ANSWER],
    [USER, {**ANSWER, "weight": 0}, USER, {**ANSWER, "weight": 1}],
    [USER, CALLING, {"role": "tool", "tool_call_id": "c1", "content": "2 m"}, ANSWER],
    [USER, {"role": "assistant", "tool_calls": [CALL]}],
    [{"role": "user", "content": [{"type": "text", "text": "Where?"}, {"type": "text", "text": "When?"}]}, ANSWER],
    [{**USER, "name": "miller"}, {**ANSWER, "name": None}],
    [USER, {**ANSWER, "reasoning_content": "It flows downhill."}],
    [USER, {"role": "assistant", "content": "a\x00b"}],
])
def test_whole_conversations_are_accepted(messages: list):
    row = {"messages": messages, "tools": [TOOL], "parallel_tool_calls": False, "id": 7}
    assert parse_row(orjson.dumps(row), shape_of("chat")) == row


@pytest.mark.parametrize("row, code, words", [
    ({"prompt": "a"}, "missing_field", "messages is missing; add it as a list"),
    ({"messages": "hi"}, "wrong_type", "messages is a string; it must be a list"),
    ({"messages": []}, "no_assistant_message", "role 'assistant'"),
    ({"messages": [USER]}, "no_assistant_message", "none of the assistant"),
    ({"messages": ["hi"]}, "wrong_type", r"messages\[0\] is a string"),
    ({"messages": [{"content": "hi"}]}, "missing_field", r"messages\[0\].role is missing"),
    ({"messages": [{"role": [], "content": "hi"}]}, "wrong_type", r"messages\[0\].role is a list"),
    ({"messages": [USER, {"role": "bot", "content": "hi"}]}, "wrong_role",
     r"messages\[1\].role is 'bot'; did you mean 'assistant'\? use one of"),
    ({"messages": [{"role": "user"}, ANSWER]}, "missing_field", r"messages\[0\] has no content"),
    ({"messages": [USER, {"role": "assistant", "content": None}]}, "wrong_type", "only beside tool_calls"),
    ({"messages": [{"role": "user", "content": 3}, ANSWER]}, "wrong_type", "content is a number"),
    ({"messages": [{"role": "user", "content": []}, ANSWER]}, "wrong_type", "empty list"),
    ({"messages": [{"role": "user", "content": ["a"]}, ANSWER]}, "wrong_type", r"content\[0\] is no text part"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}, ANSWER]},
     "image_not_supported", "read text only"),
    ({"messages": [USER, {**ANSWER, "weight": 0}]}, "nothing_to_train_on", "every assistant message has weight 0"),
    ({"messages": [USER, {**ANSWER, "weight": 0.5}]}, "wrong_weight", r"messages\[1\].weight is 0.5"),
    ({"messages": [USER, {**ANSWER, "weight": True}]}, "wrong_weight", "weight is True"),
    ({"messages": [{**USER, "weight": 1}, ANSWER]}, "wrong_weight", "only assistant messages take a weight"),
    ({"messages": [USER, {"role": "tool", "content": "x"}, ANSWER]}, "missing_field", "tool_call_id is missing"),
    ({"messages": [USER, {"role": "function", "content": "x"}, ANSWER]}, "missing_field", "name is missing"),
    ({"messages": [{**USER, "name": 1}, ANSWER]}, "wrong_type", "name is a number"),
    ({"messages": [{**USER, "tool_calls": [CALL]}, ANSWER]}, "wrong_tool_call", "only the assistant calls tools"),
    ({"messages": [USER, {**CALLING, "tool_calls": []}]}, "wrong_tool_call", "at least one call"),
    ({"messages": [USER, {**CALLING, "tool_calls": [{"id": "c1"}]}]}, "wrong_tool_call",
     r"tool_calls\[0\] is no call; it must be"),
    ({"messages": [USER, {**CALLING, "tool_calls": [{**CALL, "function": {"name": "g", "arguments": "{"}}]}]},
     "wrong_tool_call", "arguments holds no JSON"),
    ({"messages": [USER, ANSWER], "tools": {}}, "wrong_tool", "tools is an object"),
    ({"messages": [USER, ANSWER], "tools": [{}]}, "wrong_tool", r"tools\[0\] is no tool; it must be"),
    ({"messages": [USER, ANSWER], "parallel_tool_calls": 1}, "wrong_type", "write true or false"),
    ({"messages": [USER, ANSWER], "functions": "f"}, "wrong_type", "functions is a string"),
])
def test_a_broken_rule_of_chat_is_named(row: dict, code: str, words: str):
    fault = fault_of(row)
    assert fault.code == code
    with pytest.raises(RowFault, match=words):
        raise fault


@pytest.mark.parametrize("raw, code", [
    (b'{"messages": [', "broken_json"), (b"not json", "broken_json"), (b'{"a": 1} {"b": 2}', "broken_json"),
    (b'{"a": NaN}', "number_not_finite"), (b'{"a": -Infinity}', "number_not_finite"),
    (b'{"a": 1e999}', "number_not_finite"), (b'{"a": 1' + b"0" * 5000 + b"}", "number_not_finite"),
    (b'{"a": "\\ud800"}', "lone_surrogate"), (b'{"a": "\xff"}', "invalid_utf8"),
    (b'{"a": "\xed\xa0\x80"}', "invalid_utf8"), (b"[" * 100_000, "too_deep"),
    (b'{"a":' * 2000 + b"1" + b"}" * 2000, "too_deep"), (b"[1, 2]", "not_an_object"), (b'"text"', "not_an_object"),
    (b"null", "not_an_object"), (b"12345678901234567890123", "not_an_object"), (b"x" * ((16 << 20) + 1), "row_too_long"),
])
def test_what_is_no_json_object_is_named(raw: bytes, code: str):
    assert fault_of(raw).code == code


@pytest.mark.parametrize("row, shape, code", [
    ({"prompt": "a"}, "prompt_completion", "missing_field"),
    ({"prompt": "a", "completion": 1}, "prompt_completion", "wrong_type"),
    ({"prompt": "a", "completion": ""}, "prompt_completion", "nothing_to_train_on"),
    ({"text": None}, "text", "wrong_type"),
    ({"text": ""}, "text", "nothing_to_train_on"), ({}, "text", "missing_field"),
])
def test_a_broken_rule_of_the_simpler_formats_is_named(row: dict, shape: str, code: str):
    assert fault_of(row, shape).code == code


def test_indented_json_is_recognised():
    assert "as in JSON that is indented; write each object whole on one line" in fault_of(b"  {").message


def test_a_bare_line_is_a_text():
    assert parse_row(b'  {"not": "parsed"}', shape_of("text"), "lines") == {"text": '  {"not": "parsed"}'}


def test_a_message_shows_a_value_only_escaped_and_cut():
    fault = fault_of({"messages": [USER, {"role": "\x1b[31m" + "x" * 5000, "content": "secret"}]})
    assert "\x1b" not in fault.message
    assert "secret" not in fault.message
    assert len(fault.message) < 250


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["user", "assistant", "system", "tool", "text", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["role", "content", "messages", "weight", "tool_calls", "text", "prompt", "completion", "type"]),
        inner, max_size=4,
    ),
    max_leaves=12,
)


@given(value=JSON, name=st.sampled_from(SHAPES))
def test_any_value_is_accepted_or_named_and_the_ordinary_is_accepted(value: object, name):
    shape = shape_of(name)
    try:
        is_accepted = bool(parse_row(orjson.dumps(value), shape))
    except RowFault:
        is_accepted = False
    assert is_accepted or not shape.fits(value)


@given(messages=st.lists(st.fixed_dictionaries({}, optional={
    "role": st.sampled_from(["user", "assistant", "system", "tool", "bot", 1, None]),
    "content": st.sampled_from(["", "x", None, [], ["x"], [{"type": "text", "text": "x"}]]),
    "weight": st.sampled_from([0, 1, 2, None]),
}), max_size=4))
def test_the_cheap_test_of_chat_lets_no_faulty_row_pass(messages: list):
    row = {"messages": messages}
    if shape_of("chat").fits(row):
        assert parse_row(orjson.dumps(row), shape_of("chat")) == row


def test_a_plain_conversation_takes_the_cheap_way():
    assert shape_of("chat").fits(chat_row())


@pytest.mark.parametrize(("raw", "words"), [
    (b'{"text": "a"}\r{"text": "b"}', "its lines end with carriage returns alone"),
    (bytes(12), "nothing but zero bytes"),
    (b'{"text": "a"}{"text": "b"}', "unexpected content after document, at character 14"),
])
def test_lines_that_are_no_json_for_a_known_cause_are_told_with_it(raw: bytes, words: str):
    fault = fault_of(raw, "text")
    assert (fault.code, words in fault.message) == ("broken_json", True)
