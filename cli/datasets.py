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
    shape: Annotated[str, typer.Option("--shape", help="What its rows look like: chat, sharegpt, alpaca, prompt_completion, "
                                       "text or preference; found by the first rows when absent.", show_default=False)] = "",
    columns: Annotated[str, typer.Option("--columns", help="JSON that names the field of each part, or an entry of a "
                                         "dataset_info.json.", show_default=False)] = "",
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until its rows are checked and counted.")] = True,
    as_json: Json = False,
) -> None:
    """Register a file's rows under a name.

    \b
    Examples:
        headrace datasets register support chats.jsonl
        headrace datasets register quiz quiz.csv --columns '{"prompt": "question", "completion": "answer"}'
    """
    said = {**({"shape": shape} if shape else {}), **({"columns": _parsed(columns)} if columns else {})}
    with open_client() as client:
        file_id = file if file.startswith("file-") and not Path(file).exists() else upload_with_bar(client, Path(file))["id"]
        told = client.post("/datasets", {"name": name, "file_id": file_id, **said})
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
    row: Annotated[int, typer.Option("--row", min=0, help="Number of the first row, from 0.")] = 0,
    rows: Annotated[int, typer.Option("--rows", min=1, max=8, help="How many rows.")] = 1,
    as_json: Json = False,
) -> None:
    """Show rows as the model will see them: what it is trained on stands out.

    \b
    Example:
        headrace datasets preview support --model smollm2-135m-instruct --row 3
    """
    if not model:
        raise CommandRefused("--model is missing; name the base model whose tokens to show")
    with open_client() as client:
        told = client.get(f"/datasets/{find_dataset(client, dataset)['id']}/preview", model=model, row=row, rows=rows)
    if as_json:
        print_json(told)
        return
    for entry in told["rows"]:
        _show_tokens(entry)


@app.command("lengths")
def lengths(
    dataset: Named,
    model: Annotated[str, typer.Option("--model", "-m", help="Base model whose tokens are counted.", show_default=False)] = "",
    max_length: Annotated[int, typer.Option("--max-length", min=0, help="Tokens from which on a row is too long; 0: as a "
                                            "job without the option has it.")] = 0,
    as_json: Json = False,
) -> None:
    """Show how long rows are in a model's tokens, and which are too long.

    \b
    Example:
        headrace datasets lengths support --model smollm2-135m-instruct
    """
    if not model:
        raise CommandRefused("--model is missing; name the base model whose tokens to count")
    with open_client() as client:
        asked = {"model": model, **({"max_length": max_length} if max_length else {})}
        told = client.get(f"/datasets/{find_dataset(client, dataset)['id']}/lengths", **asked)
    print_json(told) if as_json else _show_lengths(told)


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
        ("error", error.get("message")), ("format", version.get("format")), ("shape", version.get("shape")),
        ("rows", version.get("rows")), ("faulty rows", version.get("faulty_rows") or None),
        ("repeated rows", _repeated(version)), ("size", size(version.get("bytes"))),
    ])
    if version["status"] == "ready":
        for fault in version["faults"][:SHOWN_FAULTS]:
            print_plain(fault["message"])


def _repeated(version: dict[str, Any]) -> str | None:
    told = version.get("duplicates") or {}
    return f"{'about ' if told['is_estimated'] else ''}{told['rows']:,}" if told.get("rows") else None


def _parsed(columns: str) -> dict[str, Any]:
    try:
        told = orjson.loads(columns)
    except orjson.JSONDecodeError as error:
        raise CommandRefused(f"--columns holds no JSON ({error.msg}); write it as '{{\"prompt\": \"question\"}}'") from None
    if not isinstance(told, dict):
        raise CommandRefused("--columns must hold an object, as in '{\"prompt\": \"question\"}'")
    return told


def _show_lengths(told: dict[str, Any]) -> None:
    about = "about " if told["over"]["is_estimated"] else ""
    print_fields([
        ("rows", told["rows"]), ("measured", told["measured"]), ("tokens, median", told["p50"]), ("95 %", told["p95"]),
        ("99 %", told["p99"]), ("longest", told["max"]), ("trained on, mean", round(told["trained_mean"])),
        (f"over {told['max_length']}", f"{about}{told['over']['rows']}"),
    ])
    most = max((rows for _, rows in told["histogram"]), default=1) or 1
    for limit, rows in told["histogram"]:
        print_plain(f"{limit // 2:>8} … {limit - 1:<8} {'█' * max(round(40 * rows / most), 1 if rows else 0)} {rows:,}")
    for row in told["over"]["lines"][:SHOWN_FAULTS]:
        print_plain(f"{row['file']}, line {row['line']}: {row['tokens']} tokens")


def _show_tokens(entry: dict[str, Any]) -> None:
    """Show a row's text, what is trained on in green; of a preference pair, which side it is."""
    side = f", {entry['side']}" if entry.get("side") else ""
    if entry["refused"]:
        print_plain(f"line {entry['line']}{side} cannot be trained on: {entry['refused']}")
        return
    shown = Text()
    for token in entry["tokens"]:
        shown.append(token["text"], style="green" if token["trained"] else "dim")
    out().print(shown, soft_wrap=True)
    say(f"[dim]line {entry['line']}{side}: {entry['token_count']} tokens, {entry['trained_count']} of them trained on "
        "(green)[/dim]")
