"""The model and vocabulary with which a run starts: from scratch, or from published weights."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from transformers import PretrainedConfig

from captioning.config import ModelConfig, TrainConfig
from captioning.tokenizer import VOCABULARY_FILE, CaptionTokenizer
from oscar.configuration import SPECIAL_IDS, OscarConfig
from oscar.conversion import oscar_config
from oscar.keys import load_weights
from oscar.modeling import OscarForCaptioning, OscarForPreTraining
from oscar.published import CONFIG, INDEX, Published, read_published

_WANTED_FILES = [CONFIG, VOCABULARY_FILE, "*.safetensors", "pytorch_model*.bin", f"*{INDEX}"]


def initial_folder(init: str) -> Path:
    """The folder of published weights: itself, or the download of a hub id.

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
            f"{init!r} is no folder here, and the hub did not give it ({type(error).__name__}); "
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
    pretrains = "pretrain" in config.objectives
    kind = OscarForPreTraining if pretrains else OscarForCaptioning
    if folder is None:
        model, told = kind(_own_config(config, tokenizer, region_width)), []
    else:
        source = read_published(folder)
        check_vocabulary(tokenizer, source)
        model = kind(_config_of(config, source, tokenizer, region_width))
        told = [*str(load_weights(model, source)).splitlines(), *unused_sizes(config.model, model.config)]
    # What no objective reads gets no gradient; DDP would wait for it.
    model.bert.pooler.requires_grad_(pretrains)
    if config.model.freeze_embeddings:
        model.bert.embeddings.word_embeddings.weight.requires_grad_(False)
    return model, told


_SIZES = {
    "layers": "num_hidden_layers",
    "width": "hidden_size",
    "heads": "num_attention_heads",
    "feed_forward": "intermediate_size",
    "max_positions": "max_position_embeddings",
}


def unused_sizes(asked: ModelConfig, made: PretrainedConfig) -> list[str]:
    """A line for each size that was asked for and that the initial weights decide otherwise."""
    return [
        f"model.{name} {getattr(asked, name)} is not used: the initial weights have {getattr(made, key)}"
        for name, key in _SIZES.items()
        if getattr(asked, name) not in (getattr(ModelConfig(), name), getattr(made, key))
    ]


def special_ids(tokenizer: CaptionTokenizer) -> dict[str, Any]:
    """The vocabulary's own ids, under the names that a configuration has for them."""
    return {field: tokenizer.pieces.index(piece) for field, piece in SPECIAL_IDS.items()}


def check_vocabulary(tokenizer: CaptionTokenizer, source: Published) -> None:
    """Prove that ``vocab.txt`` is the one that the weights were trained with, as far as numbers can.

    Raises:
        ValueError: ``config.json`` has another number of pieces. (The rows of the weights are compared
            with it when they are loaded.)
    """
    pieces = source.settings.get("vocab_size")
    if len(tokenizer) != pieces:
        raise ValueError(
            f"{source.folder / VOCABULARY_FILE}: {len(tokenizer)} pieces, but {CONFIG} says vocab_size "
            f"{pieces} (Chinese BERT and Mengzi have 21128); use the {VOCABULARY_FILE} that belongs to the "
            f"weights"
        )


def _own_config(config: TrainConfig, tokenizer: CaptionTokenizer, region_width: int) -> OscarConfig:
    """The sizes of ``config.model``."""
    model = config.model
    return OscarConfig(
        vocab_size=len(tokenizer),
        hidden_size=model.width,
        num_hidden_layers=model.layers,
        num_attention_heads=model.heads,
        intermediate_size=model.feed_forward,
        max_position_embeddings=model.max_positions,
        img_feature_dim=region_width,
        use_img_layernorm=model.region_layernorm,
        tie_word_embeddings=model.tie_embeddings,
        **_chosen(config),
        **special_ids(tokenizer),
    )


def _config_of(
    config: TrainConfig, source: Published, tokenizer: CaptionTokenizer, region_width: int
) -> OscarConfig:
    """The sizes of the weights; of the parts that they lack, those of ``config.model``."""
    model = config.model
    changes: dict[str, Any] = _chosen(config)
    if not source.has_regions:
        changes |= {"img_feature_dim": region_width, "use_img_layernorm": model.region_layernorm}
    if not model.tie_embeddings:
        changes["tie_word_embeddings"] = False
    made = oscar_config(source, special_ids(tokenizer), **changes)
    if made.img_feature_dim != region_width:
        raise ValueError(
            f"{source.folder}: reads regions of width {made.img_feature_dim} (appearance and 6 box numbers), "
            f"the regions file has {region_width}; extract with the detector that the weights know"
        )
    wanted = model.max_caption_pieces + config.data.prefix.max_tag_pieces
    if made.max_position_embeddings < wanted:
        raise ValueError(
            f"{source.folder / CONFIG}: {made.max_position_embeddings} positions; "
            f"caption and tags ask for {wanted}"
        )
    return made


def _chosen(config: TrainConfig) -> dict[str, Any]:
    """What is the run's to decide, whatever it starts from."""
    model = config.model
    return {
        "hidden_dropout_prob": model.dropout,
        "attention_probs_dropout_prob": model.attention_dropout,
        "num_contrast_classes": model.contrast_classes,
        "max_caption_pieces": model.max_caption_pieces,
    }
