"""`headrace submit`: a file or registered data sets, a base model, and what to do with them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.client import Client, open_client, segment
from cli.datasets import find_dataset
from cli.errors import CommandRefused
from cli.files import upload_with_bar
from cli.output import Json, print_json, print_plain, say
from cli.watch import follow


def submit(
    file: Annotated[Path | None, typer.Argument(help="A JSON Lines file to upload and train on.", show_default=False)] = None,
    dataset: Annotated[list[str] | None, typer.Option("--dataset", "-d", help="NAME\\[@VERSION]\\[:WEIGHT] of a registered "
                                                      "data set; several make a mixture.", show_default=False)] = None,
    model: Annotated[str, typer.Option("--model", "-m", help="Base model, or a fine-tuned one to go on from.",
                                       show_default=False)] = "",
    epochs: Annotated[int | None, typer.Option("--epochs", help="Passes over the data; auto when absent.",
                                                show_default=False)] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="Examples per step; auto when absent.",
                                                    show_default=False)] = None,
    lr: Annotated[float | None, typer.Option("--lr", help="Learning rate; 2e-4 when absent.", show_default=False)] = None,
    lora_r: Annotated[int | None, typer.Option("--lora-r", help="Rank of the adapter; 16 when absent.",
                                                show_default=False)] = None,
    split: Annotated[float | None, typer.Option("--split", help="Share of the rows to hold out and evaluate on, such as 0.1.",
                                                show_default=False)] = None,
    validation: Annotated[Path | None, typer.Option("--validation", help="A JSON Lines file to evaluate on.",
                                                    show_default=False)] = None,
    sample: Annotated[list[str] | None, typer.Option("--sample", help="A prompt to answer before and after; may come again.",
                                                     show_default=False)] = None,
    max_length: Annotated[int | None, typer.Option("--max-length", help="Tokens of one example at most.",
                                                   show_default=False)] = None,
    suffix: Annotated[str | None, typer.Option("--suffix", help="A word for the model's name.", show_default=False)] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Same seed, data and settings: same adapter.",
                                             show_default=False)] = None,
    priority: Annotated[int | None, typer.Option("--priority", help="-100 to 100; higher goes first.",
                                                  show_default=False)] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Follow the job until it ends.")] = False,
    as_json: Json = False,
) -> None:
    """Submit a fine-tuning job and print its id.

    \b
    Examples:
        headrace submit chats.jsonl --model smollm2-135m-instruct --epochs 2 --split 0.1 --watch
        headrace submit -d support -d wiki:0.3 -m qwen3-0.6b --lr 1e-4 --seed 7
    """
    if (file is None) == (not dataset):
        raise CommandRefused("name what to train on: either a FILE or --dataset, not both")
    if not model:
        raise CommandRefused("--model is missing; name a base model, such as --model smollm2-135m-instruct")
    with open_client() as client:
        client.get(f"/models/{segment(model)}")  # an unknown model is told before a file is uploaded
        body = {
            "model": model, "suffix": suffix, "seed": seed, "validation_split": split, "priority": priority,
            "training_file": upload_with_bar(client, file)["id"] if file else None,
            "validation_file": upload_with_bar(client, validation)["id"] if validation else None,
            "datasets": [_weighted(client, text) for text in dataset] if dataset else None,
            "method": {"type": "supervised", "supervised": {"hyperparameters": _given(n_epochs=epochs, batch_size=batch_size)}},
            "lora": _given(r=lora_r) or None,
            "options": _given(learning_rate=lr, sample_prompts=sample, max_length=max_length) or None,
        }
        job = client.post("/fine_tuning/jobs", _given(**body))
        if not watch:
            _print(job, as_json=as_json)
            return
        if not as_json:
            say(f"job {job['id']}; Ctrl-C stops watching, not the job")
        raise typer.Exit(follow(client, job["id"], as_json=as_json))


def _print(job: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(job)
        return
    print_plain(job["id"])
    if sys.stdout.isatty():
        say(f"[dim]follow it: headrace watch {job['id']}[/dim]")


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _weighted(client: Client, text: str) -> dict[str, Any]:
    """Read NAME[@VERSION][:WEIGHT]."""
    named, _, weight = text.partition(":")
    name, _, version = named.partition("@")
    try:
        return {"dataset": find_dataset(client, name)["id"], **({"version": int(version)} if version else {}),
                **({"weight": float(weight)} if weight else {})}
    except ValueError:
        raise CommandRefused(f"--dataset is {text!r}; NAME, NAME@VERSION, NAME:WEIGHT or NAME@VERSION:WEIGHT was expected, "
                             "such as wiki@2:0.3") from None
