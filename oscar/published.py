"""Folders of BERT, Mengzi-BERT, Oscar, VinVL and Mengzi-Oscar weights, read as they were published.

A folder holds ``config.json`` and the weights: safetensors, or a pickle that torch's restricted loader reads
without running any of it. Names and number types are brought to today's (`_renamed`); what the numbers mean
is decided in `oscar.conversion`.
"""

import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

CONFIG = "config.json"
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
INDEX = ".index.json"
"""Ends the name of the file that lists the parts of weights split over several files."""
REGIONS = "bert.img_embedding.weight"

_NEW_NAMES = (
    ("LayerNorm.gamma", "LayerNorm.weight"),  # as TensorFlow's BERT
    ("LayerNorm.beta", "LayerNorm.bias"),
    ("img_embedding.0.", "img_embedding."),  # MMF keeps the region embedder in one nn.Sequential
    ("img_embedding.1.", "LayerNorm."),
)


class ConversionError(ValueError):
    """The folder cannot be read, or something of it or of the model is not explained."""


@dataclass(frozen=True)
class Published:
    """What a folder holds, under today's names."""

    folder: Path
    settings: Mapping[str, Any]
    """``config.json`` as it is."""
    files: tuple[Path, ...]
    """The weights' files."""
    tensors: Mapping[str, Tensor]
    """Name -> values, floats in fp32."""
    file_names: Mapping[str, str]
    """Name -> the name in the file."""

    @property
    def has_regions(self) -> bool:
        """Whether this is a kind of Oscar, not a BERT."""
        return REGIONS in self.tensors

    def with_sides_swapped(self) -> "Published":
        """Weights that read regions ending in (h/H, w/W), as weights that read them ending in (w/W, h/H)."""
        weight = self.tensors[REGIONS]  # (D, F)
        order = [*range(weight.shape[1] - 2), weight.shape[1] - 1, weight.shape[1] - 2]
        return replace(self, tensors={**self.tensors, REGIONS: weight[:, order]})


def read_published(folder: str | Path) -> Published:
    """Read a folder of weights.

    Raises:
        ConversionError: a file is missing, damaged, or a pickle that wants to run code; or two keys mean
            the same.
    """
    folder = Path(folder)
    tensors, files = _read_weights(folder)
    file_names: dict[str, str] = {}
    for theirs, ours in _renamed(tensors).items():
        if ours in file_names:
            raise ConversionError(f"{files[0]}: {file_names[ours]!r} and {theirs!r} both mean {ours!r}")
        file_names[ours] = theirs
    return Published(
        folder=folder,
        settings=read_settings(folder / CONFIG),
        files=files,
        tensors={ours: _fp32(tensors[theirs]) for ours, theirs in file_names.items()},
        file_names=file_names,
    )


def read_settings(path: Path) -> dict[str, Any]:
    """A JSON object, such as ``config.json``.

    Raises:
        ConversionError: no such file, or something else in it.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConversionError(f"{path}: not found; a folder of published weights holds it") from None
    except ValueError as error:  # covers broken UTF-8 and broken JSON
        raise ConversionError(f"{path}: not JSON ({error}); fetch the file again") from error
    if not isinstance(values, dict):
        raise ConversionError(f"{path}: a JSON {type(values).__name__}, wanted an object")
    return values


def _read_weights(folder: Path) -> tuple[dict[str, Tensor], tuple[Path, ...]]:
    for name in WEIGHT_FILES:
        if (folder / name).is_file():
            return _read_file(folder / name), (folder / name,)
        if (folder / (name + INDEX)).is_file():
            return _read_parts(folder / (name + INDEX))
    there = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else "no folder"
    raise ConversionError(f"{folder}: wanted {' or '.join(WEIGHT_FILES)}, found {there}")


def _read_parts(index: Path) -> tuple[dict[str, Tensor], tuple[Path, ...]]:
    """Weights split over several files, as transformers does it from some size on."""
    place = read_settings(index).get("weight_map")
    if not isinstance(place, dict) or not all(isinstance(name, str) for name in place.values()):
        raise ConversionError(f"{index}: has no weight_map from keys to files; fetch the file again")
    tensors: dict[str, Tensor] = {}
    files = []
    for name in sorted(set(place.values())):
        path = index.parent / name
        if PurePath(name).name != name or not path.is_file():
            raise ConversionError(f"{index}: names {name!r}, which is no file beside it")
        files.append(path)
        tensors.update(_read_file(path))
    if tensors.keys() != place.keys():
        some = sorted(tensors.keys() ^ place.keys())[:8]
        raise ConversionError(f"{index}: it and its files disagree about {', '.join(some)}")
    return tensors, tuple(files)


def _read_file(path: Path) -> dict[str, Tensor]:
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
    except Exception as error:  # a damaged pickle raises anything: 12 types seen in 12,000 damaged files
        raise ConversionError(f"{path}: cannot be read as weights ({error}); fetch the file again") from error
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise ConversionError(f"{path}: wanted a state dict of tensors, found something else")
    return tensors


def _renamed(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """A file's names -> today's: no `module.` of data parallelism, no TensorFlow norms, `bert.` in front."""
    names = {}
    bare = not any(key.removeprefix("module.").startswith("bert.") for key in tensors)
    for key in tensors:
        name = key.removeprefix("module.")
        for old, new in _NEW_NAMES:
            name = name.replace(old, new)
        names[key] = f"bert.{name}" if bare and not name.startswith(("cls.", "classifier.")) else name
    return names


def _fp32(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() else value
