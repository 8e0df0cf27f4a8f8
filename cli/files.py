"""`headrace files`: what was uploaded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from cli.client import Client, Upload, open_client, segment
from cli.errors import CommandRefused
from cli.output import Json, err, print_json, print_plain, print_table, say, size, when

app = typer.Typer(no_args_is_help=True, help="Uploaded files: upload, list, delete, and job results to download.")


@app.command("upload")
def upload(
    file: Annotated[Path, typer.Argument(help="A JSON Lines file.")],
    as_json: Json = False,
) -> None:
    """Upload a file to train on and print its id."""
    with open_client() as client:
        told = upload_with_bar(client, file)
    print_json(told) if as_json else print_plain(told["id"])


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many to show, newest first.")] = 50,
    as_json: Json = False,
) -> None:
    """List files, newest first."""
    with open_client() as client:
        files = list(client.pages("/files", limit=limit))
    if as_json:
        print_json(files)
        return
    rows = [(f["id"], f["filename"], f["purpose"], size(f["bytes"]), when(f["created_at"])) for f in files]
    print_table(("id", "filename", "purpose", "size", "created"), rows,
                empty="no files; upload one: headrace files upload FILE")


@app.command("content")
def content(
    file: Annotated[str, typer.Argument(help="Id of the file, such as a job's result file.")],
    target: Annotated[Path, typer.Argument(help="Where to write it.")],
    as_json: Json = False,
) -> None:
    """Download a file's bytes."""
    with open_client() as client:
        count = client.download(f"/files/{segment(file)}/content", target)
    print_json({"id": file, "path": str(target), "bytes": count}) if as_json else say(f"{size(count)} in {target}")


@app.command("delete")
def delete(file: Annotated[str, typer.Argument(help="Id of the file.")], as_json: Json = False) -> None:
    """Delete a file; jobs that use it go on."""
    with open_client() as client:
        told = client.delete(f"/files/{segment(file)}")
    print_json(told) if as_json else say(f"{file} is deleted")


def upload_with_bar(client: Client, path: Path) -> dict[str, Any]:
    """Upload a file to train on, with a bar on standard error; raise CommandRefused where there is no such file."""
    if not path.is_file():
        raise CommandRefused(f"{path} is not a file; name a JSON Lines file")
    bar = Progress(TextColumn(f"uploading {path.name}"), BarColumn(bar_width=28), DownloadColumn(), TransferSpeedColumn(),
                   TimeRemainingColumn(), console=err(), transient=True, disable=not err().is_terminal)
    with bar as progress:
        task = progress.add_task("", total=path.stat().st_size)
        return client.upload(Upload(path), lambda count: progress.advance(task, count))
