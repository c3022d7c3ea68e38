"""Weights of BERT, Mengzi-BERT and Oscar folders -> ours, with an account of every key.

The originals save a plain state dict with these very names; what differs from file to file is listed in
`_renamed` and `_Loader`. Pickles are read by torch's restricted loader, which runs no code.
"""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from oscar.modeling import OscarForCaptioning, OscarForPreTraining

WORDS = "bert.embeddings.word_embeddings.weight"
REGIONS = "bert.img_embedding.weight"
DECODER = "cls.predictions.decoder.weight"
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")


class ConversionError(ValueError):
    """The weights cannot be read, or a key of theirs or of the model is not explained."""


@dataclass(frozen=True)
class KeyReport:
    """What became of every key of a weights file and where every key of the model came from."""

    source: Path
    copied: tuple[str, ...]
    """Keys of the model whose values came from the file."""
    tied: tuple[str, ...]
    """Keys of the model that share the word embeddings."""
    new: Mapping[str, str]
    """Keys of the model that keep their initialisation -> why."""
    dropped: Mapping[str, str]
    """Keys of the file (after renaming) that were not used -> why."""

    def __str__(self) -> str:
        """A line for the copied keys, then one for each that was not."""
        lines = [f"{self.source}: {len(self.copied)} keys copied"]
        lines += [f"tied: {key}" for key in self.tied]
        lines += [f"new: {key} ({reason})" for key, reason in self.new.items()]
        lines += [f"dropped: {key} ({reason})" for key, reason in self.dropped.items()]
        return "\n".join(lines)


def load_initial_weights(model: OscarForCaptioning | OscarForPreTraining, folder: str | Path) -> KeyReport:
    """Start a model from the weights of a BERT, Mengzi-BERT or Oscar folder.

    Args:
        model: of the weights' sizes and vocabulary; changed in place, new parts keep their initialisation.
        folder: holds model.safetensors or pytorch_model.bin; any float type, read as fp32.

    Returns:
        The account of all keys.

    Raises:
        ConversionError: no readable weights, sizes that do not fit (the vocabulary's among them), or a key
            that nothing here explains. The model is then unchanged.
    """
    path = _weights_file(Path(folder))
    return _Loader(path, _renamed(_read(path), path), model).load()


def _weights_file(folder: Path) -> Path:
    for name in WEIGHT_FILES:
        if (folder / name).is_file():
            return folder / name
    there = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else "no folder"
    raise ConversionError(
        f"{folder}: wanted {' or '.join(WEIGHT_FILES)}, found {there}; weights split over several files "
        f"must be joined first"
    )


def _read(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, whatever it claims to be never executed."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ConversionError(
            f"{path}: holds more than tensors, which may run code when unpickled; it is refused. "
            f"Have its owner save a plain state dict or safetensors"
        ) from error
    except (SafetensorError, RuntimeError, EOFError, OSError) as error:
        raise ConversionError(f"{path}: cannot be read as weights ({error}); fetch the file again") from error
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise ConversionError(f"{path}: wanted a state dict of tensors, found something else")
    return tensors


def _renamed(tensors: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Today's names, in fp32: no `module.` of data parallelism, no TensorFlow norms, `bert.` in front."""
    renamed: dict[str, Tensor] = {}
    bare = not any(key.removeprefix("module.").startswith("bert.") for key in tensors)
    for key, value in tensors.items():
        name = key.removeprefix("module.")
        name = name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
        if bare and not name.startswith("cls."):
            name = f"bert.{name}"
        if name in renamed:
            raise ConversionError(f"{path}: {key!r} and another key both mean {name!r}")
        renamed[name] = value.float() if value.is_floating_point() else value
    return renamed


class _Loader:
    """Decides about every key, then copies."""

    def __init__(
        self, path: Path, source: dict[str, Tensor], model: OscarForCaptioning | OscarForPreTraining
    ) -> None:
        self.path, self.source = path, source
        self.target: dict[str, Tensor] = model.state_dict()
        self.tied = (DECODER,) if model.config.tie_word_embeddings else ()
        self.from_oscar = REGIONS in source
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
            if self.source[key].shape != self.target[key].shape:
                raise ConversionError(
                    f"{self.path}: {key} is {tuple(self.source[key].shape)}, the model's is "
                    f"{tuple(self.target[key].shape)}; build the model with the sizes of the weights"
                )
        with torch.no_grad():
            for key in copied:
                self.target[key].copy_(self.source[key])
        return KeyReport(self.path, tuple(copied), self.tied, self.new, self.dropped)

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
        if copy in self.source:
            value = self.source.pop(copy)
            if not torch.equal(self.source.setdefault(bias, value), value):
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
            self.source[DECODER] = words  # the file ties them, the model starts from there

    def _drop(self) -> None:
        """Take out what has no place in the model, each with its reason."""
        unexplained = []
        for key in list(self.source):
            reason = self._no_place(key)
            if reason:
                self.dropped[key] = reason
                del self.source[key]
            elif key not in self.target:
                unexplained.append(key)
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
