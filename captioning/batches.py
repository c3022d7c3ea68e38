"""Padded batches: the tensors that one step reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captioning.examples import IGNORED, CaptionExample, PairExample, PrefixExample

T = TypeVar("T")


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
class CaptionBatch:
    """One step of the ``caption`` objective."""

    image_ids: tuple[str, ...]
    prefix: PrefixBatch
    captions: Captions
    n_captions: int


@dataclass(frozen=True, kw_only=True)
class PairBatch:
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


@dataclass(frozen=True, kw_only=True)
class SampleBatch:
    """One step of the ``scst`` objective: B pictures, whose captions the step draws itself."""

    image_ids: tuple[str, ...]
    prefix: PrefixBatch
    seeds: tuple[int, ...]
    """(B,) of the draws of each picture."""
    n_captions: int
    """To be drawn."""


Batch = CaptionBatch | PairBatch | SampleBatch


def to_device(value: T, device: torch.device) -> T:
    """The same batch with its tensors on another device."""
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)  # type: ignore[return-value]
    if isinstance(value, tuple):
        return type(value)(to_device(part, device) for part in value)
    if is_dataclass(value) and not isinstance(value, type):
        moved: dict[str, Any] = {f.name: to_device(getattr(value, f.name), device) for f in fields(value)}
        return replace(value, **moved)
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
