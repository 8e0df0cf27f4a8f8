"""Can a chat template's text be told from the roles alone? A proof by reading the template, once, when it is opened.

The question is asked for *ordinary* conversations: messages of a role and a content, each content a text that is not blank,
no tools. The template is proven when contents do nothing but flow into the output, joined to other texts and trimmed at
their ends: never compared, cut, measured, searched, or handed to a filter. Then what the template writes *around* the
contents is a function of the roles, and can be learned by rendering once (`skeleton`).

An abstract reading of the template's syntax tree. Every expression has a *kind*: `free` of contents, `text` made of them, a
`message`, the `messages`, a `loop`, a `namespace`; and a *truth*, where it is the same for all ordinary conversations (a
content is a string and not empty, a tool call is not there): a branch that is never taken need not be proven. Names follow
jinja2's scopes: what a loop sets is gone behind it, what one branch sets may be unset. A namespace's attributes live as long
as the template, so they keep the join of all that they are given, and the reading is repeated until that stands still.
What is not known here (a macro that is called, say) is not proven; such a template is rendered for every row.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from jinja2 import nodes

Kind = Literal["free", "text", "message", "messages", "loop", "namespace", "macro"]

_LOOP_NUMBERS = {"index", "index0", "revindex", "revindex0", "first", "last", "length", "depth", "depth0"}
_OF_A_TEXT = {"string": True, "defined": True, "sequence": True, "iterable": True, "undefined": False, "none": False,
              "mapping": False, "number": False, "boolean": False, "false": False, "true": False}
"""What tests say of a text."""
_OF_A_MESSAGE = {"defined": True, "mapping": True, "iterable": True, "undefined": False, "none": False, "string": False}
_KEYS = {"role", "content"}
"""Of an ordinary message."""
_MOST_READINGS = 32


class _Unproven(Exception):
    pass


@dataclass(frozen=True)
class _Value:
    kind: Kind = "free"
    truth: bool | None = None


_FREE = _Value()
_ABSENT = _Value("free", False)
"""A key that a message lacks, and what is None."""
_UNSET = _Value("free", False)
_TEXT = _Value("text", True)
_MESSAGE = _Value("message", True)


def writes_contents_only(tree: nodes.Template) -> bool:
    """Whether all that the template does with contents is to write them, so that roles alone decide the rest."""
    attributes: dict[str, _Value] = {}
    try:
        for _ in range(_MOST_READINGS):
            before = dict(attributes)
            _Reading(attributes).statements(tree.body)
            if attributes == before:
                return True
    except (_Unproven, RecursionError):
        return False
    return False


class _Reading:
    def __init__(self, attributes: dict[str, _Value]) -> None:
        self._attributes = attributes
        """Of all namespaces together."""
        self._names: dict[str, _Value] = {"messages": _Value("messages", True), "tools": _ABSENT, "documents": _ABSENT}

    # statements

    def statements(self, body: Iterable[nodes.Node]) -> None:
        for node in body:
            self._statement(node)

    def _statement(self, node: nodes.Node) -> None:
        match node:
            case nodes.Output():
                for each in node.nodes:
                    self._plain(each)
            case nodes.If():
                self._if(node)
            case nodes.For():
                self._for(node)
            case nodes.Assign():
                self._give(node.target, self._value(node.node))
            case nodes.AssignBlock() if node.filter is None or _is_trim(node.filter):
                self._inside(node.body)
                self._give(node.target, _Value("text"))
            case nodes.Macro():
                self._names[node.name] = _Value("macro", True)
            case nodes.CallBlock() if isinstance(node.call.node, nodes.ExtensionAttribute):
                self._inside(node.body)  # the generation block, the only extension that has one
            case nodes.Break() | nodes.Continue():
                pass
            case _:
                raise _Unproven

    def _if(self, node: nodes.If) -> None:
        before = self._names
        ends: list[dict[str, _Value]] = []
        for test, body in [(node.test, node.body), *((each.test, each.body) for each in node.elif_)]:
            truth = self._value(test).truth
            if truth is not False:
                ends.append(self._after(body, before))
            if truth is True:
                break
        else:
            ends.append(self._after(node.else_, before))
        names = {name for end in ends for name in end}
        self._names = {name: functools.reduce(_joined, [end.get(name, _UNSET) for end in ends]) for name in names}

    def _after(self, body: Iterable[nodes.Node], before: dict[str, _Value]) -> dict[str, _Value]:
        self._names = dict(before)
        self.statements(body)
        after, self._names = self._names, before
        return after

    def _inside(self, body: Iterable[nodes.Node], **names: _Value) -> None:
        """Read a scope of its own, which leaves no name behind."""
        before = self._names
        self._names = {**before, **names}
        self.statements(body)
        self._names = before

    def _for(self, node: nodes.For) -> None:
        over = self._value(node.iter)
        if node.recursive or over.kind not in ("free", "messages"):
            raise _Unproven
        if over.kind == "messages" and not isinstance(node.target, nodes.Name):
            raise _Unproven
        each = _MESSAGE if over.kind == "messages" else _FREE
        targets = [node.target] if isinstance(node.target, nodes.Name) else node.target.find_all(nodes.Name)
        names = {target.name: each for target in targets}
        if node.test is not None:
            before, self._names = self._names, {**self._names, **names}
            self._value(node.test)
            self._names = before
        self._inside(node.body, **names, loop=_Value("loop", True))
        self._inside(node.else_)

    def _give(self, target: nodes.Node, value: _Value) -> None:
        match target:
            case nodes.Name():
                self._names[target.name] = value
            case nodes.NSRef():
                self._give_attribute(target.attr, value)
            case nodes.Tuple() if value.kind == "free":
                for each in target.items:
                    self._give(each, _FREE)
            case _:
                raise _Unproven

    def _give_attribute(self, name: str, value: _Value) -> None:
        held = self._attributes.get(name, value)
        self._attributes[name] = _Value(_joined(held, value).kind)

    # expressions: what they are

    def _value(self, node: nodes.Node) -> _Value:
        reader = _READERS.get(type(node))
        if reader is None:
            raise _Unproven
        return reader(self, node)

    def _is(self, node: nodes.Node, kind: Kind) -> bool:
        return self._value(node).kind == kind

    def _plain(self, node: nodes.Node) -> _Value:
        """A value that may be written or asked for its truth."""
        value = self._value(node)
        if value.kind not in ("free", "text"):
            raise _Unproven
        return value

    def _free(self, node: nodes.Node) -> _Value:
        value = self._value(node)
        if value.kind != "free":
            raise _Unproven
        return value

    def _const(self, node: nodes.Const) -> _Value:
        return _Value("free", bool(node.value))

    def _name(self, node: nodes.Name) -> _Value:
        if node.name in ("self", "super", "caller", "varargs", "kwargs"):
            raise _Unproven
        return self._names.get(node.name, _FREE)

    def _part(self, node: nodes.Getitem | nodes.Getattr) -> _Value:
        whole = self._value(node.node)
        key = node.attr if isinstance(node, nodes.Getattr) else node.arg
        name = key.value if isinstance(key, nodes.Const) else key
        match whole.kind:
            case "messages" if isinstance(node, nodes.Getitem):
                self._all_free(key)
                return _Value("messages") if isinstance(key, nodes.Slice) else _Value("message", True if name == 0 else None)
            case "message" if isinstance(name, str) and not hasattr(dict, name):
                return _TEXT if name == "content" else _ABSENT if name != "role" else _FREE
            case "loop" if name in _LOOP_NUMBERS:
                return _FREE
            case "loop" if name in ("previtem", "nextitem"):
                return _Value("message")
            case "namespace" if isinstance(node, nodes.Getattr):
                return self._attributes.get(node.attr, _FREE)
            case "free":
                self._all_free(key)
                return _FREE
        raise _Unproven

    def _all_free(self, key: Any) -> None:
        parts = [key.start, key.stop, key.step] if isinstance(key, nodes.Slice) else [key]
        for part in parts:
            if isinstance(part, nodes.Node):
                self._free(part)

    def _call(self, node: nodes.Call) -> _Value:
        given = [*node.args, *(each.value for each in node.kwargs)]
        match node.node:
            case nodes.Name(name="raise_exception"):
                return _FREE
            case nodes.Name(name="namespace"):
                if node.args or node.dyn_args is not None or node.dyn_kwargs is not None:
                    raise _Unproven
                for each in node.kwargs:
                    self._give_attribute(each.key, self._value(each.value))
                return _Value("namespace", True)
            case nodes.Getattr(node=whole, attr="get") if len(node.args) == len(given) == 1 and self._is(whole, "message"):
                return self._part(nodes.Getitem(whole, given[0], "load"))
            case nodes.Getattr(node=whole, attr="strip") if not given and self._is(whole, "text"):
                return self._value(whole)
        self._free(node.node)
        if node.dyn_args is not None or node.dyn_kwargs is not None:
            raise _Unproven
        for each in given:
            self._free(each)
        return _FREE

    def _filter(self, node: nodes.Filter) -> _Value:
        if node.node is None:
            raise _Unproven
        value = self._value(node.node)
        for each in node.args:
            self._free(each)
        if node.kwargs or node.dyn_args is not None or node.dyn_kwargs is not None:
            if value.kind != "free":
                raise _Unproven
            for each in node.kwargs:
                self._free(each.value)
        match value.kind, node.name:
            case "free", _:
                return _FREE
            case "text", "trim" if not node.args:
                return value
            case "text", "string" | "default" | "d":
                return value if node.name == "string" else _joined(value, _FREE)
            case "messages", "length" | "count":
                return _FREE
            case "messages", "list":
                return value
            case "messages", "first" | "last":
                return _Value("message", value.truth)
        raise _Unproven

    def _test(self, node: nodes.Test) -> _Value:
        value = self._value(node.node)
        told = {"text": _OF_A_TEXT, "message": _OF_A_MESSAGE, "messages": {**_OF_A_MESSAGE, "mapping": False}}.get(value.kind)
        if told is not None:
            if node.name not in told:
                raise _Unproven
            return _Value("free", told[node.name] if value.truth else None)
        if value.kind != "free":
            raise _Unproven
        for each in node.args or []:
            self._free(each)
        if value == _ABSENT and node.name in ("defined", "undefined") and isinstance(node.node, nodes.Getattr | nodes.Getitem):
            return _Value("free", node.name == "undefined")  # a key that no ordinary message has; `tools` is None, and defined
        return _FREE

    def _compare(self, node: nodes.Compare) -> _Value:
        if len(node.ops) == 1:
            left, operand = self._value(node.expr), node.ops[0]
            right = self._value(operand.expr)
            if operand.op in ("eq", "ne") and left.kind == "text" and _is_none(operand.expr):
                return _Value("free", operand.op == "ne" if left.truth else None)
            if operand.op in ("in", "notin") and right.kind == "message" and isinstance(node.expr, nodes.Const):
                return _Value("free", (node.expr.value in _KEYS) == (operand.op == "in"))
        self._free(node.expr)
        for operand in node.ops:
            self._free(operand.expr)
        return _FREE

    def _joining(self, node: nodes.Concat | nodes.Add) -> _Value:
        parts = [self._plain(each) for each in (node.nodes if isinstance(node, nodes.Concat) else (node.left, node.right))]
        if not any(part.kind == "text" for part in parts):
            return _FREE
        return _Value("text", True if any(part == _TEXT for part in parts) else None)

    def _reckoning(self, node: nodes.BinExpr) -> _Value:
        self._free(node.left)
        self._free(node.right)
        return _FREE

    def _choice(self, node: nodes.CondExpr) -> _Value:
        truth = self._value(node.test).truth
        other = self._value(node.expr2) if node.expr2 is not None and truth is not True else _ABSENT
        if truth is False:
            return other
        chosen = self._value(node.expr1)
        return chosen if truth is True else _joined(chosen, other)

    def _either(self, node: nodes.Or | nodes.And) -> _Value:
        decides = isinstance(node, nodes.Or)
        left = self._value(node.left)
        if left.truth is decides:
            return left
        right = self._value(node.right)
        if left.truth is not None:
            return right
        return _Value(_joined(left, right).kind, decides if right.truth is decides else None)

    def _not(self, node: nodes.Not) -> _Value:
        truth = self._value(node.node).truth
        return _Value("free", None if truth is None else not truth)

    def _sign(self, node: nodes.Neg | nodes.Pos) -> _Value:
        self._free(node.node)
        return _FREE

    def _group(self, node: nodes.List | nodes.Tuple | nodes.Dict) -> _Value:
        for each in node.items:
            for inner in (each.key, each.value) if isinstance(each, nodes.Pair) else (each,):
                self._free(inner)
        return _Value("free", bool(node.items))


def _joined(one: _Value, other: _Value) -> _Value:
    kinds = {one.kind, other.kind}
    if len(kinds) > 1 and kinds != {"free", "text"}:
        raise _Unproven
    return _Value("text" if "text" in kinds else one.kind, one.truth if one.truth is other.truth else None)


def _is_trim(node: nodes.Filter) -> bool:
    return node.name == "trim" and not node.args and not node.kwargs


def _is_none(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Const) and node.value is None


_READERS: dict[type[nodes.Node], Callable[[_Reading, Any], _Value]] = {
    nodes.Const: _Reading._const, nodes.TemplateData: lambda reading, node: _FREE, nodes.Name: _Reading._name,
    nodes.Getitem: _Reading._part, nodes.Getattr: _Reading._part, nodes.Call: _Reading._call,
    nodes.Filter: _Reading._filter, nodes.Test: _Reading._test, nodes.Compare: _Reading._compare,
    nodes.Concat: _Reading._joining, nodes.Add: _Reading._joining, nodes.CondExpr: _Reading._choice,
    nodes.Or: _Reading._either, nodes.And: _Reading._either, nodes.Not: _Reading._not, nodes.Neg: _Reading._sign,
    nodes.Pos: _Reading._sign, nodes.List: _Reading._group, nodes.Tuple: _Reading._group, nodes.Dict: _Reading._group,
    **dict.fromkeys((nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Pow), _Reading._reckoning),
}
