"""The example data is what it says, and the example programs read."""

from __future__ import annotations

import ast
import json
import subprocess
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def test_the_miller_answers_every_question_once_and_in_his_voice() -> None:
    rows = [json.loads(line) for line in (EXAMPLES / "data" / "miller.jsonl").read_text().splitlines()]
    questions = [row["messages"][0]["content"] for row in rows]
    answers = [row["messages"][1]["content"] for row in rows]

    assert len(rows) == 240
    assert len(set(questions)) == len(set(answers)) == 240
    assert all([m["role"] for m in row["messages"]] == ["user", "assistant"] for row in rows)
    assert all(answer.endswith("So turns the wheel.") for answer in answers)
    assert all(60 < len(answer) < 200 for answer in answers)


def test_no_prompt_of_the_demo_is_in_the_data() -> None:
    from cli.demo import DATA, PROMPTS

    assert not [prompt for prompt in PROMPTS if prompt in DATA.read_text()]


def test_the_programs_are_whole() -> None:
    ast.parse((EXAMPLES / "submit_and_watch.py").read_text())
    subprocess.run(["sh", "-n", str(EXAMPLES / "submit_and_watch.sh")], check=True)
