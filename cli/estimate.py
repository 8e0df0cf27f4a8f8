"""`headrace estimate`: what a job would take and where it fits, before it is submitted."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.asking import given
from cli.client import open_client
from cli.job_options import (
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
from cli.output import Json, duration, out, print_fields, print_json, print_table, say, size
from core.errors import number_of

PARTS = ("weights", "adapter", "gradients", "optimizer", "activations", "logits", "libraries", "total")


def estimate(
    file: File = None,
    model: Model = "",
    dataset: Datasets = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    lora_r: LoraRank = None,
    max_length: MaxLength = None,
    micro_batch: Annotated[int | None, typer.Option("--micro-batch", help="Tokens that go through the model at once.",
                                                    show_default=False, rich_help_panel=TRAINING)] = None,
    split: Split = None,
    devices: Devices = None,
    precision: Precision = None,
    spec: Spec = None,
    field: Fields = None,
    as_json: Json = False,
) -> None:
    """Reckon what a job takes: parameters, memory by part, rows, tokens, steps, time, and the devices that it fits on.

    A file is uploaded for it; its id then serves for the submit. Whatever else a submit takes comes by --spec and --set.

    \b
    Example:
        headrace estimate chats.jsonl --model smollm2-135m-instruct --epochs 2
    """
    options = given(max_length=max_length, micro_batch_tokens=micro_batch, devices=devices, precision=precision)
    body = body_of(spec, field, epochs=epochs, batch_size=batch_size, lora_r=lora_r, options=options, model=model or None,
                   validation_split=split)
    check(body, file=file, dataset=dataset)
    with open_client() as client:
        body = with_data(client, body, file=file, dataset=dataset)
        told = client.post("/fine_tuning/jobs/estimate", body)
    if as_json:
        print_json(told)
        return
    _print(told)
    if file not in (None, body.get("training_file")):
        say(f"[dim]submit it: headrace submit {body['training_file']} --model {body['model']}[/dim]")


def _print(told: dict[str, Any]) -> None:
    data, memory, parameters = told["data"] or {}, told["memory"] or {}, told["parameters"]
    print_fields([
        ("base model", told["base_model"]),
        ("parameters", parameters and f"{parameters['total']:,}, {parameters['trainable']:,} of them trained"),
        ("rows", data and f"{data['rows']:,}" + (f", {data['validation_rows']:,} held out" if data["validation_rows"] else "")),
        ("tokens", data and f"{data['tokens']:,}" + (f" (from {data['measured_rows']:,} rows)" if data["is_sampled"] else "")),
        ("steps", data and f"{data['steps']:,} of {number_of(data['batch_size'], 'row')}, "
                           f"{number_of(data['n_epochs'], 'epoch')}"),
        ("time", duration(told["seconds"]) if told["seconds"] is not None else None),
        ("computes in", memory and f"{memory['precision']}, micro-batches of {memory['micro_batch_tokens']:,} tokens"),
        ("needs", memory and f"a device of {size(memory['needed_bytes'])} at least"),
    ])
    if memory:
        print_table(("memory", "size"), [(part, size(memory["bytes"][part])) for part in PARTS], empty="")
    rows = [(d["host"], d["name"], d["count"], size(d["memory_bytes"]), "yes" if d["fits"] else "no", d["reason"] or _time(d))
            for d in told["devices"]]
    print_table(("host", "device", "count", "memory", "fits", ""), rows, empty="no worker is alive")
    for note in told["notes"]:
        out().print(f"[yellow]![/yellow] {note}", soft_wrap=True)


def _time(device: dict[str, Any]) -> str:
    time = device["time"]
    if time["seconds"] is None:
        return str(time["reason"])
    return f"{duration(time['seconds'])} at {time['tokens_per_second']:,.0f} tokens/s (runs measured: {time['measured_runs']})"
