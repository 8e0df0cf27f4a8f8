"""Measure the reader of a stream: private memory, time to the first batch, tokens per CPU second, by size of the data.

For each size: write seeded chat rows, register them, then start the read-ahead process as a run does and take batches from
it. Memory is the process's private memory (smaps_rollup), its highest value less that of a process that has only imported
the reader's modules; once with the pages of the index that it has mapped, which are the page cache's and grow with the
rows that were looked up, and once without (Private_Dirty alone). CPU time is the process's own, from its first batch to its
last.

    python bench/stream/run.py [--model DIR] [--megabytes 10 1000 4000] [--steps 300] [--starts 5]

Without a model's folder, the tokenizer is a byte-level BPE of 4,000 entries, trained on the spot.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bench.generate import iter_rows, write_rows  # noqa: E402
from core.data.ahead import read_ahead  # noqa: E402
from core.data.index import build_index  # noqa: E402
from core.data.process import bare_environment, python_command  # noqa: E402
from core.data.spec import MixtureEntry, SourceSpec, StreamSpec  # noqa: E402

FOLDER = Path(__file__).resolve().parent
WORK = FOLDER / "work"
BATCH_SIZE = 16
MAX_LENGTH = 2048
MICRO_BATCH_TOKENS = 8192
READ_AHEAD_BYTES = 4 << 20
"""Small, so that the tokens taken and the tokens made differ by less than a hundredth."""


def main() -> None:
    asked = _arguments()
    model, tokenizer = (asked.model, "SmolLM2 tokenizer") if asked.model else (_train_tokenizer(), "BPE of 4,000 entries")
    rows = [row for megabytes in asked.megabytes for row in _measure(megabytes, model, tokenizer, asked)]
    told = {"commit": _commit(), "machine": _machine(), "command": " ".join(["python", "bench/stream/run.py", *sys.argv[1:]]),
            "rows": rows}
    (FOLDER / "results.json").write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2) + b"\n")
    for row in rows:
        print(f"{row['metric']:24} {row['case']:70} {row['value']:>14,.2f} {row['unit']}  runs {row['runs']}")


def _measure(megabytes: int, model: Path, tokenizer: str, asked: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Measure one size, and leave none of its files behind."""
    case = f"{_size(megabytes)} chat JSONL, {tokenizer}, batch {BATCH_SIZE}, shuffled"
    try:
        spec = _registered(megabytes, model)
        starts = [_first_batch_seconds(spec) for _ in range(asked.starts)]
        yield _row("first_batch_seconds", case, statistics.median(starts), "s", asked.starts)
        whole, own, rate = _read(spec, asked.steps)
        yield _row("private_memory_bytes", f"{case}, beyond imports, {asked.steps} steps", whole, "bytes", 1)
        yield _row("private_memory_bytes", f"{case}, beyond imports and mapped index, {asked.steps} steps", own, "bytes", 1)
        yield _row("tokens_per_cpu_second", f"{case}, {asked.steps} steps", rate, "tokens/s", 1)
    finally:
        _clear(f"{megabytes}.jsonl", f"{megabytes}.index")


def _registered(megabytes: int, model: Path) -> StreamSpec:
    path, index_path = WORK / f"{megabytes}.jsonl", WORK / f"{megabytes}.index"
    write_rows(path, size_bytes=megabytes * 1_000_000)
    report = build_index(path, index_path, shape="chat")
    source = SourceSpec.of_file("rows", str(path), str(index_path), "chat", report.sha256)
    return StreamSpec((source,), (MixtureEntry(1, (1.0,)),), seed=1, epochs=50, batch_size=BATCH_SIZE, max_length=MAX_LENGTH,
                      micro_batch_tokens=MICRO_BATCH_TOKENS, tokenizer_path=str(model), tokenizer_digest="")


def _first_batch_seconds(spec: StreamSpec) -> float:
    started = time.perf_counter()
    with read_ahead(spec, None) as ahead:
        next(ahead)
        return time.perf_counter() - started


def _read(spec: StreamSpec, steps: int) -> tuple[int, int, float]:
    """The highest private memory beyond imports, with and without mapped pages, and the tokens per CPU second."""
    tokens = whole = own = 0
    with read_ahead(spec, None, byte_budget=READ_AHEAD_BYTES) as ahead:
        next(ahead)
        before = _cpu_seconds(ahead.pid)
        for number, batch in enumerate(islice(ahead, steps)):
            tokens += batch.tokens
            if number % 10 == 0:
                whole, own = max(whole, _private_bytes(ahead.pid)), max(own, _private_bytes(ahead.pid, "Private_Dirty"))
        rate = tokens / (_cpu_seconds(ahead.pid) - before)
    return whole - _imports_bytes("Private_"), own - _imports_bytes("Private_Dirty"), rate


def _imports_bytes(kind: str) -> int:
    """Private memory of a process that has imported what the reader imports, and has done nothing."""
    program = "import core.data.ahead.__main__, sys; print(flush=True); sys.stdin.read()"
    command = [*python_command("core")[:1], "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=bare_environment()) as process:
        assert process.stdout is not None
        process.stdout.readline()
        size = _private_bytes(process.pid, kind)
        process.kill()
    return size


def _private_bytes(pid: int, kind: str = "Private_") -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(kind))


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ")[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _train_tokenizer() -> Path:
    """A byte-level BPE over rows of another seed, with ChatML."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    from tests.tiny import CHATML, CONTROLS

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=4000, special_tokens=list(CONTROLS), show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    texts = (message["content"] for row in islice(iter_rows(99), 300) for message in row["messages"])
    tokenizer.train_from_iterator(texts, trainer)
    folder = WORK / "tokenizer"
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_bytes(orjson.dumps({"eos_token": "<|im_end|>"}))
    (folder / "chat_template.jinja").write_text(CHATML)
    return folder


def _row(metric: str, case: str, value: float, unit: str, runs: int) -> dict[str, Any]:
    return {"system": "headrace", "metric": metric, "case": case, "value": round(value, 4), "unit": unit, "runs": runs}


def _size(megabytes: int) -> str:
    return f"{megabytes // 1000} GB" if megabytes >= 1000 else f"{megabytes} MB"


def _clear(*names: str) -> None:
    for path in (WORK / name for name in names):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _commit() -> str:
    command = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    name = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "unknown processor")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} cores of {name}, {memory:.0f} GiB, Python {sys.version.split()[0]}, load {load:.1f} at the end"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the reader of a stream.")
    parser.add_argument("--model", type=Path, help="a model's folder with tokenizer.json and a chat template")
    parser.add_argument("--megabytes", type=int, nargs="+", default=[10, 1000, 4000])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--starts", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    main()
