"""`headrace submit`: a file or registered data sets, a base model, and what to do with them."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from cli.asking import given, labelled, scheduled
from cli.client import open_client
from cli.job_options import (
    MIXING,
    ROWS,
    TRAINING,
    BatchSize,
    Datasets,
    Devices,
    Epochs,
    Fields,
    File,
    LoraRank,
    MaxLength,
    Model,
    Precision,
    Spec,
    Split,
    body_of,
    check,
    with_data,
)
from cli.output import Json, print_json, print_plain, say
from cli.watch import follow


def submit(
    file: File = None,
    model: Model = "",
    suffix: Annotated[str | None, typer.Option("--suffix", help="A word for the model's name.", show_default=False)] = None,
    priority: Annotated[int | None, typer.Option("--priority", help="-100 to 100; higher goes first.",
                                                  show_default=False)] = None,
    metadata: Annotated[list[str] | None, typer.Option("--metadata", help="KEY=VALUE to keep with the job; may come again.",
                                                       show_default=False)] = None,
    spec: Spec = None,
    field: Fields = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Follow the job until it ends.")] = False,
    as_json: Json = False,
    dataset: Datasets = None,
    exhaustion: Annotated[str | None, typer.Option(
        "--exhaustion", help="When a mixture ends: all (every data set is done; the default), first (one of them is), or "
        "repeat (as many draws as there are rows).", show_default=False, rich_help_panel=MIXING)] = None,
    schedule: Annotated[list[str] | None, typer.Option(
        "--schedule", help="STEP:NAME=WEIGHT,NAME=WEIGHT: weights that hold from a step on; may come again.",
        show_default=False, rich_help_panel=MIXING)] = None,
    split: Split = None,
    validation: Annotated[str | None, typer.Option(
        "--validation", help="A file to evaluate on, or the id of one.", show_default=False, rich_help_panel=ROWS)] = None,
    max_length: MaxLength = None,
    overlong: Annotated[str | None, typer.Option(
        "--overlong", help="What becomes of a longer row: truncate (the default), truncate_left, keep_last_turns, split or "
        "drop.", show_default=False, rich_help_panel=ROWS)] = None,
    on_bad_row: Annotated[str | None, typer.Option(
        "--on-bad-row", help="fail (the default) or skip.", show_default=False, rich_help_panel=ROWS)] = None,
    max_bad_rows: Annotated[int | None, typer.Option(
        "--max-bad-rows", help="Rows that may be skipped at most.", show_default=False, rich_help_panel=ROWS)] = None,
    max_bad_share: Annotated[float | None, typer.Option(
        "--max-bad-share", help="The same as a share of all rows.", show_default=False, rich_help_panel=ROWS)] = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    lr: Annotated[float | None, typer.Option(
        "--lr", help="Learning rate; 2e-4 when absent.", show_default=False, rich_help_panel=TRAINING)] = None,
    lora_r: LoraRank = None,
    seed: Annotated[int | None, typer.Option(
        "--seed", help="Same seed, data and settings: same adapter.", show_default=False, rich_help_panel=TRAINING)] = None,
    devices: Devices = None,
    precision: Precision = None,
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
    body = body_of(
        spec, field, epochs=epochs, batch_size=batch_size, lora_r=lora_r, options=options, model=model or None, suffix=suffix,
        seed=seed, validation_split=split, priority=priority, exhaustion=exhaustion,
        metadata=dict(map(labelled, metadata)) if metadata else None,
        mixture_schedule=list(map(scheduled, schedule)) if schedule else None)
    check(body, file=file, dataset=dataset)
    with open_client() as client:
        job = client.post("/fine_tuning/jobs", with_data(client, body, file=file, dataset=dataset, validation=validation))
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
