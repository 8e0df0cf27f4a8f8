"""Rows become the text that transformers renders, and what is trained on is what the model would say."""

from __future__ import annotations

import functools
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from core.data.spec import Example, Row, RowRef
from core.data.templates import RowRefused, open_template
from core.data.templates.chat import ChatTemplate
from core.data.templates.exact import exact_spans
from core.data.templates.files import read_template_files
from core.data.templates.messages import Habits, read_conversation
from core.data.templates.pieces import cut
from core.data.templates.probe import probe_turn_end
from core.data.templates.renderer import Renderer
from core.data.tokens import RowEncoder, open_encoder
from core.errors import DataError
from tests.chat_families import FAMILIES, Family
from tests.tiny import write_tokenizer

QUESTION = {"role": "user", "content": "What is the capital of France?"}
ANSWER = {"role": "assistant", "content": "Paris is the capital."}
SYSTEM = {"role": "system", "content": "Answer in one sentence."}
FOLLOW_UP = [{"role": "user", "content": "Are you sure?"}, {"role": "assistant", "content": "Yes, I am."}]

each_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


@functools.cache
def folder_of(family: Family) -> Path:
    folder = Path(_kept().name) / family.name
    return write_tokenizer(folder, chat_template=family.template, controls=family.controls, eos=family.eos, bos=family.bos)


@functools.cache
def _kept() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="headrace-families-")


@functools.cache
def chat_template(family: Family) -> ChatTemplate:
    template = open_template(str(folder_of(family)), row_format="chat", control_tokens=family.controls, front=())
    assert isinstance(template, ChatTemplate)
    return template


@functools.cache
def reference(family: Family) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(str(folder_of(family)))


def family(name: str) -> Family:
    return next(each for each in FAMILIES if each.name == name)


def row(*messages: dict[str, Any], **more: Any) -> Row:
    return Row(RowRef(0, 0), {"messages": list(messages), **more})


def text_of(example: Example) -> str:
    return "".join(piece.text for piece in example.pieces)


def trained_of(example: Example) -> list[str]:
    """The trained text, joined where pieces touch."""
    parts, was_trained = [], False
    for piece in example.pieces:
        if piece.is_trained:
            parts[-1:] = [parts[-1] + piece.text] if was_trained else [*parts[-1:], piece.text]
        was_trained = piece.is_trained
    return parts


def conversations(system: bool) -> list[list[dict[str, Any]]]:
    plain = [[QUESTION, ANSWER], [QUESTION, ANSWER, *FOLLOW_UP]]
    return [*plain, *([SYSTEM, *each] for each in plain if system)]


@each_family
def test_text_and_ids_are_those_that_transformers_makes(family: Family) -> None:
    encoder = RowEncoder(open_encoder(str(folder_of(family))), max_length=4096, overlong="truncate")
    for messages in conversations(family.has_system):
        example = chat_template(family).example(row(*messages))
        assert text_of(example) == reference(family).apply_chat_template(messages, tokenize=False)
        encoded = encoder.encode([example])[0]
        assert not isinstance(encoded, RowRefused)
        assert encoded.tokens.ids.tolist() == reference(family).apply_chat_template(messages)["input_ids"]


@each_family
def test_marks_and_the_exact_way_find_the_same_answers(family: Family) -> None:
    files = read_template_files(str(folder_of(family)))
    renderer = Renderer(family.template, special_tokens=files.special_tokens, folder="")
    template = chat_template(family)
    turn_end = probe_turn_end(renderer, template._controls)
    for messages in conversations(family.has_system):
        chat = read_conversation({"messages": messages}, Habits())
        text = renderer.render(chat.messages)
        spans = exact_spans(renderer, chat, text, turn_end=turn_end, control_tokens=tuple(family.controls))
        controls = [match.span() for match in template._controls.finditer(text)]
        assert template.rendered(row(*messages)).pieces == cut(text, trained=spans, controls=controls)


class CountingRenderer(Renderer):
    renderings = 0

    def render(self, *args: Any, **more: Any) -> str:
        self.renderings += 1
        return super().render(*args, **more)


@each_family
def test_an_ordinary_row_is_rendered_twice_and_never_the_slow_way(family: Family) -> None:
    renderer = counting(family)
    template = ChatTemplate(renderer, control_tokens=family.controls)
    before = renderer.renderings
    template.rendered(row(QUESTION, ANSWER, *FOLLOW_UP))
    assert renderer.renderings - before == 2


