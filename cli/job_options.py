"""The options that describe a job, for the commands that take them, and what becomes of them: the body of a request."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.asking import assigned, given, laid_over, read_spec, weighted
from cli.client import Client, segment
from cli.errors import CommandRefused
from cli.files import upload_with_bar

MIXING = "Mixing data sets"
ROWS = "Rows"
TRAINING = "Training"

File = Annotated[str | None, typer.Argument(help="A file to upload and train on, or the id of one (file-…).",
                                            show_default=False)]
Model = Annotated[str, typer.Option("--model", "-m", help="Base model, or a fine-tuned one to go on from.", show_default=False)]
Spec = Annotated[Path | None, typer.Option("--spec", help="A JSON file with the whole request, '-' for standard input; options "
                                           "are laid over it.", show_default=False)]
Fields = Annotated[list[str] | None, typer.Option("--set", help="FIELD=VALUE: any field of the request by its path, such as "
                                                  "options.warmup_ratio=0.1; may come again.", show_default=False)]
Datasets = Annotated[list[str] | None, typer.Option(
    "--dataset", "-d", help="NAME\\[@VERSION]\\[:WEIGHT\\[:EPOCHS]] of a registered data set; several make a mixture.",
    show_default=False, rich_help_panel=MIXING)]
Split = Annotated[float | None, typer.Option("--split", help="Share of the rows to hold out and evaluate on, such as 0.1.",
                                             show_default=False, rich_help_panel=ROWS)]
MaxLength = Annotated[int | None, typer.Option("--max-length", help="Tokens of one example at most.", show_default=False,
                                               rich_help_panel=ROWS)]
Epochs = Annotated[int | None, typer.Option("--epochs", help="Passes over the data; auto when absent.", show_default=False,
                                            rich_help_panel=TRAINING)]
BatchSize = Annotated[int | None, typer.Option("--batch-size", help="Examples per step; auto when absent.", show_default=False,
                                               rich_help_panel=TRAINING)]
LoraRank = Annotated[int | None, typer.Option("--lora-r", help="Rank of the adapter; 16 when absent.", show_default=False,
                                              rich_help_panel=TRAINING)]
Devices = Annotated[int | None, typer.Option("--devices", help="GPUs of one host that train it together.", show_default=False,
                                             rich_help_panel=TRAINING)]
Precision = Annotated[str | None, typer.Option("--precision", help="auto, bf16, fp16 or fp32.", show_default=False,
                                               rich_help_panel=TRAINING)]


def body_of(spec: Path | None, fields: Sequence[str] | None, *, epochs: int | None, batch_size: int | None, lora_r: int | None,
            options: dict[str, Any], **said: Any) -> dict[str, Any]:
    """Lay what was said over the file of `--spec`, and `--set` over both."""
    hyperparameters = given(n_epochs=epochs, batch_size=batch_size)
    named = given(
        method={"type": "supervised", "supervised": {"hyperparameters": hyperparameters}} if hyperparameters else None,
        lora=given(r=lora_r) or None, options=options or None, **said)
    return reduce(laid_over, map(assigned, fields or []), laid_over(read_spec(spec), named))


def check(body: dict[str, Any], *, file: str | None, dataset: Sequence[str] | None) -> None:
    """Refuse what the server would, before anything is uploaded."""
    is_named_in_body = "training_file" in body or "datasets" in body
    if (file is not None) + bool(dataset) + is_named_in_body != 1:
        raise CommandRefused("name what to train on, once: a FILE, --dataset, or a field of --spec or --set")
    if not isinstance(body.get("model"), str):
        raise CommandRefused("--model is missing; name a base model, such as --model smollm2-135m-instruct")


def with_data(client: Client, body: dict[str, Any], *, file: str | None, dataset: Sequence[str] | None,
              validation: str | None = None) -> dict[str, Any]:
    """Put in what the job trains on; files are uploaded, once the model is known to be there."""
    client.get(f"/models/{segment(body['model'])}")
    named = given(training_file=_file_id(client, file), validation_file=_file_id(client, validation),
                  datasets=[weighted(client, text) for text in dataset] if dataset else None)
    return {**body, **named}


def _file_id(client: Client, file: str | None) -> str | None:
    """The id of a file, which is uploaded unless it is one already."""
    if file is None or (file.startswith("file-") and not Path(file).exists()):
        return file
    return upload_with_bar(client, Path(file))["id"]
