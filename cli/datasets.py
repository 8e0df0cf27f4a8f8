"""`headrace datasets`: register rows under a name, look at them, and see what a model will see."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.text import Text

from cli.client import Client, open_client, segment
from cli.errors import JOB_FAILED, CommandRefused
from cli.files import upload_with_bar
from cli.output import Json, err, out, print_fields, print_json, print_plain, print_table, say, size, when

app = typer.Typer(no_args_is_help=True, help="Data sets: register, list, show, rows, preview, delete.")

Named = Annotated[str, typer.Argument(help="Name or id of the data set.", show_default=False)]
LOOK_SECONDS = 0.3
SHOWN_FAULTS = 10


@app.command("register")
def register(
    name: Annotated[str, typer.Argument(help="Name of the data set; the same name again makes its next version.")],
    file: Annotated[str, typer.Argument(help="A JSON Lines file, or the id of an uploaded one (file-…).")],
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until its rows are checked and counted.")] = True,
    as_json: Json = False,
) -> None:
    """Register a file's rows under a name.

    \b
    Example:
        headrace datasets register support chats.jsonl
    """
    with open_client() as client:
        file_id = file if file.startswith("file-") and not Path(file).exists() else upload_with_bar(client, Path(file))["id"]
        told = client.post("/datasets", {"name": name, "file_id": file_id})
        if wait:
            with err().status("checking rows"):
                told = wait_until_checked(client, told["id"])
    print_json(told) if as_json else _show(told)
    if _version(told)["status"] == "failed":
        raise typer.Exit(JOB_FAILED)


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many to show, newest first.")] = 50,
    as_json: Json = False,
) -> None:
    """List data sets, newest first."""
    with open_client() as client:
        found = list(client.pages("/datasets", limit=limit))
    if as_json:
        print_json(found)
        return
    rows = [(d["name"], _version(d)["number"], _version(d)["status"], _version(d)["rows"], size(_version(d)["bytes"]),
             when(d["created_at"]), d["id"]) for d in found]
    print_table(("name", "version", "status", "rows", "size", "created", "id"), rows,
                empty="no data sets; register one: headrace datasets register NAME FILE")


@app.command("show")
def show(dataset: Named, as_json: Json = False) -> None:
    """Show counts, lengths and faulty lines of a data set's newest version."""
    with open_client() as client:
        told = find_dataset(client, dataset)
    print_json(told) if as_json else _show(told)


@app.command("rows")
def rows(
    dataset: Named,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100, help="How many rows.")] = 5,
    as_json: Json = False,
) -> None:
    """Show rows as they are stored."""
    with open_client() as client:
        found = client.get(f"/datasets/{find_dataset(client, dataset)['id']}/rows", limit=limit)
    if as_json:
        print_json(found)
        return
    for entry in found["data"]:
        text = orjson.dumps(entry["content"]).decode() if entry["content"] is not None else f"({entry['error']['message']})"
        print_plain(f"line {entry['line']}: {text}")


@app.command("preview")
def preview(
    dataset: Named,
    model: Annotated[str, typer.Option("--model", "-m", help="Base model whose template and tokenizer are used.",
                                       show_default=False)] = "",
    row: Annotated[int, typer.Option("--row", min=0, help="Number of the row, from 0.")] = 0,
    as_json: Json = False,
) -> None:
    """Show a row as the model will see it: what it is trained on stands out.

    \b
    Example:
        headrace datasets preview support --model smollm2-135m-instruct --row 3
    """
    if not model:
        raise CommandRefused("--model is missing; name the base model whose tokens to show")
    with open_client() as client:
        told = client.get(f"/datasets/{find_dataset(client, dataset)['id']}/preview", model=model, row=row)
    if as_json:
        print_json(told)
        return
    for entry in told["rows"]:
        _show_tokens(entry)


@app.command("delete")
def delete(dataset: Named, as_json: Json = False) -> None:
    """Delete a data set; refused while unfinished jobs use it."""
    with open_client() as client:
        told = client.delete(f"/datasets/{find_dataset(client, dataset)['id']}")
    print_json(told) if as_json else say(f"{dataset} is deleted")


def find_dataset(client: Client, named: str) -> dict[str, Any]:
    """Find a data set by its id or, newest first, its name; raise CommandRefused where there is none."""
    if named.startswith("ds_"):
        return client.get(f"/datasets/{segment(named)}")
    for entry in client.pages("/datasets"):
        if entry["name"] == named:
            return client.get(f"/datasets/{entry['id']}")
    raise CommandRefused(f"there is no data set {named!r} in this project; see `headrace datasets list`")


def wait_until_checked(client: Client, dataset_id: str) -> dict[str, Any]:
    while True:
        told = client.get(f"/datasets/{dataset_id}")
        if _version(told)["status"] != "indexing":
            return told
        time.sleep(LOOK_SECONDS)


def _version(dataset: dict[str, Any]) -> dict[str, Any]:
    return dataset["version"]


def _show(dataset: dict[str, Any]) -> None:
    version = _version(dataset)
    error = version.get("error") or {}
    print_fields([
        ("data set", dataset["name"]), ("id", dataset["id"]), ("version", version["number"]), ("status", version["status"]),
        ("error", error.get("message")), ("format", version.get("format")), ("rows", version.get("rows")),
        ("faulty rows", version.get("faulty_rows") or None), ("size", size(version.get("bytes"))),
    ])
    if version["status"] == "ready":
        for fault in version["faults"][:SHOWN_FAULTS]:
            print_plain(fault["message"])


def _show_tokens(entry: dict[str, Any]) -> None:
    """Show a row's text, what is trained on in green."""
    shown = Text()
    for token in entry["tokens"]:
        shown.append(token["text"], style="green" if token["trained"] else "dim")
    out().print(shown, soft_wrap=True)
    say(f"[dim]line {entry['line']}: {entry['token_count']} tokens, {entry['trained_count']} of them trained on (green)[/dim]")