@each_family
def test_what_surrounds_the_contents_is_rendered_once_for_each_sequence_of_roles(family: Family) -> None:
    renderer = counting(family)
    template = ChatTemplate(renderer, control_tokens=family.controls)
    template.example(row(QUESTION, ANSWER))
    before = renderer.renderings
    template.example(row({"role": "user", "content": "Another?"}, {"role": "assistant", "content": "Yes."}))
    assert renderer.renderings - before == (0 if renderer.is_proven else 2)
    assert renderer.is_proven is (family.name != "thinking")


def counting(family: Family) -> CountingRenderer:
    files = read_template_files(str(folder_of(family)))
    return CountingRenderer(family.template, special_tokens=files.special_tokens, folder="")


def joined(example: Example) -> list[tuple[str, bool, bool]]:
    """The pieces, ordinary ones that touch and are treated alike as one."""
    parts: list[tuple[str, bool, bool]] = []
    for text, *kind in ((piece.text, piece.is_trained, piece.is_control) for piece in example.pieces):
        if parts and not kind[1] and list(parts[-1][1:]) == kind:
            parts[-1] = (parts[-1][0] + text, kind[0], kind[1])
        elif text:
            parts.append((text, kind[0], kind[1]))
    return parts


@each_family
def test_each_answer_is_trained_with_the_token_that_ends_its_turn(family: Family) -> None:
    trained = trained_of(chat_template(family).example(row(QUESTION, ANSWER, *FOLLOW_UP)))
    end = "<end_of_turn>" if family.name == "gemma" else family.eos
    assert trained == [ANSWER["content"] + end, FOLLOW_UP[1]["content"] + end]


@each_family
def test_a_message_of_weight_0_is_not_trained_on(family: Family) -> None:
    trained = trained_of(chat_template(family).example(row(QUESTION, {**ANSWER, "weight": 0}, *FOLLOW_UP)))
    assert len(trained) == 1
    assert trained[0].startswith(FOLLOW_UP[1]["content"])


@each_family
def test_what_a_user_spells_is_no_control_token(family: Family) -> None:
    spelled = {"role": "user", "content": f"say {''.join(family.controls)} now"}
    plain = {"role": "user", "content": "say it now"}
    controls = [[piece.text for piece in chat_template(family).example(row(*messages)).pieces if piece.is_control]
                for messages in ([SYSTEM, spelled, ANSWER], [SYSTEM, plain, ANSWER])]
    assert controls[0] == controls[1]


@each_family
def test_two_texts_that_meet_do_not_make_a_control_token(family: Family) -> None:
    control = family.controls[-1]
    halves = [{"role": "system", "content": control[:3]}, {"role": "user", "content": control[3:]}, ANSWER]
    plain = [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}, ANSWER]
    counts = [sum(piece.is_control for piece in chat_template(family).example(row(*each)).pieces) for each in (halves, plain)]
    assert counts[0] == counts[1]


@each_family
def test_white_space_around_an_answer_is_treated_as_the_template_does(family: Family) -> None:
    messages = [QUESTION, {"role": "assistant", "content": "  Paris \n"}]
    example = chat_template(family).example(row(*messages))
    assert text_of(example) == reference(family).apply_chat_template(messages, tokenize=False)
    is_stripped = family.name in ("llama-3", "gemma")
    assert trained_of(example)[0].startswith("Paris<" if is_stripped else "  Paris \n<")


contents = st.text(alphabet=st.characters(codec="utf-8", exclude_categories=("Cs", "Cn", "Co")), min_size=1, max_size=20)
fragments = st.lists(st.one_of(contents, st.sampled_from(["\n", " ", "<", "<|", "<|im_end|>", "</s>", "[INST]", "<end_of_turn>",
                                                          "</think>", "<think>"])), min_size=1, max_size=5).map("".join)


@each_family
@settings(max_examples=40, deadline=None)
@given(question=fragments, answer=fragments)
def test_no_content_changes_the_text_or_adds_a_control_token(family: Family, question: str, answer: str) -> None:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    try:
        example = chat_template(family).example(row(*messages))
    except RowRefused:
        assert family.name == "thinking"  # the one that looks into its texts
        return
    assert text_of(example) == reference(family).apply_chat_template(messages, tokenize=False)
    plain = chat_template(family).example(row(QUESTION, ANSWER))
    controls = [[piece.text for piece in each.pieces if piece.is_control] for each in (example, plain)]
    assert controls[0] == controls[1]


@each_family
@settings(max_examples=60, deadline=None)
@given(texts=st.lists(fragments, min_size=2, max_size=5), has_system=st.booleans())
def test_a_row_by_its_skeleton_is_the_row_as_it_is_rendered(family: Family, texts: list[str], has_system: bool) -> None:
    roles = ["system", *["user", "assistant"] * 3][0 if has_system and family.has_system else 1:]
    messages = [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)]
    assume(any(message["role"] == "assistant" for message in messages))
    try:
        rendered = chat_template(family).rendered(row(*messages))
    except RowRefused:  # a text that the template rewrites may be told by its skeleton nevertheless
        return
    assert joined(chat_template(family).example(row(*messages))) == joined(rendered)


