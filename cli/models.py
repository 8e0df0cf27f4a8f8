"""`headrace models`: the operator's list of base models (on the server's machine); downloads of what jobs made (over HTTP)."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.client import Client, open_client, segment
from cli.convert import ModelSource, make_model
from cli.errors import CommandRefused
from cli.home import Home, open_ledger, settings_for
from cli.output import Json, err, print_json, print_table, say, size
from core.clock import system_clock
from core.errors import number_of
from core.models import service
from core.models.models import Model
from core.settings import Settings
from core.storage.artifacts import model_key
from core.storage.opening import open_artifacts

app = typer.Typer(no_args_is_help=True, help="Base models: add, list, remove (on the server's machine); download (over HTTP).")

BUILTINS = ("smollm2-135m-instruct", "tiny")


@app.command("add")
def add(
    name: Annotated[str | None, typer.Argument(help="Name that jobs will use; a built-in model has one of its own.")] = None,
    path: Annotated[Path | None, typer.Option("--path", help="Folder of config.json, *.safetensors, tokenizer files.")] = None,
    gguf: Annotated[Path | None, typer.Option("--gguf", help="A GGUF file; converted once.")] = None,
    hub: Annotated[str | None, typer.Option("--hub", help="ID@REVISION on the Hugging Face hub; a commit's digits.")] = None,
    builtin: Annotated[str | None, typer.Option("--builtin", help=f"{' or '.join(BUILTINS)}: needs no network.")] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Put a base model on the list. A running server sees it at once.

    Data only: a folder with Python files, pickles or an auto_map is refused.

    \b
    Examples:
        headrace models add --builtin tiny
        headrace models add qwen3-0.6b --path ~/models/Qwen3-0.6B
    """
    source = _source(path, gguf, hub, builtin)
    name = name or (builtin if builtin is not None else None)
    if name is None:
        raise CommandRefused("the model has no name; say what jobs will call it: headrace models add NAME --path DIR")
    settings = settings_for(home)
    with open_ledger(settings) as ledger:
        made = make_model(name, source, settings.home / "models")
        with ledger.write() as session:
            model = service.add_base_model(session, name=name, folder=str(made.folder), digest=made.facts["digest"],
                                           facts=made.facts, now=system_clock())
            told = _shape(model)
    share_model(settings, made.folder, made.facts["digest"])
    if as_json:
        print_json(told)
    else:
        before = ", made before" if made.is_cached else ""
        say(f"{name} is on the list: {_count(told['parameters'])} parameters, context {told['context_length']} tokens{before}\n"
            f"{made.folder}")


def share_model(settings: Settings, folder: Path, digest: str) -> None:
    """Bring a model's files to where hosts without a disk of their own in common find them; nothing to do on a shared disk."""
    artifacts = open_artifacts(settings)
    with err().status("bringing the model's files into the storage"):
        artifacts.share(folder, model_key(digest))


@app.command("list")
def list_(home: Home = None, as_json: Json = False) -> None:
    """List the base models that jobs may name."""
    with open_ledger(settings_for(home)) as ledger, ledger.read() as session:
        models = [_shape(model) for model in session.query(Model).filter(Model.kind == "base", Model.deleted_at.is_(None))
                  .order_by(Model.name)]
    if as_json:
        print_json(models)
        return
    rows = [(m["name"], m["architecture"], _count(m["parameters"]), m["context_length"], size(m["bytes"]), m["folder"])
            for m in models]
    print_table(("name", "architecture", "parameters", "context", "size", "folder"), rows,
                empty="no base models yet; add one: headrace models add --builtin tiny")


@app.command("remove")
def remove(
    name: Annotated[str, typer.Argument(help="Name on the list.")],
    files: Annotated[bool, typer.Option("--files", help="Remove its folder from the home as well.")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Take a base model off the list; refused while unfinished jobs use it."""
    settings = settings_for(home)
    with open_ledger(settings) as ledger, ledger.write() as session:
        told = _shape(service.remove_base_model(session, name, now=system_clock()))
    folder = Path(str(told["folder"]))
    if files and folder.parent == settings.home / "models":
        shutil.rmtree(folder, ignore_errors=True)
    print_json(told) if as_json else say(f"{name} is off the list")


@app.command("download")
def download(
    name: Annotated[str, typer.Argument(help="A fine-tuned model (ft:…), one of its checkpoints, or the id of its job.")],
    folder: Annotated[Path, typer.Argument(help="Folder to make; it must be empty or not there.")],
    as_json: Json = False,
) -> None:
    """Fetch an adapter's files into a folder that peft's PeftModel.from_pretrained loads."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CommandRefused(f"{folder} is there and not empty; name a folder that is not")
    with open_client() as client:
        job_id, checkpoint_id = find_checkpoint(client, name)
        told = fetch_checkpoint(client, job_id, checkpoint_id, folder)
    if as_json:
        print_json(told)
    else:
        say(f"{number_of(len(told['files']), 'file')}, {size(told['bytes'])}, in {folder}")


def find_checkpoint(client: Client, name: str) -> tuple[str, str]:
    """Find the job and the checkpoint behind a model's name, or the newest checkpoint of a job."""
    if not name.startswith("ftjob-"):
        model = client.get(f"/models/{segment(name)}")
        if model["checkpoint"] is None:
            raise CommandRefused(f"{name} is a base model, and its files are the operator's; name a fine-tuned model (ft:…)")
        return str(model["job"]), str(model["checkpoint"])
    for checkpoint in client.pages(f"/fine_tuning/jobs/{segment(name)}/checkpoints", limit=1):
        return name, str(checkpoint["id"])
    raise CommandRefused(f"job {name} has no checkpoint to download yet; wait for its first epoch: headrace watch {name}")


def fetch_checkpoint(client: Client, job_id: str, checkpoint_id: str, folder: Path) -> dict[str, Any]:
    """Fetch all files of a checkpoint into a folder; each appears when it is whole."""
    base = f"/fine_tuning/jobs/{segment(job_id)}/checkpoints/{segment(checkpoint_id)}/files"
    files = client.get(base)["data"]
    folder.mkdir(parents=True, exist_ok=True)
    with err().status("downloading"):
        count = sum(client.download(f"{base}/{segment(file['name'])}", folder / Path(file["name"]).name) for file in files)
    names = [file["name"] for file in files]
    return {"job": job_id, "checkpoint": checkpoint_id, "folder": str(folder), "files": names, "bytes": count}


def _source(path: Path | None, gguf: Path | None, hub: str | None, builtin: str | None) -> ModelSource:
    ways = {"--path": path and path.absolute(), "--gguf": gguf and gguf.absolute(), "--hub": hub, "--builtin": builtin}
    given = [ModelSource(option, str(value)) for option, value in ways.items() if value is not None]
    if len(given) != 1:
        raise CommandRefused(f"{len(given)} of {', '.join(ways)} were given; name the model's source by exactly one")
    if builtin is not None and builtin not in BUILTINS:
        raise CommandRefused(f"--builtin is {builtin!r}; {' or '.join(BUILTINS)} was expected")
    return given[0]


def _shape(model: Model) -> dict[str, Any]:
    facts = model.facts or {}
    return {"name": model.name, "folder": model.folder, "digest": model.digest, "architecture": facts.get("architecture"),
            "parameters": facts.get("parameters"), "context_length": facts.get("context_length"), "bytes": facts.get("bytes")}


def _count(number: int | None) -> str:
    if not number:
        return "–"
    for unit, scale in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= scale:
            return f"{number / scale:.1f} {unit}"
    return str(number)
