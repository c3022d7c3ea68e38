"""The original Oscar, timed in a process of its own: its packages are called `oscar` and `transformers` too.

    python -m benchmarks.original PEER FOLDER decode --batch 8 --beams 5 [--cached] --repeats 2
    python -m benchmarks.original PEER FOLDER train --batch 16 --repeats 3

PEER is a checkout of microsoft/Oscar with its submodule `transformers` (the files of the package
pytorch-transformers 1.1.0 in PEER/transformers/pytorch_transformers do as well); FOLDER holds what
`benchmarks.workload` wrote. Prints one JSON line. Nothing of the original is part of this project.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.machine import gemm_gflops, peak_megabytes

CLS, SEP, MASK = 101, 102, 103  # as in benchmarks.workload, which imports this project's `oscar`
CAPTION_SLOTS = 40
GENERATION_SLOTS = 21  # [CLS] and 20 steps
UNUSED: dict[str, dict[str, Any]] = {
    "boto3": {},
    "botocore": {},
    "botocore.exceptions": {"ClientError": Exception},
    "six": {"PY2": False},
    "anytree": {},
}
"""Modules that the original imports and this benchmark does not need -> what it takes from them on import."""


def import_original(peer: Path) -> Any:
    """Its module of models; what it imports for downloads, Python 2 and nocaps becomes empty modules."""
    for name, values in UNUSED.items():
        module = ModuleType(name)
        vars(module).update(values)
        sys.modules.setdefault(name, module)
    submodule = ModuleType(
        "transformers.pytorch_transformers"
    )  # without its __init__: all models, old tokenizers
    submodule.__path__ = [str(peer / "transformers" / "pytorch_transformers")]
    parent = ModuleType("transformers")
    parent.__path__ = [str(peer / "transformers")]
    sys.modules.update({"transformers": parent, "transformers.pytorch_transformers": submodule})
    sys.path.insert(0, str(peer))
    return importlib.import_module("oscar.modeling.modeling_bert")


def build(peer: Path, folder: Path, cached: bool) -> Any:
    """Its captioning model with the benchmark's weights."""
    original = import_original(peer)
    config = original.BertConfig(vocab_size_or_config_json_file=21128)
    extra = {
        "img_feature_dim": 2054,
        "img_feature_type": "frcnn",
        "use_img_layernorm": 1,
        "img_layer_norm_eps": 1e-12,
        "tie_weights": True,
        "freeze_embedding": False,
        "label_smoothing": 0.1,
        "drop_worst_ratio": 0,
        "drop_worst_after": 0,
        "output_hidden_states": cached,
    }
    for name, value in extra.items():
        setattr(config, name, value)
    model = original.BertForImageCaptioning(config)
    missing, unexpected = model.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
    if unexpected or missing != ["cls.predictions.decoder.weight"]:
        raise RuntimeError(f"the weights do not fit the original: {missing}, {unexpected}")
    model.tie_weights()
    return model


def attention_mask(n_caption: Tensor, slots: int, tags: int, regions: int) -> Tensor:
    """(B, L, L) 0/1: captions of `n_caption` pieces in `slots`, then tags and regions, all of them real."""
    length = slots + tags + regions
    column = torch.arange(length)
    caption = column[None] < n_caption[:, None]  # (B, L)
    prefix = (column >= slots)[None].expand_as(caption)
    earlier = column[:, None] >= column[None]
    within = caption[:, :, None] & caption[:, None] & earlier
    return (within | ((caption | prefix)[:, :, None] & prefix[:, None])).long()


def decoder(model: Any, inputs: dict[str, Tensor], batch: int, beams: int) -> Callable[[], list[list[int]]]:
    """A function that captions the first pictures of the inputs and returns their ids."""
    tags, features = inputs["tag_ids"][:batch], inputs["region_features"][:batch]
    length = GENERATION_SLOTS + tags.shape[1]
    token_types = torch.zeros(batch, length, dtype=torch.long)
    token_types[:, GENERATION_SLOTS:] = 1
    settings = {
        "is_decode": True,
        "do_sample": False,
        "bos_token_id": CLS,
        "pad_token_id": 0,
        "eos_token_ids": [SEP],
        "mask_token_id": MASK,
        "add_od_labels": True,
        "od_labels_start_posid": CAPTION_SLOTS,
        "max_length": GENERATION_SLOTS,
        "num_beams": beams,
        "temperature": 1,
        "top_k": 0,
        "top_p": 1,
        "repetition_penalty": 1,
        "length_penalty": 1,
        "num_return_sequences": 1,
        "num_keep_best": 1,
    }
    given = {
        "input_ids": torch.cat([torch.full((batch, GENERATION_SLOTS), MASK), tags], dim=1),
        "img_feats": features,
        "attention_mask": attention_mask(
            torch.full((batch,), GENERATION_SLOTS), GENERATION_SLOTS, tags.shape[1], features.shape[1]
        ),
        "masked_pos": torch.ones(batch, length, dtype=torch.long),
        "token_type_ids": token_types,
    }

    @torch.no_grad()
    def run() -> list[list[int]]:
        sequences: Tensor = model(**given, **settings)[0]
        return [[i for i in row if i not in (0, CLS, SEP)] for row in sequences[:, 0].tolist()]

    model.eval()
    return run


def trainer(model: Any, inputs: dict[str, Tensor], batch: int) -> Callable[[], float]:
    """A function that takes one step of its captioning loop (clip 1.0, AdamW) and returns the loss."""
    captions, tags = inputs["captions"][:batch], inputs["tag_ids"][:batch]
    features, masked = inputs["region_features"][:batch], inputs["masked"][:batch]
    lengths = (captions != 0).sum(1)
    text = torch.cat([captions.masked_fill(masked, MASK), tags], dim=1)
    token_types = torch.zeros_like(text)
    token_types[:, CAPTION_SLOTS:] = 1
    targets = torch.zeros(batch, 3, dtype=torch.long)
    for row in range(batch):
        chosen = captions[row][masked[row]]
        targets[row, : len(chosen)] = chosen
    given = {
        "input_ids": text,
        "attention_mask": attention_mask(lengths, CAPTION_SLOTS, tags.shape[1], features.shape[1]),
        "token_type_ids": token_types,
        "img_feats": features,
        "masked_pos": torch.nn.functional.pad(masked.int(), (0, tags.shape[1])),
        "masked_ids": targets,
    }
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-5, weight_decay=0.05)
    model.train()

    def run() -> float:
        torch.manual_seed(0)
        loss = model(**given)[0]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        model.zero_grad()
        return float(loss)

    return run


def main() -> None:
    """Time one task; a JSON line with seconds, what came out, memory and the rate of matrix products."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("peer", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("task", choices=("decode", "train"))
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--beams", type=int, default=1)
    parser.add_argument(
        "--cached", action="store_true", help="its hidden-state cache (exact for one beam only)"
    )
    parser.add_argument("--repeats", type=int, default=2)
    arguments = parser.parse_args()
    model = build(arguments.peer, arguments.folder, arguments.cached)
    inputs = load_file(arguments.folder / "inputs.safetensors")
    run: Callable[[], Any] = (
        decoder(model, inputs, arguments.batch, arguments.beams)
        if arguments.task == "decode"
        else trainer(model, inputs, arguments.batch)
    )
    rate, seconds, out = gemm_gflops(), [], None
    for _ in range(arguments.repeats):
        start = time.perf_counter()
        out = run()
        seconds.append(time.perf_counter() - start)
    told = {
        "seconds": seconds,
        "gemm_gflops": max(rate, gemm_gflops()),
        "peak_mb": peak_megabytes(),
        "out": out,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
