"""The model and vocabulary with which a run starts: from scratch, or from published weights."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from captioning.config import TrainConfig
from captioning.tokenizer import VOCABULARY_FILE, CaptionTokenizer
from oscar.configuration import OscarConfig
from oscar.conversion import load_initial_weights
from oscar.modeling import OscarForCaptioning, OscarForPreTraining

SIZES = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "max_position_embeddings",
    "type_vocab_size",
    "layer_norm_eps",
    "initializer_range",
)
"""What a model takes over from the configuration of the weights it starts with."""

_WANTED_FILES = ["config.json", VOCABULARY_FILE, "*.safetensors", "pytorch_model.bin"]


def initial_folder(init: str) -> Path:
    """The folder of ``init``: itself, or the download of a hub id.

    Raises:
        ValueError: neither a folder nor a model that can be had.
    """
    folder = Path(init)
    if folder.is_dir():
        return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(init, allow_patterns=_WANTED_FILES))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ValueError(
            f"init={init!r} is no folder here, and the hub did not give it ({type(error).__name__}); "
            "check the name and the network, or download it and give the folder"
        ) from error


def make_tokenizer(
    folder: Path | None, captions: Iterable[str], tag_names: Iterable[str]
) -> CaptionTokenizer:
    """The vocabulary of the weights, or one of all characters that captions and tags hold."""
    return CaptionTokenizer.from_folder(folder) if folder else CaptionTokenizer.build(captions, tag_names)


def make_model(
    config: TrainConfig, folder: Path | None, tokenizer: CaptionTokenizer, region_width: int
) -> tuple[OscarForCaptioning | OscarForPreTraining, list[str]]:
    """The model that the objective trains, on the CPU, in fp32; the seed decides what is new in it.

    Args:
        config: the run.
        folder: initial weights, or None to start from scratch.
        tokenizer: the vocabulary.
        region_width: F, appearance and geometry.

    Returns:
        The model, and what to tell of the weights it started from.

    Raises:
        ValueError: the weights do not fit the vocabulary or the lengths.
    """
    torch.manual_seed(config.seed)
    kind = OscarForPreTraining if config.objective == "pretrain" else OscarForCaptioning
    model = kind(model_config(config, folder, tokenizer, region_width)).float()
    told = [] if folder is None else str(load_initial_weights(model, folder)).splitlines()
    if config.model.freeze_embeddings:
        model.bert.embeddings.word_embeddings.weight.requires_grad_(False)
    return model, told


def model_config(
    config: TrainConfig, folder: Path | None, tokenizer: CaptionTokenizer, region_width: int
) -> OscarConfig:
    """Sizes from ``config.model`` or the ``config.json`` of the initial weights; ids from the vocabulary."""
    model = config.model
    sizes: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": model.width,
        "num_hidden_layers": model.layers,
        "num_attention_heads": model.heads,
        "intermediate_size": model.feed_forward,
        "max_position_embeddings": model.max_positions,
    }
    if folder is not None:
        sizes = _sizes_of(folder / "config.json")
        wanted = model.max_caption_pieces + config.data.prefix.max_tag_pieces
        if sizes["vocab_size"] < len(tokenizer) or sizes["max_position_embeddings"] < wanted:
            raise ValueError(
                f"{folder / 'config.json'}: {sizes['vocab_size']} pieces and "
                f"{sizes['max_position_embeddings']} positions; the vocabulary beside it has "
                f"{len(tokenizer)} pieces, caption and tags ask for {wanted} positions"
            )
    return OscarConfig(
        **sizes,
        hidden_dropout_prob=model.dropout,
        attention_probs_dropout_prob=model.attention_dropout,
        img_feature_dim=region_width,
        use_img_layernorm=model.region_layernorm,
        num_contrast_classes=model.contrast_classes,
        max_caption_pieces=model.max_caption_pieces,
        tie_word_embeddings=model.tie_embeddings,
        pad_token_id=tokenizer.pad_id,
        unk_token_id=tokenizer.unk_id,
        cls_token_id=tokenizer.cls_id,
        sep_token_id=tokenizer.sep_id,
        mask_token_id=tokenizer.mask_id,
    )


def _sizes_of(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return {name: values[name] for name in SIZES if name in values or name in _NEEDED}
    except FileNotFoundError:
        raise ValueError(
            f"{path}: not found; the folder of initial weights holds a BERT config.json"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a BERT configuration ({type(error).__name__}: {error})") from error


_NEEDED = frozenset(SIZES[:5] + SIZES[6:7])
