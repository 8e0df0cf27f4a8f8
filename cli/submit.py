"""`headrace submit`: a file or registered data sets, a base model, and what to do with them."""

from __future__ import annotations

import sys
from functools import reduce
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.asking import assigned, given, labelled, laid_over, read_spec, scheduled, weighted
from cli.client import Client, open_client, segment
from cli.errors import CommandRefused
from cli.files import upload_with_bar
from cli.output import Json, print_json, print_plain, say
from cli.watch import follow

MIXING = "Mixing data sets"
ROWS = "Rows"
TRAINING = "Training"


def submit(
    file: Annotated[str | None, typer.Argument(help="A file to upload and train on, or the id of one (file-…).",
                                               show_default=False)] = None,
    model: Annotated[str, typer.Option("--model", "-m", help="Base model, or a fine-tuned one to go on from.",
                                       show_default=False)] = "",
    suffix: Annotated[str | None, typer.Option("--suffix", help="A word for the model's name.", show_default=False)] = None,
    priority: Annotated[int | None, typer.Option("--priority", help="-100 to 100; higher goes first.",
                                                  show_default=False)] = None,
    metadata: Annotated[list[str] | None, typer.Option("--metadata", help="KEY=VALUE to keep with the job; may come again.",
                                                       show_default=False)] = None,
    spec: Annotated[Path | None, typer.Option("--spec", help="A JSON file with the whole request, '-' for standard input; "
                                              "options are laid over it.", show_default=False)] = None,
    field: Annotated[list[str] | None, typer.Option("--set", help="FIELD=VALUE: any field of the request by its path, such as "
                                                    "options.warmup_ratio=0.1; may come again.", show_default=False)] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Follow the job until it ends.")] = False,
    as_json: Json = False,
    dataset: Annotated[list[str] | None, typer.Option(
        "--dataset", "-d", help="NAME\\[@VERSION]\\[:WEIGHT\\[:EPOCHS]] of a registered data set; several make a mixture.",
        show_default=False, rich_help_panel=MIXING)] = None,
    exhaustion: Annotated[str | None, typer.Option(
        "--exhaustion", help="When a mixture ends: all (every data set is done; the default), first (one of them is), or "
        "repeat (as many draws as there are rows).", show_default=False, rich_help_panel=MIXING)] = None,
    schedule: Annotated[list[str] | None, typer.Option(
        "--schedule", help="STEP:NAME=WEIGHT,NAME=WEIGHT: weights that hold from a step on; may come again.",
        show_default=False, rich_help_panel=MIXING)] = None,
    split: Annotated[float | None, typer.Option(
        "--split", help="Share of the rows to hold out and evaluate on, such as 0.1.", show_default=False,
        rich_help_panel=ROWS)] = None,
    validation: Annotated[str | None, typer.Option(
        "--validation", help="A file to evaluate on, or the id of one.", show_default=False, rich_help_panel=ROWS)] = None,
    max_length: Annotated[int | None, typer.Option(
        "--max-length", help="Tokens of one example at most.", show_default=False, rich_help_panel=ROWS)] = None,
    overlong: Annotated[str | None, typer.Option(
        "--overlong", help="What becomes of a longer row: truncate (the default), truncate_left, keep_last_turns, split or "
        "drop.", show_default=False, rich_help_panel=ROWS)] = None,
    on_bad_row: Annotated[str | None, typer.Option(
        "--on-bad-row", help="fail (the default) or skip.", show_default=False, rich_help_panel=ROWS)] = None,
    max_bad_rows: Annotated[int | None, typer.Option(
        "--max-bad-rows", help="Rows that may be skipped at most.", show_default=False, rich_help_panel=ROWS)] = None,
    max_bad_share: Annotated[float | None, typer.Option(
        "--max-bad-share", help="The same as a share of all rows.", show_default=False, rich_help_panel=ROWS)] = None,
    epochs: Annotated[int | None, typer.Option(
        "--epochs", help="Passes over the data; auto when absent.", show_default=False, rich_help_panel=TRAINING)] = None,
    batch_size: Annotated[int | None, typer.Option(
        "--batch-size", help="Examples per step; auto when absent.", show_default=False, rich_help_panel=TRAINING)] = None,
    lr: Annotated[float | None, typer.Option(
        "--lr", help="Learning rate; 2e-4 when absent.", show_default=False, rich_help_panel=TRAINING)] = None,
    lora_r: Annotated[int | None, typer.Option(
        "--lora-r", help="Rank of the adapter; 16 when absent.", show_default=False, rich_help_panel=TRAINING)] = None,
    seed: Annotated[int | None, typer.Option(
        "--seed", help="Same seed, data and settings: same adapter.", show_default=False, rich_help_panel=TRAINING)] = None,
    devices: Annotated[int | None, typer.Option(
        "--devices", help="GPUs of one host that train it together.", show_default=False, rich_help_panel=TRAINING)] = None,
    precision: Annotated[str | None, typer.Option(
        "--precision", help="auto, bf16, fp16 or fp32.", show_default=False, rich_help_panel=TRAINING)] = None,
    eval_every: Annotated[int | None, typer.Option(
        "--eval-every", help="Evaluate also every so many steps.", show_default=False, rich_help_panel=TRAINING)] = None,
    checkpoint_every: Annotated[int | None, typer.Option(
        "--checkpoint-every", help="List a checkpoint also every so many steps.", show_default=False,
        rich_help_panel=TRAINING)] = None,
    sample: Annotated[list[str] | None, typer.Option(
        "--sample", help="A prompt to answer before and after; may come again.", show_default=False,
        rich_help_panel=TRAINING)] = None,
) -> None:
    """Submit a fine-tuning job and print its id.

    \b
    Examples:
        headrace submit chats.jsonl --model smollm2-135m-instruct --epochs 2 --split 0.1 --watch
        headrace submit -d support -d wiki:0.3 -m qwen3-0.6b --lr 1e-4 --seed 7
        headrace submit -d support:0.8 -d wiki@2:0.2:3 -m qwen3-0.6b --exhaustion first
        headrace submit -d easy:1 -d hard:0 -m qwen3-0.6b --schedule 100:easy=0.5,hard=0.5 --schedule 300:easy=0,hard=1
        headrace submit chats.jsonl -m qwen3-0.6b --on-bad-row skip --max-bad-rows 20 --overlong keep_last_turns
        headrace submit --spec job.json --set options.warmup_ratio=0.1 --set lora.use_dora=true
    """
    options = given(
        learning_rate=lr, sample_prompts=sample, max_length=max_length, overlong=overlong, on_bad_row=on_bad_row,
        max_bad_rows=max_bad_rows, max_bad_share=max_bad_share, eval_every_steps=eval_every,
        checkpoint_every_steps=checkpoint_every, devices=devices, precision=precision)
    hyperparameters = given(n_epochs=epochs, batch_size=batch_size)
    said = given(
        model=model or None, suffix=suffix, seed=seed, validation_split=split, priority=priority, exhaustion=exhaustion,
        metadata=dict(map(labelled, metadata)) if metadata else None,
        mixture_schedule=list(map(scheduled, schedule)) if schedule else None,
        method={"type": "supervised", "supervised": {"hyperparameters": hyperparameters}} if hyperparameters else None,
        lora=given(r=lora_r) or None, options=options or None)
    body = reduce(laid_over, map(assigned, field or []), laid_over(read_spec(spec), said))
    check(body, file=file, dataset=dataset)
    with open_client() as client:
        client.get(f"/models/{segment(body['model'])}")  # an unknown model is told before a file is uploaded
        named = given(training_file=file_id(client, file), validation_file=file_id(client, validation),
                      datasets=[weighted(client, text) for text in dataset] if dataset else None)
        job = client.post("/fine_tuning/jobs", {**body, **named})
        if not watch:
            _print(job, as_json=as_json)
            return
        if not as_json:
            say(f"job {job['id']}; Ctrl-C stops watching, not the job")
        raise typer.Exit(follow(client, job["id"], as_json=as_json))


def check(body: dict[str, Any], *, file: str | None, dataset: list[str] | None) -> None:
    """Refuse what the server would, before anything is uploaded."""
    is_named_in_body = "training_file" in body or "datasets" in body
    if (file is not None) + bool(dataset) + is_named_in_body != 1:
        raise CommandRefused("name what to train on, once: a FILE, --dataset, or a field of --spec or --set")
    if not isinstance(body.get("model"), str):
        raise CommandRefused("--model is missing; name a base model, such as --model smollm2-135m-instruct")


def file_id(client: Client, file: str | None) -> str | None:
    """The id of a file, which is uploaded unless it is one already."""
    if file is None or (file.startswith("file-") and not Path(file).exists()):
        return file
    return upload_with_bar(client, Path(file))["id"]


def _print(job: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(job)
        return
    print_plain(job["id"])
    if sys.stdout.isatty():
        say(f"[dim]follow it: headrace watch {job['id']}[/dim]")
