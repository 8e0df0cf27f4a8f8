"""Submit a fine-tuning job with the official `openai` client, and watch it.

    export HEADRACE_API_KEY=$(.venv/bin/headrace keys create example)
    .venv/bin/headrace models add --builtin smollm2-135m-instruct
    .venv/bin/python examples/submit_and_watch.py examples/data/miller.jsonl

Only the address differs from a program that fine-tunes at OpenAI.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from openai import OpenAI

FINISHED = ("succeeded", "failed", "cancelled")


def main(path: str, model: str = "smollm2-135m-instruct") -> int:
    client = OpenAI(base_url=os.environ.get("HEADRACE_API_URL", "http://127.0.0.1:8080") + "/v1",
                    api_key=os.environ["HEADRACE_API_KEY"])
    file = client.files.create(file=Path(path), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(
        model=model, training_file=file.id, suffix="example", seed=7,
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 1, "batch_size": 8}}},
        extra_body={"validation_split": 0.08, "lora": {"r": 8}, "options": {"learning_rate": 1e-3}},  # Headrace's own fields
    )
    print(job.id)
    watch(client, job.id)
    job = client.fine_tuning.jobs.retrieve(job.id)
    print(job.status, job.fine_tuned_model or (job.error and job.error.message))
    if job.result_files:
        print(client.files.content(job.result_files[0]).text)
    return 0 if job.status == "succeeded" else 1


def watch(client: OpenAI, job_id: str) -> None:
    """Print each event once, oldest first, until the job has ended."""
    seen: set[str] = set()
    is_over = False
    while not is_over:
        is_over = client.fine_tuning.jobs.retrieve(job_id).status in FINISHED
        fresh = [event for event in client.fine_tuning.jobs.list_events(job_id, limit=100) if event.id not in seen]
        for event in reversed(fresh):
            print(event.message, flush=True)
        seen.update(event.id for event in fresh)
        time.sleep(0 if is_over else 1)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
