"""Commands as people and scripts run them: against a server, as processes, by their output and exit code."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import MILLER, run
from tests.servers import Server
from tests.waiting import wait_for


def succeeded(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def job(server: Server) -> str:
    """A job that `submit --watch` has followed to its end; gives its id."""
    done = run(server, "submit", MILLER, "--model", "tiny", "--epochs", "1", "--batch-size", "60", "--split", "0.1", "--seed",
               "3", "--lora-r", "4", "--suffix", "cli", "--watch")
    assert "succeeded: ft:tiny:" in succeeded(done)
    return json.loads(succeeded(run(server, "jobs", "list", "--json")))[0]["id"]


def test_a_job_that_was_watched_shows_what_was_asked(server: Server, job: str) -> None:
    told = json.loads(succeeded(run(server, "jobs", "show", job, "--json")))

    assert told["status"] == "succeeded"
    assert told["hyperparameters"]["batch_size"] == 60
    assert (told["seed"], told["validation_split"], told["lora"]["r"], told["suffix"]) == (3, 0.1, 4, "cli")


def test_watching_with_json_gives_the_whole_log_and_nothing_else(server: Server, job: str) -> None:
    events = [json.loads(line) for line in succeeded(run(server, "watch", job, "--json")).splitlines()]

    steps = [event["data"]["step"] for event in events if event["type"] == "metrics"]
    assert steps == list(range(1, len(steps) + 1))
    assert events[0]["data"]["code"] == "job.created"
    assert events[-1]["data"]["code"] == "job.succeeded"


def test_a_job_reads_well_without_json(server: Server, job: str) -> None:
    assert job in succeeded(run(server, "jobs", "list"))
    assert "base model" in succeeded(run(server, "jobs", "show", job))
    assert "The job has succeeded" in succeeded(run(server, "jobs", "events", job))
    assert "ckpt-step-" in succeeded(run(server, "jobs", "checkpoints", job))
    assert json.loads(succeeded(run(server, "logs", job, "--json")))["job"] == job


def test_an_estimate_tells_what_a_job_takes_before_it_is_submitted(server: Server, job: str) -> None:
    asked = ("estimate", MILLER, "--model", "tiny", "--epochs", "2", "--batch-size", "8", "--micro-batch", "256")
    told = json.loads(succeeded(run(server, *asked, "--json")))
    assert (told["data"]["rows"], told["data"]["steps"], told["memory"]["micro_batch_tokens"]) == (240, 60, 256)
    assert told["devices"][0]["fits"]
    assert told["seconds"] > 0  # the model was trained here before, by `job`

    done = run(server, *asked)
    assert "60 of 8 rows, 2 epochs" in succeeded(done)
    assert "headrace submit file-" in done.stderr


def test_an_estimate_refuses_what_a_submit_refuses(server: Server) -> None:
    assert "name what to train on, once" in run(server, "estimate", "--model", "tiny").stderr
    assert "--model is missing" in run(server, "estimate", MILLER).stderr
    assert "'gpt-9'" in run(server, "estimate", MILLER, "--model", "gpt-9").stderr


def test_checkpoints_are_pinned_and_deleted(server: Server, job: str) -> None:
    found = json.loads(succeeded(run(server, "jobs", "checkpoints", job, "--json")))
    step = str(found[-1]["step_number"])
    succeeded(run(server, "jobs", "checkpoints", job, "pin", step))
    assert "pinned" in succeeded(run(server, "jobs", "checkpoints", job))
    assert "unpin it first" in run(server, "jobs", "checkpoints", job, "delete", step).stderr
    assert json.loads(succeeded(run(server, "jobs", "checkpoints", job, "unpin", found[-1]["id"], "--json")))["pinned"] is False
    refused = run(server, "jobs", "checkpoints", job, "delete", found[0]["id"])
    assert (refused.returncode, "delete the model first" in refused.stderr) == (2, True)
    assert run(server, "jobs", "checkpoints", job, "pin").returncode == 2


def test_what_a_job_was_trained_on_is_shown(server: Server, job: str) -> None:
    rows = run(server, "jobs", "rows", job, "2", "--limit", "3")
    assert succeeded(rows).count("miller.jsonl row ") == 3
    assert "3 of 60 rows; those that were trained on, by their digest" in rows.stderr
    assert json.loads(succeeded(run(server, "jobs", "rows", job, "1", "--json")))["verified"] is True
    receipt = json.loads(succeeded(run(server, "jobs", "receipt", job, "--json")))
    assert receipt["sources"][0]["rows_drawn"] == receipt["sources"][0]["rows"]
    assert receipt["order_digest"] in succeeded(run(server, "jobs", "receipt", job))
    assert "miller.jsonl" in succeeded(run(server, "jobs", "mixture", job))


def test_a_finished_jobs_mixture_is_not_changed(server: Server, job: str) -> None:
    done = run(server, "jobs", "mixture", job, "--set", "miller.jsonl=2")
    assert (done.returncode, "is succeeded" in done.stderr) == (2, True)
    for word in ("nothing", "a=b"):
        assert run(server, "jobs", "mixture", job, "--set", word).returncode == 2


def test_the_adapter_is_downloaded_by_its_models_name(server: Server, job: str, tmp_path: Path) -> None:
    model = json.loads(succeeded(run(server, "jobs", "show", job, "--json")))["fine_tuned_model"]

    succeeded(run(server, "models", "download", model, tmp_path / "adapter"))

    names = {path.name for path in (tmp_path / "adapter").iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json"} <= names


def test_a_folder_that_holds_something_is_not_downloaded_into(server: Server, job: str, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("mine")

    done = run(server, "models", "download", job, tmp_path)

    assert done.returncode == 2
    assert "is there and not empty" in done.stderr


def test_a_data_set_is_registered_shown_previewed_and_deleted(server: Server) -> None:
    made = json.loads(succeeded(run(server, "datasets", "register", "mill", MILLER, "--json")))
    shown = json.loads(succeeded(run(server, "datasets", "show", "mill", "--json")))
    rows = json.loads(succeeded(run(server, "datasets", "rows", "mill", "--limit", "2", "--json")))
    seen = succeeded(run(server, "datasets", "preview", "mill", "--model", "tiny"))
    succeeded(run(server, "datasets", "delete", made["id"]))

    assert shown["version"]["rows"] == 240
    assert [row["line"] for row in rows["data"]] == [1, 2]
    assert "How do I boil an egg?" in seen
    assert "mill" not in [entry["name"] for entry in json.loads(succeeded(run(server, "datasets", "list", "--json")))]


def test_files_of_several_kinds_are_registered_together_and_appended_to(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("question,answer\nHow many?,Three\n")
    (tmp_path / "b.json").write_text('[{"question": "How far?", "answer": "A mile"}]')
    (tmp_path / "c.jsonl").write_text('{"question": "How old?", "answer": "Ten"}\n')
    columns = ("--column", "prompt=question", "--column", "completion=answer")
    succeeded(run(server, "datasets", "register", "quiz", tmp_path / "b.json", tmp_path / "a.csv", *columns))
    shown = succeeded(run(server, "datasets", "register", "quiz", tmp_path / "c.jsonl", "--append"))
    told = json.loads(succeeded(run(server, "datasets", "show", "quiz", "--json")))["version"]
    neither = run(server, "datasets", "register", "quiz")

    assert "a.csv (csv, 1 row," in shown
    assert "in frames of" in shown
    assert (told["number"], told["rows"], [shard["file"] for shard in told["shards"]]) == (
        2, 3, ["a.csv", "b.json", "c.jsonl"])
    assert neither.returncode == 2
    assert "give files, or --place and --path" in neither.stderr


def test_a_data_set_without_a_usable_row_names_its_lines_and_exits_with_1(server: Server, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text("no json\n")

    done = run(server, "datasets", "register", "bad", tmp_path / "bad.jsonl")

    assert done.returncode == 1
    assert "line 1" in done.stdout


def test_a_mixture_is_submitted_by_names_and_weights_and_cancelled(server: Server) -> None:
    for name in ("left", "right"):
        succeeded(run(server, "datasets", "register", name, MILLER))
    job = succeeded(run(server, "submit", "-d", "left:3", "-d", "right@1:0.5", "-m", "tiny", "--epochs", "50")).strip()

    cancelled = json.loads(succeeded(run(server, "jobs", "cancel", job, "--json")))
    watched = run(server, "watch", job)

    assert [source["weight"] for source in cancelled["datasets"]] == [3, 0.5]
    assert watched.returncode == 1
    assert "cancelled" in watched.stdout


def test_a_job_is_paused_and_resumed(server: Server) -> None:
    job = succeeded(run(server, "submit", MILLER, "-m", "tiny", "--epochs", "50")).strip()

    paused = run(server, "jobs", "pause", job)
    wait_for(lambda: json.loads(succeeded(run(server, "jobs", "show", job, "--json")))["status"] == "paused", "not paused")
    resumed = run(server, "jobs", "resume", job)
    again = run(server, "jobs", "resume", job)
    succeeded(run(server, "jobs", "cancel", job))

    assert f"go on with: headrace jobs resume {job}" in paused.stderr
    assert resumed.returncode == 0
    assert (again.returncode, "only a job that is paused or pausing can be resumed" in again.stderr) == (2, True)


def test_a_curriculum_and_every_other_field_are_reached_from_the_command_line(server: Server, tmp_path: Path) -> None:
    for name in ("easy", "hard"):
        succeeded(run(server, "datasets", "register", name, MILLER))
    (tmp_path / "job.json").write_text('{"model": "tiny", "options": {"warmup_ratio": 0.2, "schedule": "linear"}, "seed": 4}')
    said = ("--spec", tmp_path / "job.json", "-d", "easy:1:9", "-d", "hard:0", "--exhaustion", "first", "--schedule",
            "2:easy=0.5,hard=0.5", "--schedule", "4:easy=0,hard=1", "--set", "options.schedule=constant", "--set",
            "lora.use_dora=true", "--overlong", "split", "--on-bad-row", "skip", "--max-bad-rows", "3", "--metadata",
            "owner=ada")
    job = json.loads(succeeded(run(server, "submit", *said, "--json")))
    succeeded(run(server, "jobs", "cancel", job["id"]))

    assert [(each["weight"], each["epochs"]) for each in job["datasets"]] == [(1.0, 9), (0.0, None)]
    assert [each["from_step"] for each in job["mixture_schedule"]] == [2, 4]
    assert (job["exhaustion"], job["seed"], job["metadata"], job["lora"]["use_dora"]) == ("first", 4, {"owner": "ada"}, True)
    asked = {"warmup_ratio": 0.2, "schedule": "constant", "overlong": "split", "on_bad_row": "skip", "max_bad_rows": 3}
    assert {name: job["options"][name] for name in asked} == asked


def test_a_webhook_is_created_listed_tested_and_deleted(server: Server) -> None:
    url = "https://no-such-host.invalid/hook"
    made = json.loads(succeeded(run(server, "webhooks", "create", url, "--name", "ours", "--on", "failed", "--json")))
    assert (made["url"], made["event_types"]) == (url, ["fine_tuning.job.failed"])
    listed = succeeded(run(server, "webhooks", "list"))
    assert made["id"] in listed
    assert made["signing_secret"] not in listed
    assert json.loads(succeeded(run(server, "webhooks", "deliveries", made["id"], "--json"))) == []
    unreached = run(server, "webhooks", "test", made["id"])
    assert unreached.returncode == 2
    assert "was not resolved" in unreached.stderr
    succeeded(run(server, "webhooks", "delete", made["id"]))
    refused = run(server, "webhooks", "create", "http://hooks.example.com/")
    assert refused.returncode == 2
    assert "begins with https://" in refused.stderr


def test_files_are_uploaded_listed_read_and_deleted(server: Server, tmp_path: Path) -> None:
    file = succeeded(run(server, "files", "upload", MILLER)).strip()
    succeeded(run(server, "files", "content", file, tmp_path / "copy.jsonl"))
    listed = succeeded(run(server, "files", "list"))
    succeeded(run(server, "files", "delete", file))

    assert (tmp_path / "copy.jsonl").read_bytes() == MILLER.read_bytes()
    assert file in listed
    assert run(server, "files", "delete", file).returncode == 2


@pytest.mark.parametrize("arguments, words", [
    (("submit", "nowhere.jsonl", "-m", "tiny"), "nowhere.jsonl is not a file"),
    (("submit", "-m", "tiny"), "name what to train on, once: a FILE, --dataset"),
    (("submit", str(MILLER), "-m", "tiny", "--set", "datasets=[]"), "name what to train on, once"),
    (("submit", str(MILLER), "-m", "tiny", "--set", "lora"), "--set is 'lora'; FIELD=VALUE was expected"),
    (("submit", str(MILLER), "-m", "tiny", "--spec", "nowhere.json"), "'nowhere.json' cannot be read"),
    (("submit", str(MILLER), "-m", "tiny", "--schedule", "soon:a=1"), "--schedule is 'soon:a=1'; STEP:NAME=WEIGHT"),
    (("submit", str(MILLER)), "--model is missing"),
    (("submit", str(MILLER), "-m", "unknown"), "'unknown'"),
    (("submit", "-d", "mill:heavy", "-m", "tiny"), "mill"),
    (("jobs", "show", "ftjob-unknown"), "'ftjob-unknown'"),
    (("datasets", "show", "unknown"), "no data set 'unknown'"),
    (("models", "download", "tiny", "folder"), "the operator's"),
    (("models", "add", "x"), "0 of --path"),
    (("models", "add", "x", "--path", "/nowhere"), "/nowhere is not a folder"),
    (("models", "add", "--builtin", "large"), "'large'"),
    (("keys", "revoke", "nobody"), "'nobody'"),
    (("worker", "--queue", "other"), "train or upkeep"),
])
def test_a_refusal_is_one_line_in_words_and_exit_code_2(server: Server, arguments: tuple[str, ...], words: str) -> None:
    done = run(server, *arguments)

    assert done.returncode == 2, done.stdout
    assert done.stdout == ""
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_that_is_not_there_is_told_with_its_address(server: Server) -> None:
    done = run(server, "jobs", "list", HEADRACE_API_URL="http://127.0.0.1:1")

    assert done.returncode == 1
    assert "no answer from http://127.0.0.1:1" in done.stderr


def test_without_a_key_the_way_to_one_is_told(server: Server) -> None:
    assert "headrace keys create" in run(server, "jobs", "list", HEADRACE_API_KEY="").stderr


def test_keys_are_made_listed_without_their_secret_and_revoked(server: Server) -> None:
    secret = succeeded(run(server, "keys", "create", "laptop", "--project", "lab")).strip()
    succeeded(run(server, "jobs", "list", HEADRACE_API_KEY=secret))
    listed = succeeded(run(server, "keys", "list"))
    succeeded(run(server, "keys", "revoke", "laptop"))

    assert secret not in listed
    assert secret[:8] in listed
    wait_for(lambda: run(server, "jobs", "list", HEADRACE_API_KEY=secret).returncode == 2, "the key is still taken")


def test_shares_of_a_project_are_set_and_listed(server: Server) -> None:
    secret = succeeded(run(server, "keys", "create", "desk", "--project", "guests")).strip()
    succeeded(run(server, "projects", "set", "guests", "--weight", "2", "--max-priority", "0"))
    told = {each["name"]: each for each in json.loads(succeeded(run(server, "projects", "list", "--json")))}

    assert (told["guests"]["weight"], told["guests"]["max_priority"]) == (2.0, 0)
    refused = run(server, "submit", MILLER, "--model", "tiny", "--priority", "1", HEADRACE_API_KEY=secret)
    assert refused.returncode == 2
    assert "priority 1 is higher than the 0" in refused.stderr
    assert run(server, "projects", "set", "nobody", "--weight", "2").returncode == 2


def test_base_models_are_listed_removed_and_added_again_beside_the_server(server: Server) -> None:
    succeeded(run(server, "models", "add", "second", "--builtin", "tiny"))
    names = {model["name"] for model in json.loads(succeeded(run(server, "models", "list", "--json")))}
    succeeded(run(server, "models", "remove", "second"))

    assert {"tiny", "second"} <= names
    assert "second" not in succeeded(run(server, "models", "list"))


def test_the_doctor_finds_a_running_server_well(server: Server) -> None:
    findings = json.loads(succeeded(run(server, "doctor", "--json")))

    assert {finding["about"]: finding["verdict"] for finding in findings}["redis"] == "ok"


def test_the_doctor_says_what_to_do_about_a_home_that_is_not_there(tmp_path: Path, server: Server) -> None:
    done = run(server, "doctor", HEADRACE_HOME=str(tmp_path / "nowhere"))

    assert done.returncode == 1
    assert "start `headrace serve` once" in done.stdout


def test_a_wrong_setting_is_named_with_its_value(server: Server) -> None:
    done = run(server, "doctor", HEADRACE_PORT="many")

    assert done.returncode == 2
    assert "HEADRACE_PORT is 'many'" in done.stderr


def test_quotas_are_set_shown_and_taken_back(server: Server) -> None:
    succeeded(run(server, "keys", "create", "bounded", "--project", "bounded"))
    quota = ("projects", "quota", "bounded")
    told = json.loads(succeeded(run(server, *quota, "--running-jobs", "2", "--device-seconds", "1.5h", "--stored-bytes", "5gb",
                                    "--queued-jobs", "none", "--json")))
    assert {name: of["limit"] for name, of in told["quotas"].items()} == {
        "running_jobs": 2, "queued_jobs": None, "device_seconds": 5400, "stored_bytes": 5_000_000_000}
    assert "5,400" in succeeded(run(server, *quota))
    succeeded(run(server, *quota, "--device-seconds", "default"))
    assert "5,400" not in succeeded(run(server, *quota))
    assert "bounded" in succeeded(run(server, "projects", "list"))
    key = json.loads(succeeded(run(server, "keys", "quota", "bounded", "--running-jobs", "1", "--json")))
    assert key["quotas"]["running_jobs"] == {"used": 0, "limit": 1}


@pytest.mark.parametrize("arguments, words", [
    (("projects", "quota", "nobody"), "no project 'nobody'"), (("keys", "quota", "nobody"), "no key in use is 'nobody'"),
    (("projects", "quota", "default", "--running-jobs", "1.5"), "--running-jobs is '1.5'; a number, 'none'"),
    (("projects", "quota", "default", "--stored-bytes", "5XB"), "units: B, kB, MB, GB, TB")])
def test_quotas_that_cannot_be_set_are_refused_in_words(server: Server, arguments: tuple[str, ...], words: str) -> None:
    done = run(server, *arguments)
    assert (done.returncode, words in done.stderr) == (2, True), done.stderr


def test_the_queue_the_workers_and_the_usage_are_shown(server: Server) -> None:
    first, second = (succeeded(run(server, "submit", MILLER, "-m", "tiny", "--epochs", "50", "--seed", seed)).strip()
                     for seed in ("11", "12"))
    wait_for(lambda: json.loads(succeeded(run(server, "queue", "--json")))["data"][-1]["position"] == 1, "not queued")
    queue, workers = run(server, "queue"), succeeded(run(server, "workers"))
    usage = json.loads(succeeded(run(server, "usage", "--json")))
    for job in (second, first):
        succeeded(run(server, "jobs", "cancel", job))

    assert second in succeeded(queue)
    assert "devices are free" in queue.stdout
    assert "1 job waits and 1 runs" in queue.stderr
    assert first in workers
    assert "cpu:0" in workers
    assert usage[0]["quotas"]["queued_jobs"]["used"] == 1
