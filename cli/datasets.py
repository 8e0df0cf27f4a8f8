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
from core.errors import number_of

app = typer.Typer(no_args_is_help=True, help="Data sets: register, list, show, rows, preview, delete.")

Named = Annotated[str, typer.Argument(help="Name or id of the data set.", show_default=False)]
LOOK_SECONDS = 0.3
SHOWN_FAULTS = 10
SHOWN_FILES = 5


@app.command("register")
def register(
    name: Annotated[str, typer.Argument(help="Name of the data set; the same name again makes its next version.")],
    files: Annotated[list[str] | None, typer.Argument(
        help="Files of rows (.jsonl .json .csv .tsv .txt .parquet, also .gz .bz2 .xz .zst), or ids of uploaded ones (file-…).",
        show_default=False)] = None,
    place: Annotated[str, typer.Option("--place", help="A place that the operator named, instead of files; see `headrace "
                                       "places`.", show_default=False)] = "",
    path: Annotated[str, typer.Option("--path", help="In the place: a file, a pattern in quotes, or a folder with a slash at "
                                      "its end.", show_default=False)] = "",
    append: Annotated[bool, typer.Option("--append", help="Keep the newest version's files and add these.")] = False,
    shape: Annotated[str, typer.Option("--shape", help="What its rows look like: chat, sharegpt, alpaca, prompt_completion, "
                                       "text or preference; found by the first rows when absent.", show_default=False)] = "",
    column: Annotated[list[str] | None, typer.Option("--column", help="The field that a part is read from, as in "
                                                     "prompt=question; once for each part.", show_default=False)] = None,
    columns: Annotated[str, typer.Option("--columns", help="JSON that names the field of each part, or an entry of a "
                                         "dataset_info.json.", show_default=False)] = "",
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until its rows are checked and counted.")] = True,
    as_json: Json = False,
) -> None:
    """Register the rows of files, or of what lies in a place, under a name.

    \b
    Examples:
        headrace datasets register support chats.jsonl
        headrace datasets register support new-chats.jsonl.gz --append
        headrace datasets register quiz quiz.csv --column prompt=question --column completion=answer
        headrace datasets register logs --place lake --path '2026/**/*.jsonl'
    """
    if bool(files) == bool(place) or bool(place) != bool(path):
        raise CommandRefused("give files, or --place and --path; one of the two")
    mapping = {**(_parsed(columns) if columns else {}), **_mapped(column or [])}
    said = {"name": name, "append": append, **({"shape": shape} if shape else {}), **({"columns": mapping} if mapping else {})}
    with open_client() as client:
        rows = {"place": place, "path": path} if place else {"file_ids": [_uploaded(client, file) for file in files or []]}
        told = client.post("/datasets", {**said, **rows})
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
        print_plain(f"{entry['file']}, line {entry['line']}: {text}")


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
        ("repeated rows", _repeated(version)), ("size", size(version.get("bytes"))), ("files", _files(version)),
        ("note", _same(version)),
    ])
    if version["status"] == "ready":
        for fault in version["faults"][:SHOWN_FAULTS]:
            print_plain(fault["message"])


def _files(version: dict[str, Any]) -> str | None:
    """Each file with what it is and what it was turned into, a few of many."""
    shards = version.get("shards") or []
    told = [f"{shard['file']} ({_about(shard)})" for shard in shards[:SHOWN_FILES]]
    more = version.get("shard_count", 0) - len(told)
    return ", ".join(told) + (f" and {more:,} more" if more > 0 else "") if told else None


def _about(shard: dict[str, Any]) -> str:
    if shard["status"] == "waiting":
        return size(shard["bytes"]) or ""
    turned = f", in frames of {size(shard['converted_bytes'])}" if shard["converted_bytes"] is not None else ""
    return f"{shard['kind']}, {number_of(shard['rows'], 'row')}, {size(shard['bytes'])}{turned}, {shard['seconds'] or 0:.1f} s"


def _same(version: dict[str, Any]) -> str | None:
    return f"version {version['same_as']} has the same content" if version.get("same_as") else None


def _uploaded(client: Client, file: str) -> str:
    return file if file.startswith("file-") and not Path(file).exists() else upload_with_bar(client, Path(file))["id"]


def _mapped(column: list[str]) -> dict[str, str]:
    mapping: dict[str, str] = {}
    for each in column:
        part, _, field = each.partition("=")
        mapping[part] = field
    if wrong := next((part for part, field in mapping.items() if not part or not field), None):
        raise CommandRefused(f"--column {wrong!r} names no field; write it as prompt=question")
    return mapping


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
        print_plain(f"{entry['file']}, line {entry['line']}{side} cannot be trained on: {entry['refused']}")
        return
    shown = Text()
    for token in entry["tokens"]:
        shown.append(token["text"], style="green" if token["trained"] else "dim")
    out().print(shown, soft_wrap=True)
    say(f"[dim]{entry['file']}, line {entry['line']}{side}: {entry['token_count']} tokens, {entry['trained_count']} of them "
        "trained on (green)[/dim]")
