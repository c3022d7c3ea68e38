"""Published BERT and Oscar weights -> our configuration and model, with an account of every key.

The originals save a plain state dict with these very names. What differs from folder to folder is decided
here: what `config.json` says is taken, what it leaves out the weights say, and special ids come from the
vocabulary, because published Chinese configurations carry RoBERTa's.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor
from transformers.activations import ACT2FN

from oscar.configuration import OscarConfig
from oscar.modeling import OscarForCaptioning, OscarForPreTraining
from oscar.published import CONFIG, REGIONS, ConversionError, Published

WORDS = "bert.embeddings.word_embeddings.weight"
REGION_NORM = "bert.LayerNorm.weight"
DECODER = "cls.predictions.decoder.weight"
MATCH = "cls.seq_relationship.weight"

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


@dataclass(frozen=True)
class KeyReport:
    """What became of every key of the weights and where every key of the model came from."""

    source: Path
    copied: Mapping[str, str]
    """Key of the model whose values came from the file -> its name there."""
    tied: tuple[str, ...]
    """Keys of the model that share the word embeddings."""
    new: Mapping[str, str]
    """Keys of the model that keep their initialisation -> why."""
    dropped: Mapping[str, str]
    """Keys of the file (under today's names) that were not used -> why."""

    def __str__(self) -> str:
        """A line for the copied keys, then one for each that was not."""
        return "\n".join([f"{self.source}: {len(self.copied)} keys copied", *self._exceptions()])

    def every_key(self) -> str:
        """A line for every key."""
        copied = [
            f"copied: {key}" + (f" (there {theirs})" if theirs != key else "")
            for key, theirs in self.copied.items()
        ]
        return "\n".join([*copied, *self._exceptions()])

    def _exceptions(self) -> list[str]:
        lines = [f"tied: {key}" for key in self.tied]
        lines += [f"new: {key} ({reason})" for key, reason in self.new.items()]
        return lines + [f"dropped: {key} ({reason})" for key, reason in self.dropped.items()]


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


def load_weights(model: OscarForCaptioning | OscarForPreTraining, source: Published) -> KeyReport:
    """Start a model from the weights of a BERT, Mengzi-BERT or Oscar folder.

    Args:
        model: of the weights' sizes and vocabulary; changed in place, new parts keep their initialisation.
        source: the folder.

    Returns:
        The account of all keys.

    Raises:
        ConversionError: sizes that do not fit (the vocabulary's among them), or a key that nothing here
            explains. The model is then unchanged.
    """
    return _Loader(model, source).load()


class _Loader:
    """Decides about every key, then copies."""

    def __init__(self, model: OscarForCaptioning | OscarForPreTraining, source: Published) -> None:
        self.path, self.names = source.files[0], dict(source.file_names)
        self.source: dict[str, Tensor] = dict(source.tensors)
        self.target: dict[str, Tensor] = model.state_dict()
        self.tied = (DECODER,) if model.config.tie_word_embeddings else ()
        self.from_oscar = source.has_regions
        self.dropped: dict[str, str] = {}
        self.new: dict[str, str] = {}

    def load(self) -> KeyReport:
        """Check everything, copy, report."""
        self._check_vocabulary()
        self._settle_decoder()
        self._drop()
        self._leave_new()
        copied = [key for key in self.target if key in self.source and key not in self.tied]
        for key in copied:
            self._check_values(key)
        with torch.no_grad():
            for key in copied:
                self.target[key].copy_(self.source[key])
        names = {key: self.names[key] for key in copied}
        return KeyReport(self.path, names, self.tied, self.new, self.dropped)

    def _check_vocabulary(self) -> None:
        if WORDS not in self.source:
            raise ConversionError(f"{self.path}: has no {WORDS}, so it is no BERT or Oscar")
        theirs, ours = len(self.source[WORDS]), len(self.target[WORDS])
        if theirs != ours:
            raise ConversionError(
                f"{self.path}: its vocabulary has {theirs} pieces, the model's {ours}; "
                f"use the vocab.txt that belongs to the weights"
            )

    def _settle_decoder(self) -> None:
        """The word head's weight and bias, which files hold once or twice."""
        bias, copy = "cls.predictions.bias", "cls.predictions.decoder.bias"
        if copy in self.source and bias not in self.source:
            self._let_stand_for(copy, bias)
            del self.source[copy]
        elif copy in self.source:
            if not torch.equal(self.source[bias], self.source.pop(copy)):
                raise ConversionError(f"{self.path}: {bias} and {copy} differ, though BERT adds only one")
            self.dropped[copy] = f"the same as {bias}"
        words, decoder = self.source[WORDS], self.source.get(DECODER)
        if self.tied and decoder is not None:
            if not torch.equal(decoder, words):
                raise ConversionError(
                    f"{self.path}: {DECODER} is not {WORDS}, but the model ties them; "
                    f"build it with tie_word_embeddings=False"
                )
            self.dropped[DECODER] = "the same as the word embeddings"
            del self.source[DECODER]
        elif not self.tied and decoder is None and bias in self.source:
            self._let_stand_for(WORDS, DECODER)  # the file ties them, the model starts from there

    def _let_stand_for(self, old: str, new: str) -> None:
        """Values of the file's key ``old`` for the model's key ``new``."""
        self.source[new], self.names[new] = self.source[old], self.names[old]

    def _drop(self) -> None:
        """Take out what has no place in the model, each with its reason."""
        unexplained = []
        for key in list(self.source):
            reason = self._no_place(key)
            if reason:
                self.dropped[key] = reason
                del self.source[key]
            elif key not in self.target:
                unexplained.append(self.names[key])
        if unexplained:
            raise ConversionError(
                f"{self.path}: {len(unexplained)} keys have no place in the model: "
                f"{', '.join(unexplained[:8])}; check its number of layers and use_img_layernorm"
            )

    def _no_place(self, key: str) -> str:
        """Why a key of the file is not wanted; empty if it is, or if nothing explains it."""
        if key in ("bert.embeddings.position_ids", "bert.embeddings.token_type_ids"):
            return "counted anew in every forward"
        if key.startswith("classifier."):
            return "the head of another task"
        if key.startswith("cls.seq_relationship."):
            if key not in self.target:
                return "the model has no match head"
            if not self.from_oscar:
                return "BERT's next-sentence head, another task than the match head"
            if self.source[key].shape != self.target[key].shape:
                return f"has {len(self.source[key])} contrast classes, the model {len(self.target[key])}"
        return ""

    def _leave_new(self) -> None:
        """What the file does not hold and the model may therefore start afresh."""
        has_word_head = any(key.startswith("cls.predictions.") for key in self.source)
        missing = []
        for key in self.target:
            if key in self.source or key in self.tied:
                continue
            if key.startswith(("bert.img_embedding.", "bert.LayerNorm.")) and not self.from_oscar:
                self.new[key] = "BERT has no regions"
            elif key.startswith("bert.pooler."):
                self.new[key] = "saved without a pooler"
            elif key.startswith("cls.seq_relationship."):
                self.new[key] = "no match head of this kind in the file"
            elif key.startswith("cls.predictions.") and not has_word_head:
                self.new[key] = "saved without a word head"
            else:
                missing.append(key)
        if missing:
            raise ConversionError(
                f"{self.path}: {len(missing)} keys of the model are not in it: {', '.join(missing[:8])}; "
                f"check the model's number of layers and use_img_layernorm"
            )

    def _check_values(self, key: str) -> None:
        theirs, ours = self.source[key], self.target[key]
        if theirs.shape != ours.shape:
            raise ConversionError(
                f"{self.path}: {key} is {tuple(theirs.shape)}, the model's is {tuple(ours.shape)}; "
                f"build the model with the sizes of the weights"
            )
        if not theirs.is_floating_point():
            raise ConversionError(
                f"{self.path}: {key} holds {theirs.dtype}; quantised weights cannot be converted"
            )
