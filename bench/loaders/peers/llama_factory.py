"""LLaMA-Factory streaming: its own arguments, template, data set, collator and the loader that its trainer makes.

It converts a local file to Arrow before the first row, whatever `streaming` says; `prepare` is that first start. It keeps
no state: it goes on by skipping batches, as its trainer does. It imports torchaudio, which text does not need; an empty
module stands in for it.
"""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
import json
import os
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import telling  # noqa: F401 - before the others, which print when they are imported

os.environ["DISABLE_VERSION_CHECK"] = "1"  # it would ask for packages that text does not need
sys.modules["torchaudio"] = types.ModuleType("torchaudio")
sys.modules["torchaudio"].__spec__ = importlib.machinery.ModuleSpec("torchaudio", None)

from accelerate import skip_first_batches  # noqa: E402
from datasets import load_dataset  # noqa: E402
from llamafactory.data import SFTDataCollatorWith4DAttentionMask, get_dataset, get_template_and_fix_tokenizer  # noqa: E402
from llamafactory.hparams import get_train_args  # noqa: E402
from llamafactory.model import load_tokenizer  # noqa: E402
from llamafactory.train.sft.trainer import CustomSeq2SeqTrainer  # noqa: E402
from program import Asked, Padded, folder_bytes, run  # noqa: E402
from transformers import LlamaConfig, LlamaForCausalLM  # noqa: E402

SYSTEM = f"llamafactory {importlib.metadata.version('llamafactory')} streaming"
_CHAT = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant", "system_tag": "system"}


class Loader(Padded):
    def __init__(self, asked: Asked) -> None:
        model_args, data_args, training_args, finetuning_args, _ = get_train_args(_arguments(asked))
        tokenizers = load_tokenizer(model_args)
        template = get_template_and_fix_tokenizer(tokenizers["tokenizer"], data_args)
        rows = get_dataset(template, model_args, data_args, training_args, stage="sft", **tokenizers)
        model = LlamaForCausalLM(LlamaConfig(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1,
                                             vocab_size=49152))
        collator = SFTDataCollatorWith4DAttentionMask(template=template, model=model, pad_to_multiple_of=8,
                                                      label_pad_token_id=-100, **tokenizers)
        trainer = CustomSeq2SeqTrainer(model=model, args=training_args, finetuning_args=finetuning_args, data_collator=collator,
                                       **rows, **tokenizers)
        self._loader = trainer.get_train_dataloader()
        self._given = 0

    def restore(self, state: Any) -> None:
        self._given = state
        self._loader = skip_first_batches(self._loader, state)

    def batches(self) -> Iterator[dict[str, Any]]:
        for batch in self._loader:
            self._given += 1
            yield batch

    def state(self) -> Any:
        return self._given


def prepare(asked: Asked) -> dict[str, Any]:
    """Make the Arrow files that its `load_dataset` makes at the first start; give their bytes."""
    load_dataset("json", data_files=[str(_file_in_its_folder(asked))], split="train", cache_dir=_cache(asked))
    return {"disk_bytes": folder_bytes(Path(_cache(asked)))}


def _arguments(asked: Asked) -> dict[str, Any]:
    work = Path(asked.work)
    name = _file_in_its_folder(asked).name
    told = {"rows": {"file_name": name, "formatting": "sharegpt", "columns": {"messages": "messages"}, "tags": _CHAT}}
    (work / "dataset_info.json").write_text(json.dumps(told))
    return {
        "stage": "sft", "do_train": True, "model_name_or_path": asked.tokenizer, "finetuning_type": "full",
        "template": "chatml", "dataset": "rows", "dataset_dir": str(work), "cutoff_len": asked.max_length, "streaming": True,
        "buffer_size": asked.buffer,
        "max_steps": 1_000_000, "per_device_train_batch_size": asked.batch, "dataloader_num_workers": max(asked.workers, 1),
        "seed": asked.seed, "output_dir": str(work / "output"), "report_to": "none", "cache_dir": _cache(asked),
        "use_cpu": True,
    }


def _file_in_its_folder(asked: Asked) -> Path:
    """A link to the file beside the description of data sets that it wants."""
    link = Path(asked.work) / Path(asked.file).name
    if not link.exists():
        link.symlink_to(Path(asked.file).resolve())
    return link


def _cache(asked: Asked) -> str:
    return str(Path(asked.work) / "arrow")


if __name__ == "__main__":
    run(SYSTEM, Loader, prepare)
