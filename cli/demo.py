"""`headrace demo`: the main job, end to end, on this machine.

    serve → key → base model (converted once) → upload and register → submit → watch → adapter, and answers before and after

Everything goes through the public faces: the server is `headrace serve` as a process, all else is HTTP with a key. Its state
lies in a home of its own, so that a second demo finds the model there. What it starts it stops, however it ends.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.markup import escape
from rich.table import Table

from cli.children import dies_with_parent
from cli.client import Client, Upload
from cli.convert import ModelSource, make_model
from cli.datasets import wait_until_checked
from cli.errors import CommandRefused
from cli.home import make_home, open_ledger, settings_for
from cli.loglines import behind_name
from cli.models import fetch_checkpoint, find_checkpoint
from cli.output import duration, err, out
from cli.serve import address, is_ready, take_port
from cli.watch import show_events
from core.clock import system_clock
from core.errors import HeadraceError
from core.models.service import add_base_model
from core.projects.service import create_key
from core.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "examples" / "data" / "miller.jsonl"
MODEL, TINY = "smollm2-135m-instruct", "tiny"
PROJECT = "demo"
PROMPTS = ["What is a telescope?", "How do I make coffee?", "Why do people dance?"]
"""Asked before and after; none of them is in the data."""
JOB = {
    "suffix": "miller",
    "seed": 7,
    "validation_split": 0.08,
    "method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 1, "batch_size": 8}}},
    "lora": {"r": 8},
    "options": {"learning_rate": 2e-3, "eval_every_steps": 7, "sample_prompts": PROMPTS, "sample_max_tokens": 40},
}
READY_SECONDS = 60.0
STOP_SECONDS = 30.0
LOG_LINES = 25
LINE_CHARACTERS = 2000


class DemoStopped(HeadraceError):
    """The demo cannot go on; the server's log tells why."""

    code = "demo_stopped"


