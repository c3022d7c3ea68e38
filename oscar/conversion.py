"""Which model a folder of published BERT or Oscar weights needs.

What `config.json` says is taken, what it leaves out the weights say, and special ids come from the
vocabulary, because published Chinese configurations carry RoBERTa's. `oscar.keys` then copies the weights.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers.activations import ACT2FN

from oscar.configuration import OscarConfig
from oscar.keys import DECODER, MATCH, RETRIEVAL, WORDS, AnyOscar
from oscar.modeling import OscarForCaptioning, OscarForPreTraining, OscarForRetrieval
from oscar.published import CONFIG, REGIONS, ConversionError, Published

REGION_NORM = "bert.LayerNorm.weight"

NEEDED = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
)
TAKEN = (
    *NEEDED,
    "hidden_act",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "type_vocab_size",
    "layer_norm_eps",
    "initializer_range",
    "img_feature_dim",
    "img_layer_norm_eps",
    "use_img_layernorm",
    "num_contrast_classes",
    "max_caption_pieces",
)
"""Fields of ``config.json`` that mean the same here."""

_OTHER_MODELS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "model_type": (lambda kind: kind in ("bert", "oscar"), "wanted a BERT or an Oscar"),
    "img_feature_type": (
        lambda kind: not str(kind).startswith("dis_code"),
        "regions as discrete codes, which no published recipe uses, are not supported",
    ),
    "hidden_act": (lambda name: name in ACT2FN, "no such activation function"),
    "type_vocab_size": (lambda count: count >= 2, "object tags need a second segment"),
    "position_embedding_type": (lambda kind: kind == "absolute", "BERT and Oscar count absolute positions"),
    "pruned_heads": (lambda heads: not heads, "models with pruned attention heads are not supported"),
    "is_decoder": (lambda flag: not flag, "Oscar is a bidirectional encoder"),
}
"""Field of ``config.json`` -> what it must be for the weights to be a BERT's, and why."""


def oscar_config(source: Published, special_ids: Mapping[str, int], **changes: Any) -> OscarConfig:
    """The configuration that a folder's weights need.

    Args:
        source: the folder.
        special_ids: ``pad_token_id`` and the other fields of `oscar.configuration.SPECIAL_IDS`, from the
            vocabulary.
        changes: fields to differ from the folder's, such as dropout.

    Raises:
        ConversionError: ``config.json`` lacks a size, is of another kind of model, or contradicts itself.
    """
    theirs, path = source.settings, source.folder / CONFIG
    missing = [name for name in NEEDED if name not in theirs]
    if missing:
        raise ConversionError(f"{path}: lacks {', '.join(missing)}, so it is no BERT or Oscar configuration")
    for name, (is_right, wanted) in _OTHER_MODELS.items():
        if name in theirs and not is_right(theirs[name]):
            raise ConversionError(f"{path}: {name} is {theirs[name]!r}; {wanted}")
    fields = {name: theirs[name] for name in TAKEN if name in theirs}
    fields |= _said_by_weights(source)
    if "use_img_layernorm" in fields:
        fields["use_img_layernorm"] = bool(fields["use_img_layernorm"])  # 0 or 1 in the originals
    try:
        return OscarConfig(**{**fields, **special_ids, **changes})
    except (ValueError, StrictDataclassError) as error:
        raise ConversionError(f"{path}: {error}") from error


def _said_by_weights(source: Published) -> dict[str, Any]:
    """Fields that ``config.json`` may leave out, or that the weights know better."""
    tensors, theirs = source.tensors, source.settings
    fields: dict[str, Any] = {"tie_word_embeddings": _is_tied(source)}
    if source.has_regions:
        fields["use_img_layernorm"] = theirs.get("use_img_layernorm", REGION_NORM in tensors)
        fields["img_feature_dim"] = theirs.get("img_feature_dim", tensors[REGIONS].shape[1])
        if MATCH in tensors:
            fields["num_contrast_classes"] = len(tensors[MATCH])
    return fields


def _is_tied(source: Published) -> bool:
    """Oscar's ``tie_weights`` decides, then BERT's ``tie_word_embeddings``, then the weights."""
    for name in ("tie_weights", "tie_word_embeddings"):
        if source.settings.get(name) is not None:
            return bool(source.settings[name])
    decoder, words = source.tensors.get(DECODER), source.tensors.get(WORDS)
    return decoder is None or words is None or torch.equal(decoder, words)


def model_class(source: Published) -> type[AnyOscar]:
    """The model whose heads a folder holds; a captioner where it holds none."""
    head = source.tensors.get(RETRIEVAL)
    if source.has_regions and head is not None and len(head) == 2:
        return OscarForRetrieval
    return OscarForPreTraining if source.has_regions and MATCH in source.tensors else OscarForCaptioning