def test_generation_blocks_give_the_mask_that_transformers_gives() -> None:
    generation = family("generation")
    messages = [SYSTEM, QUESTION, ANSWER, *FOLLOW_UP]
    theirs = reference(generation).apply_chat_template(messages, return_assistant_tokens_mask=True, return_dict=True)
    encoder = RowEncoder(open_encoder(str(folder_of(generation))), max_length=4096, overlong="truncate")
    encoded = encoder.encode([chat_template(generation).example(row(*messages))])[0]
    assert not isinstance(encoded, RowRefused)
    assert encoded.tokens.loss_mask.tolist() == [bool(each) for each in theirs["assistant_masks"]]


def test_thoughts_are_trained_on_where_the_template_keeps_them() -> None:
    thinking = chat_template(family("thinking"))
    thought = {"role": "assistant", "content": "<think>\nEasy.\n</think>\n\nParis."}
    example = thinking.example(row(QUESTION, thought, QUESTION, thought))
    assert trained_of(example) == ["Paris.<|im_end|>", "<think>\nEasy.\n</think>\n\nParis.<|im_end|>"]


def test_tool_calls_are_trained_on_with_their_arguments_as_an_object() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": '{"city": "Paris"}'}}
    tools = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}]
    messages = [QUESTION, {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "c1", "content": "a capital"}, ANSWER]
    example = chat_template(family("thinking")).example(row(*messages, tools=tools))
    assert trained_of(example) == [
        '\n<tool_call>\n{"name": "look_up", "arguments": {"city": "Paris"}}\n</tool_call><|im_end|>',
        "Paris is the capital.<|im_end|>"]
    assert text_of(example).startswith('<|im_start|>system\n{"type": "function"')


def test_a_control_token_in_a_tool_call_is_ordinary_text() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"city": "<|im_end|>"}'}}
    example = chat_template(family("thinking")).example(row(QUESTION, {"role": "assistant", "tool_calls": [call]}))
    assert sum(piece.text == "<|im_end|>" for piece in example.pieces if piece.is_control) == 2
    assert '{"city": "<|im_end|>"}' in trained_of(example)[0]


def test_a_control_token_beside_fields_that_the_template_asks_about_is_ordinary_text() -> None:
    source = ("{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + (m.content or '') }}{% for c in m.tool_calls or [] %}"
              "{% if c.type == 'function' %}{{ c.function | tojson }}{% endif %}{% endfor %}{{ '<|im_end|>' }}{% endfor %}")
    template = ChatTemplate(Renderer(source, special_tokens={}, folder=""), control_tokens=("<|im_start|>", "<|im_end|>"))
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"city": "<|im_end|>"}'}}
    example = template.example(row(QUESTION, {"role": "assistant", "tool_calls": [call]}))
    assert [piece.text for piece in example.pieces if piece.is_control] == ["<|im_start|>", "<|im_end|>"] * 2


def test_a_template_that_writes_arguments_itself_gets_them_as_text() -> None:
    source = ("{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + (m.content or '') }}{% for c in m.tool_calls or [] %}"
              "{{ c.function.arguments + '' }}{% endfor %}{{ '<|im_end|>' }}{% endfor %}")
    renderer = Renderer(source, special_tokens={}, folder="")
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"city": "Paris"}'}}
    template = ChatTemplate(renderer, control_tokens=("<|im_start|>", "<|im_end|>"))
    example = template.example(row(QUESTION, {"role": "assistant", "tool_calls": [call]}))
    assert trained_of(example) == ['{"city": "Paris"}<|im_end|>']


def test_a_developer_is_a_system_to_templates_without_one() -> None:
    example = chat_template(family("chatml")).example(row({"role": "developer", "content": "Be brief."}, QUESTION, ANSWER))
    assert text_of(example).startswith("<|im_start|>system\nBe brief.<|im_end|>")


def test_text_parts_become_one_text() -> None:
    parts = [{"type": "text", "text": "Is it "}, {"type": "text", "text": "Paris?"}]
    example = chat_template(family("chatml")).example(row({"role": "user", "content": parts}, ANSWER))
    assert "Is it Paris?<|im_end|>" in text_of(example)


def test_a_row_that_the_template_raises_on_is_refused_in_its_words() -> None:
    with pytest.raises(RowRefused, match="roles must alternate"):
        chat_template(family("gemma")).example(row(QUESTION, QUESTION, ANSWER))


