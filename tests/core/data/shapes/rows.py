"""One row of each shape, and the canonical value that it stands for."""

from __future__ import annotations

import json
from typing import Any

ASK, ANSWER = {"role": "user", "content": "How high?"}, {"role": "assistant", "content": "Two metres."}
BAD = {"role": "assistant", "content": "No idea."}
SYSTEM = {"role": "system", "content": "Be brief."}
FUNCTION = {"name": "gauge", "description": "Reads the gauge.", "parameters": {"type": "object"}}
TOOL = {"type": "function", "function": FUNCTION}
CHAT = {"messages": [ASK, ANSWER]}
PAIR = {"messages": [ASK], "chosen": [ANSWER], "rejected": [BAD]}


def call(call_id: str, arguments: str = '{"at":"weir"}') -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": [
        {"id": call_id, "type": "function", "function": {"name": "gauge", "arguments": arguments}}]}


def said(role: str, text: str) -> dict[str, str]:
    return {"from": role, "value": text}


CALLED = [said("human", "How high?"), said("function_call", json.dumps({"name": "gauge", "arguments": {"at": "weir"}})),
          said("observation", "2 m"), said("gpt", "Two metres.")]

SHAPED: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("chat", CHAT, CHAT),
    ("chat", {"conversations": [ASK, ANSWER]}, CHAT),
    ("sharegpt", {"conversations": [said("human", "How high?"), said("gpt", "Two metres.")]}, CHAT),
    ("sharegpt", {"messages": [said("user", "How high?"), said("assistant", "Two metres.")], "system": ""}, CHAT),
    ("sharegpt", {"conversations": [{"role": "human", "content": "How high?"}, {"role": "gpt", "content": "Two metres."}]},
     CHAT),
    ("sharegpt", {"conversations": [said("human", "How high?"), said("gpt", "Two metres.")], "system": "Be brief."},
     {"messages": [SYSTEM, ASK, ANSWER]}),
    ("sharegpt", {"conversations": CALLED, "tools": json.dumps([FUNCTION])},
     {"messages": [ASK, call("c00001000"), {"role": "tool", "tool_call_id": "c00001000", "content": "2 m"}, ANSWER],
      "tools": [TOOL]}),
    ("alpaca", {"instruction": "How high?", "input": "", "output": "Two metres."}, CHAT),
    ("alpaca", {"instruction": "How", "input": "high?", "output": "Two metres."},
     {"messages": [{"role": "user", "content": "How\nhigh?"}, ANSWER]}),
    ("alpaca", {"instruction": "How high?", "output": "Two metres.", "system": "Be brief.", "history": [["Hm?", "Yes?"]]},
     {"messages": [SYSTEM, {"role": "user", "content": "Hm?"}, {"role": "assistant", "content": "Yes?"}, ASK, ANSWER]}),
    ("prompt_completion", {"prompt": "How", "completion": " high?", "id": 3}, {"prompt": "How", "completion": " high?"}),
    ("prompt_completion", {"prompt": [ASK, BAD, ASK], "completion": [ANSWER]},
     {"messages": [ASK, {**BAD, "weight": 0}, ASK, ANSWER]}),
    ("text", {"text": "The wheel turns.", "id": 3}, {"text": "The wheel turns."}),
    ("preference_openai", {"input": {"messages": [ASK], "tools": [TOOL]}, "preferred_output": [ANSWER],
                           "non_preferred_output": [BAD]}, {**PAIR, "tools": [TOOL]}),
    ("preference_sharegpt", {"conversations": [said("human", "How high?")], "chosen": said("gpt", "Two metres."),
                             "rejected": said("gpt", "No idea.")}, PAIR),
    ("preference_sharegpt", {"messages": [ASK], "chosen": ANSWER, "rejected": BAD}, PAIR),
    ("preference_alpaca", {"instruction": "How high?", "input": "", "chosen": "Two metres.", "rejected": "No idea."}, PAIR),
    ("preference_trl", {"prompt": "How", "chosen": " high?", "rejected": " now?"},
     {"prompt": "How", "chosen": " high?", "rejected": " now?"}),
    ("preference_trl", {"prompt": [ASK], "chosen": [ANSWER], "rejected": [BAD]}, PAIR),
    ("preference_trl", {"chosen": [ASK, ANSWER], "rejected": [ASK, BAD]}, PAIR),
    ("preference_trl", {"prompt": "How high?", "chosen": [ASK, ANSWER], "rejected": [ASK, BAD]}, PAIR),
    ("preference_trl", {"prompt": "How high?", "chosen": [ANSWER], "rejected": [BAD]}, PAIR),
]