@dataclass
class Told:
    """What the job's events said, as far as the end of the demo shows it."""

    before: list[dict[str, str]] = field(default_factory=list)
    after: list[dict[str, str]] = field(default_factory=list)
    held_out: list[tuple[int, float]] = field(default_factory=list)
    began_at: float | None = None

    def take(self, events: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Note what is needed, and pass on all but the last answers, which are shown beside the first ones."""
        for event in events:
            data = event.get("data") or {}
            if event["type"] == "metrics":
                loss = data.get("full_valid_loss") if data.get("full_valid_loss") is not None else data.get("valid_loss")
                if loss is not None:
                    self.held_out.append((data["step"], loss))
            elif data.get("code") == "sample.generated" and data["step"] > 0:
                self.after = data["samples"]
                continue
            elif data.get("code") == "sample.generated":
                self.before = data["samples"]
            elif data.get("code") == "run.started":
                self.began_at = time.monotonic()
            yield event


def demo(
    tiny: Annotated[bool, typer.Option("--tiny", help="Train the two-layer random model instead: the same way in a few "
                                       "seconds, and nothing is learnt.")] = False,
) -> None:
    """Fine-tune a real small model on this machine, from data to adapter, and watch it (about two minutes on two cores).

    Starts a server with a home of its own (.headrace/demo, or HEADRACE_HOME), and stops it at the end.
    """
    began = time.monotonic()
    settings = _settings()
    if not DATA.is_file():
        raise CommandRefused(f"{DATA} is not there; run the demo from a checkout of the repository")
    make_home(settings.home)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a shell started it in the background
    with _server(settings):
        key = _make_key(settings)
        model = TINY if tiny else MODEL
        _add_model(settings, model)
        with Client(address(settings), key) as client:
            _clear(client)
            dataset = _register(client)
            job, told, seconds = _train(client, dataset, model)
            adapter = settings.home / "adapters" / job["id"]
            fetch_checkpoint(client, *find_checkpoint(client, job["fine_tuned_model"]), adapter)
    _conclude(settings, job, told, adapter, seconds=seconds, total=time.monotonic() - began)


def _settings() -> Settings:
    home = Path(os.environ.get("HEADRACE_HOME") or ROOT / ".headrace" / "demo")
    settings = settings_for(home, host="127.0.0.1")
    return settings.model_copy(update={"port": take_port(settings.host, 0)})


@contextlib.contextmanager
def _server(settings: Settings) -> Iterator[None]:
    """Run `headrace serve` while the body runs; show the end of its log when something goes wrong."""
    log = settings.home / "serve.log"
    _step("server", f"starting on {address(settings)}, home {_short(settings.home)}")
    with log.open("wb") as lines:
        command = [sys.executable, "-m", "cli.main", "serve", "--home", str(settings.home), "--host", settings.host, "--port",
                   str(settings.port)]
        server = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=lines, stderr=subprocess.STDOUT,
                                  start_new_session=True, preexec_fn=dies_with_parent())
    try:
        _wait_until_ready(settings, server)
        yield
    except KeyboardInterrupt:
        err().print("stopping the server …")
        raise
    except HeadraceError:
        _show_log(log)
        raise
    finally:
        _stop(server)


def _wait_until_ready(settings: Settings, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not is_ready(settings):
        if server.poll() is not None:
            raise DemoStopped(f"the server ended with code {server.returncode} before it was ready; its log is above")
        if time.monotonic() > deadline:
            raise DemoStopped(f"the server was not ready within {READY_SECONDS:.0f} s; its log is above")
        time.sleep(0.1)


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _make_key(settings: Settings) -> str:
    with open_ledger(settings) as ledger, ledger.write() as session:
        _, secret = create_key(session, name="demo", project=PROJECT, is_admin=False, now=system_clock())
    _step("key", f"made for the project {PROJECT!r}")
    return secret


def _clear(client: Client) -> None:
    """Cancel what a demo that was broken off has left, so that this one has the machine for itself."""
    for job in client.pages("/fine_tuning/jobs"):
        if job["status"] not in ("succeeded", "failed", "cancelled"):
            client.post(f"/fine_tuning/jobs/{job['id']}/cancel")


def _add_model(settings: Settings, name: str) -> None:
    began = time.monotonic()
    made = make_model(name, ModelSource("--builtin", name), settings.home / "models")
    with open_ledger(settings) as ledger, ledger.write() as session:
        add_base_model(session, name=name, folder=str(made.folder), digest=made.facts["digest"], facts=made.facts,
                       now=system_clock())
    how = "made before" if made.is_cached else f"converted in {duration(time.monotonic() - began)}, and kept"
    _step("model", f"{name}, {made.facts['parameters'] / 1e6:.1f} million parameters ({how})")


def _register(client: Client) -> str:
    file = client.upload(Upload(DATA))
    dataset = wait_until_checked(client, client.post("/datasets", {"name": "miller", "file_id": file["id"]})["id"])
    version = dataset["version"]
    if version["status"] != "ready":
        raise DemoStopped(f"the data set is {version['status']}: {version.get('error')}; the server's log is above")
    row = orjson.loads(DATA.read_bytes().split(b"\n", 1)[0])["messages"]
    _step("data", f"{_short(DATA)}: {version['rows']} rows in one voice, such as\n"
                  f"[dim]        {escape(row[0]['content'])}\n        → {escape(row[1]['content'])}[/dim]")
    return str(dataset["id"])


def _train(client: Client, dataset: str, model: str) -> tuple[dict[str, Any], Told, float]:
    job = client.post("/fine_tuning/jobs", {**JOB, "model": model, "datasets": [{"dataset": dataset}]})
    _step("job", f"{job['id']}: LoRA of rank {JOB['lora']['r']}, 8 % of the rows held out")
    told = Told()
    began = time.monotonic()
    show_events(told.take(client.events(job["id"])))
    seconds = time.monotonic() - (told.began_at or began)
    job = client.get(f"/fine_tuning/jobs/{job['id']}")
    if job["status"] != "succeeded":
        reason = (job.get("error") or {}).get("message", "no reason given")
        raise DemoStopped(f"the job ended {job['status']}: {reason}; the server's log is above")
    return job, told, seconds


def _conclude(settings: Settings, job: dict[str, Any], told: Told, adapter: Path, *, seconds: float, total: float) -> None:
    console = out()
    console.print()
    console.print(_beside(told))
    if told.held_out:
        (first, high), (last, low) = told.held_out[0], told.held_out[-1]
        console.print(f"held-out loss   {high:.3f} after step {first} → [bold]{low:.3f}[/bold] after step {last}")
    console.print(f"time            fine-tuning {duration(seconds)}, all together {duration(total)}")
    console.print(f"job             {job['id']}")
    console.print(f"model           {job['fine_tuned_model']}")
    console.print(f"adapter         {_short(adapter)}  (PeftModel.from_pretrained loads it)", soft_wrap=True)
    headrace, home = _short(Path(sys.argv[0])), _short(settings.home)
    console.print(f"""
To go on with this server and its job:
  {headrace} serve --home {home}
  export HEADRACE_API_KEY=$({headrace} keys create me --project {PROJECT} --home {home})
  {headrace} jobs show {job['id']}""", soft_wrap=True, markup=False)


def _beside(told: Told) -> Table:
    table = Table(title="The same questions, before and after", title_justify="left", title_style="bold", show_lines=True)
    for column in ("question", "before", "after"):
        table.add_column(column, ratio=1 if column == "question" else 2)
    after = {sample["prompt"]: sample["answer"] for sample in told.after}
    for sample in told.before:
        table.add_row(escape(sample["prompt"]), escape(sample["answer"]), escape(after.get(sample["prompt"], "")))
    return table


def _step(name: str, text: str) -> None:
    out().print(f"[bold cyan]{name:<7}[/bold cyan] {text}", soft_wrap=True)


def _show_log(log: Path) -> None:
    shown = [behind_name(line) for line in log.read_bytes().splitlines()]
    lines = [line[:LINE_CHARACTERS] for line in shown if line is not None][-LOG_LINES:]
    err().print(f"── the last lines of {_short(log)}", *lines, sep="\n", markup=False, soft_wrap=True)


def _short(path: Path) -> str:
    """Show a path as it is written from here, where that is shorter."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