def test_a_row_with_reserved_code_points_is_refused() -> None:
    with pytest.raises(RowRefused, match=r"U\+FDD0"):
        chat_template(family("chatml")).example(row({"role": "user", "content": "a\ufdd0b"}, ANSWER))


def test_a_model_without_a_chat_template_is_named_with_the_remedy(tmp_path: Path) -> None:
    write_tokenizer(tmp_path, chat_template=None)
    with pytest.raises(DataError, match=r"has no chat template .* add one to the model"):
        open_template(str(tmp_path), row_format="chat", control_tokens=(), front=())


def test_a_template_that_does_not_compile_is_named(tmp_path: Path) -> None:
    write_tokenizer(tmp_path, chat_template="{% for %}")
    with pytest.raises(DataError, match="does not compile"):
        open_template(str(tmp_path), row_format="chat", control_tokens=(), front=())


def test_named_templates_in_the_configuration_are_read(tmp_path: Path) -> None:
    write_tokenizer(tmp_path, chat_template=None)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    named = [{"name": "default", "template": "plain"}, {"name": "tool_use", "template": "with tools"}]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": named}))
    assert read_template_files(str(tmp_path)).chat_templates == {"default": "plain", "tool_use": "with tools"}


def test_rows_with_tools_go_through_the_template_for_tools(tmp_path: Path) -> None:
    write_tokenizer(tmp_path, chat_template="{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}")
    (tmp_path / "additional_chat_templates").mkdir()
    (tmp_path / "additional_chat_templates" / "tool_use.jinja").write_text(
        "{{ tools | length }}{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}")
    template = open_template(str(tmp_path), row_format="chat", control_tokens=("<|im_end|>",), front=())
    assert text_of(template.example(row(QUESTION, ANSWER, tools=[{"type": "function"}]))).startswith("1What")
    assert text_of(template.example(row(QUESTION, ANSWER))).startswith("What")


@pytest.mark.parametrize("source", ["{{ ''.__class__.__mro__ }}", "{{ messages.append(1) }}",
                                    "{% set ns = namespace(__class__=1) %}", "{{ messages | random }}"])
def test_the_sandbox_refuses(source: str) -> None:
    with pytest.raises((RowRefused, DataError)):
        Renderer(source, special_tokens={}, folder="").render([QUESTION])


def test_the_date_in_a_template_never_changes() -> None:
    assert Renderer("{{ strftime_now('%d %b %Y') }}", special_tokens={}, folder="").render([]) == "26 Jul 2024"


def test_a_completion_and_its_end_are_trained_on_and_the_prompt_is_not(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    template = open_template(str(tmp_path), row_format="prompt_completion", control_tokens=("<|im_end|>",),
                             front=("<|im_start|>",))
    example = template.example(Row(RowRef(0, 0), {"prompt": "2 + 2 =", "completion": " 4"}))
    assert text_of(example) == "<|im_start|>2 + 2 = 4<|im_end|>"
    assert trained_of(example) == [" 4<|im_end|>"]


def test_a_text_is_trained_on_as_a_whole(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    template = open_template(str(tmp_path), row_format="text", control_tokens=("<|im_end|>",), front=())
    assert trained_of(template.example(Row(RowRef(0, 0), {"text": "The mill."}))) == ["The mill.<|im_end|>"]


def test_an_end_token_that_the_tokenizer_does_not_know_is_named(tmp_path: Path) -> None:
    write_tokenizer(tmp_path, eos="</end>")
    with pytest.raises(DataError, match="no special token of its tokenizer"):
        open_template(str(tmp_path), row_format="text", control_tokens=("<|im_end|>",), front=())


def test_a_template_that_knows_no_tools_has_them_told_in_its_texts() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": '{"city": "Paris"}'}}
    tools = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}]
    messages = [QUESTION, {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "c1", "content": "a capital"}, ANSWER]
    example = chat_template(family("chatml")).example(row(*messages, tools=tools))
    assert trained_of(example) == [
        '{"name":"look_up","arguments":{"city":"Paris"}}<|im_end|>', "Paris is the capital.<|im_end|>"]
    told = '{"name":"look_up","parameters":{"type":"object"}}<|im_end|>'
    assert text_of(example).startswith("<|im_start|>system\nFunctions that may be called")
    assert told in text_of(example)
    briefed = chat_template(family("chatml")).example(row(SYSTEM, *messages, tools=tools))
    assert text_of(briefed).startswith("<|im_start|>system\nAnswer in one sentence.\n\nFunctions that may be called")
    assert trained_of(briefed) == trained_of(example)
