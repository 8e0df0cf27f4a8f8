"""`headrace estimate`: what a job would take and where it fits, before it is submitted."""

from __future__ import annotations

from functools import reduce
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.asking import assigned, given, laid_over, read_spec, weighted
from cli.client import open_client, segment
from cli.output import Json, duration, out, print_fields, print_json, print_table, say, size
from cli.submit import check, file_id

PARTS = ("weights", "adapter", "gradients", "optimizer", "activations", "logits", "libraries", "total")


def estimate(
    file: Annotated[str | None, typer.Argument(help="A file to upload, or the id of one (file-…).", show_default=False)] = None,
    model: Annotated[str, typer.Option("--model", "-m", help="Base model, or a fine-tuned one.", show_default=False)] = "",
    dataset: Annotated[list[str] | None, typer.Option("--dataset", "-d", help="NAME\\[@VERSION]\\[:WEIGHT] of a registered "
                                                      "data set.", show_default=False)] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", help="Passes over the data.", show_default=False)] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="Examples per step.", show_default=False)] = None,
    lora_r: Annotated[int | None, typer.Option("--lora-r", help="Rank of the adapter.", show_default=False)] = None,
    max_length: Annotated[int | None, typer.Option("--max-length", help="Tokens of one example.", show_default=False)] = None,
    micro_batch: Annotated[int | None, typer.Option("--micro-batch", help="Tokens that go through the model at once.",
                                                    show_default=False)] = None,
    split: Annotated[float | None, typer.Option("--split", help="Share of the rows to hold out.", show_default=False)] = None,
    devices: Annotated[int | None, typer.Option("--devices", help="GPUs that train it together.", show_default=False)] = None,
    precision: Annotated[str | None, typer.Option("--precision", help="auto, bf16, fp16 or fp32.", show_default=False)] = None,
    spec: Annotated[Path | None, typer.Option("--spec", help="A JSON file with the whole request of a submit.",
                                              show_default=False)] = None,
    field: Annotated[list[str] | None, typer.Option("--set", help="FIELD=VALUE: any field of the request, as for submit.",
                                                    show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """Reckon what a job takes: parameters, memory by part, rows, tokens, steps, time, and the devices that it fits on.

    A file is uploaded for it; its id then serves for the submit. Whatever else a submit takes comes by --spec and --set.

    \b
    Example:
        headrace estimate chats.jsonl --model smollm2-135m-instruct --epochs 2
    """
    options = given(max_length=max_length, micro_batch_tokens=micro_batch, devices=devices, precision=precision)
    hyperparameters = given(n_epochs=epochs, batch_size=batch_size)
    said = given(
        model=model or None, validation_split=split, lora=given(r=lora_r) or None, options=options or None,
        method={"type": "supervised", "supervised": {"hyperparameters": hyperparameters}} if hyperparameters else None)
    body = reduce(laid_over, map(assigned, field or []), laid_over(read_spec(spec), said))
    check(body, file=file, dataset=dataset)
    with open_client() as client:
        client.get(f"/models/{segment(body['model'])}")  # an unknown model is told before a file is uploaded
        named = given(training_file=file_id(client, file),
                      datasets=[weighted(client, text) for text in dataset] if dataset else None)
        told = client.post("/fine_tuning/jobs/estimate", {**body, **named})
    if as_json:
        print_json(told)
        return
    _print(told)
    if named.get("training_file") not in (None, file):
        say(f"[dim]submit it: headrace submit {named['training_file']} --model {body['model']}[/dim]")


def _print(told: dict[str, Any]) -> None:
    data, memory, parameters = told["data"] or {}, told["memory"] or {}, told["parameters"]
    print_fields([
        ("base model", told["base_model"]),
        ("parameters", parameters and f"{parameters['total']:,}, {parameters['trainable']:,} of them trained"),
        ("rows", data and f"{data['rows']:,}" + (f", {data['validation_rows']:,} held out" if data["validation_rows"] else "")),
        ("tokens", data and f"{data['tokens']:,}" + (f" (from {data['measured_rows']:,} rows)" if data["is_sampled"] else "")),
        ("steps", data and f"{data['steps']:,} of {data['batch_size']} rows, {data['n_epochs']} epochs"),
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
    return f"{duration(time['seconds'])} at {time['tokens_per_second']:,.0f} tokens/s (jobs measured: {time['measured_jobs']})"
