"""Published weights -> a model, with an account of every key.

The originals save a plain state dict with the names that the model has here; what is there too much or too
little is explained, or refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from oscar.modeling import OscarForCaptioning, OscarForPreTraining, OscarForRetrieval
from oscar.published import ConversionError, Published

AnyOscar = OscarForCaptioning | OscarForPreTraining | OscarForRetrieval

WORDS = "bert.embeddings.word_embeddings.weight"
DECODER = "cls.predictions.decoder.weight"
MATCH = "cls.seq_relationship.weight"
RETRIEVAL = "classifier.weight"


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


def load_weights(model: AnyOscar, source: Published) -> KeyReport:
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

    def __init__(self, model: AnyOscar, source: Published) -> None:
        self.path, self.names = source.files[0], dict(source.file_names)
        self.source: dict[str, Tensor] = dict(source.tensors)
        self.target: dict[str, Tensor] = model.state_dict()
        self.has_word_head = DECODER in self.target
        self.tied = (DECODER,) if self.has_word_head and model.config.tie_word_embeddings else ()
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
        elif self.has_word_head and not self.tied and decoder is None and bias in self.source:
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
        if key.startswith("cls.predictions.") and not self.has_word_head:
            return "the model has no word head"
        if key.startswith("classifier.") and self._is_other(key):
            return "the head of another task"
        if key.startswith("cls.seq_relationship."):
            if key not in self.target:
                return "the model has no match head"
            if not self.from_oscar:
                return "BERT's next-sentence head, another task than the match head"
            if self._is_other(key):
                return f"has {len(self.source[key])} contrast classes, the model {len(self.target[key])}"
        return ""

    def _is_other(self, key: str) -> bool:
        return key not in self.target or self.source[key].shape != self.target[key].shape

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
            elif key.startswith("classifier."):
                self.new[key] = "no retrieval head in the file"
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
