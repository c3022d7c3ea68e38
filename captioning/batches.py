"""Padded batches: the tensors that one step reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captioning.examples import IGNORED, CaptionExample, PairExample, PrefixExample

T = TypeVar("T")
Unit = Literal["words", "pairs", "samples"]
"""What the parts of a loss are means over."""


class _Batch:
    """What batches of all objectives share; their tensors are in fields."""

    def pin_memory(self: T) -> T:
        """Asked for by torch's data loader, where batches travel to an accelerator."""
        return map_tensors(self, Tensor.pin_memory)


@dataclass(frozen=True, kw_only=True)
class PrefixBatch:
    """Tags and regions of B pictures, padded."""

    tag_ids: Tensor
    """(B, G) pieces."""
    tag_mask: Tensor
    """(B, G) bool, False on padding."""
    region_features: Tensor
    """(B, R, F) float32."""
    region_mask: Tensor
    """(B, R) bool, False on padding."""


@dataclass(frozen=True, kw_only=True)
class Captions:
    """C captions, padded to T."""

    pieces: Tensor
    """(C, T) what is read."""
    targets: Tensor
    """(C, T) what is predicted, IGNORED where nothing is."""
    real: Tensor
    """(C, T) bool, False on padding."""
    picture: Tensor
    """(C,) row of the caption's picture in the prefix."""


@dataclass(frozen=True, kw_only=True)
class CaptionBatch(_Batch):
    """One step of the ``caption`` objective."""

    image_ids: tuple[str, ...]
    prefix: PrefixBatch
    captions: Captions
    n_captions: int

    @property
    def counts(self) -> Mapping[Unit, int]:
        """Predicted pieces."""
        return {"words": int((self.captions.targets != IGNORED).sum())}

    @property
    def masks(self) -> tuple[Tensor, ...]:
        """False on padding."""
        return self.captions.real, self.prefix.tag_mask, self.prefix.region_mask


@dataclass(frozen=True, kw_only=True)
class PairBatch(_Batch):
    """One step of the ``pretrain`` objective: C examples over ``[CLS] caption [SEP] tags [SEP]``."""

    image_ids: tuple[str, ...]
    pieces: Tensor
    """(C, T + G)."""
    segments: Tensor
    """(C, T + G) 0 for the caption, 1 for tags."""
    targets: Tensor
    """(C, T + G)."""
    real: Tensor
    """(C, T + G) bool, False on padding."""
    match: Tensor
    """(C,) labels of ``Match``, the last class standing for a wrong caption."""
    picture: Tensor
    """(C,) row in the region tensors."""
    region_features: Tensor
    """(B, R, F) float32."""
    region_mask: Tensor
    """(B, R) bool, False on padding."""
    n_captions: int

    @property
    def counts(self) -> Mapping[Unit, int]:
        """Predicted pieces, and pairs."""
        return {"words": int((self.targets != IGNORED).sum()), "pairs": len(self.match)}

    @property
    def masks(self) -> tuple[Tensor, ...]:
        """False on padding; regions count for each of their captions."""
        return self.real, self.region_mask[self.picture]


@dataclass(frozen=True, kw_only=True)
class SampleBatch(_Batch):
    """One step of the ``scst`` objective: B pictures, whose captions the step draws itself."""

    image_ids: tuple[str, ...]
    prefix: PrefixBatch
    seeds: tuple[int, ...]
    """(B,) of the draws of each picture."""
    n_captions: int
    """To be drawn."""

    @property
    def counts(self) -> Mapping[Unit, int]:
        """Captions to be drawn."""
        return {"samples": self.n_captions}

    @property
    def masks(self) -> tuple[Tensor, ...]:
        """False on padding."""
        return self.prefix.tag_mask, self.prefix.region_mask


Batch = CaptionBatch | PairBatch | SampleBatch


def to_device(value: T, device: torch.device) -> T:
    """The same batch with its tensors on another device."""
    return map_tensors(value, lambda tensor: tensor.to(device, non_blocking=True))


def map_tensors(value: T, function: Callable[[Tensor], Tensor]) -> T:
    """The same batch with a function of each of its tensors."""
    if isinstance(value, Tensor):
        return function(value)  # type: ignore[return-value]
    if isinstance(value, tuple):
        return type(value)(map_tensors(part, function) for part in value)
    if is_dataclass(value) and not isinstance(value, type):
        mapped: dict[str, Any] = {
            f.name: map_tensors(getattr(value, f.name), function) for f in fields(value)
        }
        return replace(value, **mapped)
    return value


def collate_prefix(examples: Sequence[PrefixExample], pad_id: int) -> PrefixBatch:
    """Pads tags and regions of some pictures to their longest; at least one region slot."""
    tag_ids, tag_mask = pad_rows([example.tag_ids for example in examples], pad_id)
    features, region_mask = pad_regions([example.region_features for example in examples])
    return PrefixBatch(tag_ids=tag_ids, tag_mask=tag_mask, region_features=features, region_mask=region_mask)


def collate_captions(examples: Sequence[CaptionExample], pictures: Sequence[int], pad_id: int) -> Captions:
    """Pads captions, each beside the row of its picture, to the longest."""
    pieces, real = pad_rows([example.pieces for example in examples], pad_id)
    targets, _ = pad_rows([example.targets for example in examples], IGNORED)
    return Captions(pieces=pieces, targets=targets, real=real, picture=torch.tensor(pictures))


def collate_pairs(
    image_ids: Sequence[str],
    examples: Sequence[PairExample],
    pictures: Sequence[int],
    region_features: Sequence[NDArray[np.float32]],
    pad_id: int,
) -> PairBatch:
    """Pads pre-training examples, each beside the row of its picture, and the pictures' regions."""
    pieces, real = pad_rows([example.pieces for example in examples], pad_id)
    segments, _ = pad_rows([example.segments for example in examples], 0)
    targets, _ = pad_rows([example.targets for example in examples], IGNORED)
    features, region_mask = pad_regions(region_features)
    return PairBatch(
        image_ids=tuple(image_ids),
        pieces=pieces,
        segments=segments,
        targets=targets,
        real=real,
        match=torch.tensor([int(example.match) for example in examples]),
        picture=torch.tensor(pictures),
        region_features=features,
        region_mask=region_mask,
        n_captions=len(examples),
    )


def pad_rows(rows: Sequence[NDArray[np.int64]], value: int) -> tuple[Tensor, Tensor]:
    """(N, longest) rows filled up with a value, and (N, longest) bool, False where filled up."""
    lengths = np.array([len(row) for row in rows])
    real = np.arange(lengths.max()) < lengths[:, None]
    padded = np.full(real.shape, value, dtype=np.int64)
    padded[real] = np.concatenate(rows)
    return torch.from_numpy(padded), torch.from_numpy(real)


def pad_regions(rows: Sequence[NDArray[np.float32]]) -> tuple[Tensor, Tensor]:
    """(B, R, F) regions filled up with zeros, and (B, R) bool, False where filled up."""
    longest = max(1, *(len(row) for row in rows))
    features = torch.zeros(len(rows), longest, rows[0].shape[1])
    for index, row in enumerate(rows):
        features[index, : len(row)] = torch.from_numpy(row)
    lengths = torch.tensor([len(row) for row in rows])
    return features, torch.arange(longest) < lengths[:, None]
