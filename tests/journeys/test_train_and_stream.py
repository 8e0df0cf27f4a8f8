"""Upload, submit, watch the stream to its end, load the adapter, read the result."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.journeys import jobs
from tests.servers import Server


def test_a_job_goes_from_upload_to_an_adapter_that_peft_loads(server: Server, tmp_path: Path) -> None:
    with server.client() as client:
        job_id = jobs.submit(client, jobs.upload(client, jobs.chat_rows(24)), validation_split=0.2, suffix="first",
                             options={"sample_prompts": ["What is 2 and 2?"], "sample_max_tokens": 4})
        lines = stream_lines(client, job_id)
        job = jobs.get_job(client, job_id)
        events = jobs.all_events(client, job_id)
        rows = jobs.result_rows(client, job)
        adapter = download(client, job_id, tmp_path / "adapter")

    assert job["status"] == "succeeded"
    assert lines[-1] == "data: [DONE]"
    total = job["progress"]["total_steps"]
    assert jobs.steps(events) == list(range(1, total + 1))
    assert jobs.numbers(events) == list(range(1, len(events) + 1))
    assert [int(row["step"]) for row in rows] == list(range(1, total + 1))
    assert jobs.codes(events)[:4] == ["job.created", "job.validating", "job.queued", "run.started"]
    assert jobs.codes(events)[-1] == "job.succeeded"
    assert jobs.codes(events).count("sample.generated") == 2
    assert "PeftModelForCausalLM" in load_with_peft(server.home / "models" / "tiny", adapter)


def stream_lines(client, job_id: str) -> list[str]:
    with client.stream("GET", f"{jobs.JOBS}/{job_id}/events", params={"stream": "true"},
                       headers={"Accept": "text/event-stream"}) as answer:
        return [line for line in answer.iter_lines() if line.startswith(("id:", "data:"))]


def download(client, job_id: str, folder: Path) -> Path:
    folder.mkdir()
    checkpoint = client.get(f"{jobs.JOBS}/{job_id}/checkpoints").json()["data"][0]["id"]
    base = f"{jobs.JOBS}/{job_id}/checkpoints/{checkpoint}/files"
    for file in client.get(base).raise_for_status().json()["data"]:
        (folder / file["name"]).write_bytes(client.get(f"{base}/{file['name']}").raise_for_status().content)
    return folder


def load_with_peft(base: Path, adapter: Path) -> str:
    """In a process of its own, so that the tests' process stays free of torch."""
    program = ("import sys; from peft import PeftModel; from transformers import AutoModelForCausalLM as A; "
               "print(type(PeftModel.from_pretrained(A.from_pretrained(sys.argv[1]), sys.argv[2])).__name__)")
    done = subprocess.run([sys.executable, "-c", program, str(base), str(adapter)], capture_output=True, text=True, check=True,
                          timeout=120)
    return done.stdout
