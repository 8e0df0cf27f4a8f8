"""What docker-compose.yml says, and that its commands make a server: as processes, on PostgreSQL and a Redis of its own.

The images are not built here; the commands, their environment and the order of their start come from the file.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
import yaml

from core.signals.server import find_binary
from tests.journeys import jobs
from tests.servers import ROOT, free_port
from tests.waiting import wait_for

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = ("migrate", "api", "upkeep", "train")


def test_every_part_of_ours_shares_the_home_and_the_secrets_file() -> None:
    for name in OURS:
        assert SERVICES[name]["env_file"] == "headrace.env"
        assert SERVICES[name]["environment"]["HEADRACE_HOME"] == "/data"
        assert SERVICES[name]["volumes"] == ["home:/data"]
    assert {"home", "postgres", "redis"} <= COMPOSE["volumes"].keys()


def test_parts_start_after_the_migration_and_a_healthy_redis() -> None:
    for name in ("api", "upkeep", "train"):
        waits = SERVICES[name]["depends_on"]
        assert waits["migrate"]["condition"] == "service_completed_successfully"
        assert waits["redis"]["condition"] == "service_healthy"
    assert SERVICES["migrate"]["depends_on"]["postgres"]["condition"] == "service_healthy"


def test_only_the_train_worker_has_torch_and_a_gpu() -> None:
    targets = {name: SERVICES[name]["image"].partition(":")[2] for name in OURS}
    [device] = SERVICES["train"]["deploy"]["resources"]["reservations"]["devices"]

    assert targets == {"migrate": "serve", "api": "serve", "upkeep": "serve", "train": "train"}
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    assert "deploy" not in SERVICES["api"]


def test_every_part_but_the_migration_has_a_healthcheck_and_time_to_stop() -> None:
    assert all("healthcheck" in SERVICES[name] for name in SERVICES if name != "migrate")
    assert int(SERVICES["train"]["stop_grace_period"].removesuffix("s")) >= 30


def test_no_secret_stands_in_the_file_and_the_example_names_all_of_them() -> None:
    example = (ROOT / "headrace.env.example").read_text()

    assert "PASSWORD=" not in (ROOT / "docker-compose.yml").read_text()
    assert {"POSTGRES_PASSWORD", "HEADRACE_DATABASE_URL", "HEADRACE_REDIS_URL"} <= {
        line.partition("=")[0] for line in example.splitlines()}
    assert "headrace.env" in (ROOT / ".gitignore").read_text().splitlines()


def test_stages_of_the_dockerfile_are_those_that_the_compose_file_builds() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    built = {SERVICES[name]["build"]["target"] for name in OURS if "build" in SERVICES[name]}
    serve = dockerfile.partition("AS serve")[2].partition("FROM ")[0]

    assert built == {"serve", "train"}
    assert all(f"AS {target}" in dockerfile for target in built)
    assert "torch" not in serve


def test_the_commands_make_a_server_that_trains_on_postgresql_and_a_separate_redis(
        tmp_path: Path, empty_postgres_url: str) -> None:
    home, port = tmp_path / "home", free_port()
    home.mkdir(mode=0o700)
    with a_redis(tmp_path) as redis_url:
        own = {"HEADRACE_HOME": str(home), "HEADRACE_PORT": str(port), "HEADRACE_HOST": "127.0.0.1", "HEADRACE_THREADS": "1",
               "HEADRACE_DATABASE_URL": empty_postgres_url, "HEADRACE_REDIS_URL": redis_url, "HEADRACE_DEVICE": "cpu",
               "HEADRACE_LEASE_SECONDS": "3"}
        finish(SERVICES["migrate"]["command"], own)
        with contextlib.ExitStack() as parts:
            for name in ("api", "upkeep", "train"):
                environment = {**SERVICES[name]["environment"], **own}
                parts.enter_context(a_part(name, SERVICES[name]["command"], environment, tmp_path))
            key = finish(["headrace", "keys", "create", "compose"], own).strip()
            finish(["headrace", "models", "add", "--builtin", "tiny"], own)
            wait_for(lambda: is_ready(port), "the API was not ready", log=tmp_path / "api.log")
            with httpx.Client(base_url=f"http://127.0.0.1:{port}/v1", headers={"Authorization": f"Bearer {key}"},
                              trust_env=False, timeout=20) as client:
                job_id = jobs.submit(client, jobs.upload(client, jobs.chat_rows(8)), epochs=1, batch_size=4)
                job = wait_for(lambda: finished(client, job_id), "the job did not end", log=tmp_path / "train.log")

    assert job is not None
    assert job["status"] == "succeeded", job["error"]
    assert not (home / "headrace.db").exists()
    assert not (home / "redis").exists()


@contextlib.contextmanager
def a_redis(folder: Path) -> Iterator[str]:
    """A Redis on a loopback port, started as the compose file starts its own."""
    _, *arguments = SERVICES["redis"]["command"]
    port = free_port()
    command = [str(find_binary()), *arguments, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"redis://127.0.0.1:{port}/0"
    try:
        wait_for(lambda: answers(url), "Redis did not answer")
        yield url
    finally:
        process.terminate()
        process.wait(10)


@contextlib.contextmanager
def a_part(name: str, command: list[str], environment: dict[str, str], folder: Path) -> Iterator[None]:
    """Run a part of the server while the body runs; it must live to its end, and stop on TERM."""
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(here(command), env=clean(environment), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log,
                                   stderr=log)
    try:
        yield
        assert process.poll() is None, (folder / f"{name}.log").read_text()[-2000:]
    finally:
        process.terminate()
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            pytest.fail(f"{name} did not stop on TERM within 40 s")


def finish(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(here(command), env=clean(environment), cwd=ROOT, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def here(command: list[str]) -> list[str]:
    """Run `headrace` from this checkout; nothing else stands in the parts' commands."""
    assert command[0] == "headrace"
    return [sys.executable, "-m", "cli.main", *command[1:]]


def clean(environment: dict[str, str]) -> dict[str, str]:
    return {**{k: v for k, v in os.environ.items() if not k.startswith("HEADRACE_")}, **environment}


def is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=2, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def answers(url: str) -> bool:
    client = redis.Redis.from_url(url)
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
    finally:
        client.close()


def finished(client: httpx.Client, job_id: str) -> dict[str, Any] | None:
    job = jobs.get_job(client, job_id)
    return job if job["status"] in jobs.FINISHED else None
