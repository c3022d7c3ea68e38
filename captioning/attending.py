"""What a caption rests on: where its pieces look, and what they lose without a region.

Attention shows where information was read from, not whether it mattered (arXiv:1902.10186); leaving a region
out shows whether it did (occlusion, arXiv:1311.2901), at the price of one prefix a region.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captioning.batches import PrefixBatch
from oscar.attention import Trace
from oscar.backbone import Prefix
from oscar.configuration import OscarConfig
from oscar.modeling import OscarForCaptioning
from oscar.objectives import dense_masked_tokens
from oscar.scoring import score_captions

AT_ONCE = 16
"""Prefixes encoded together while regions are left out."""


@dataclass(frozen=True, kw_only=True)
class Attention:
    """What the [MASK] that becomes a piece reads, the mean of all heads and layers."""

    places: tuple[tuple[int, int], ...]
    """Of each of n pieces in the NFC text of the caption: first character, the one after the last."""
    regions: NDArray[np.float32]
    """(n, R) share that goes to each region, best first; those that the model does not read get none."""
    picture: NDArray[np.float32]
    """(n,) share that goes to the vector of the whole picture, where there is one."""
    tags: NDArray[np.float32]
    """(n,) share that goes to all tags together; what is left goes to the caption itself."""


@dataclass(frozen=True, kw_only=True)
class Importance:
    """What a caption loses without a region: its vector and box are taken away, the tags stay."""

    places: tuple[tuple[int, int], ...]
    """As of `Attention`."""
    regions: NDArray[np.float32]
    """(n, R) log-probability of each piece with all regions, less that without one; 0 for those not read."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """A caption and the picture it is of."""

    batch: PrefixBatch
    """Of the one picture."""
    pieces: Sequence[int]
    """n of them, without [CLS] and [SEP]."""
    places: Sequence[tuple[int, int]]
    """Of the pieces in the text."""
    has_picture: bool
    """Whether the first row of the regions is the whole picture."""
    n_regions: int
    """R, of the picture; the model may read fewer."""

    @property
    def before(self) -> int:
        """Positions of the prefix before its first region."""
        return self.batch.tag_ids.shape[1] + self.has_picture

    def for_all(self, read: Tensor) -> NDArray[np.float32]:
        """(n, regions read) -> (n, R), with nothing for those that the model does not read."""
        found = np.zeros((len(self.pieces), self.n_regions), np.float32)
        found[:, : read.shape[1]] = read.float().cpu().numpy()
        return found


def attention(model: OscarForCaptioning, asked: Question) -> Attention:
    """Where the pieces look; the model in eval mode."""
    batch = asked.batch
    prefix = model.bert.encode_prefix(batch.tag_ids, batch.tag_mask, batch.region_features, batch.region_mask)
    shares = prefix_attention(model, prefix, asked.pieces)  # (n, G + R)
    n_tags, before = batch.tag_ids.shape[1], asked.before
    # A picture without regions is padded by one, which nothing reads.
    read = min(asked.n_regions, shares.shape[1] - before)
    return Attention(
        places=tuple(asked.places),
        regions=asked.for_all(shares[:, before : before + read]),
        picture=shares[:, n_tags:before].sum(dim=1).float().cpu().numpy(),
        tags=shares[:, :n_tags].sum(dim=1).float().cpu().numpy(),
    )


def prefix_attention(model: OscarForCaptioning, prefix: Prefix, pieces: Sequence[int]) -> Tensor:
    """Shares of attention that go to the prefix while a caption is written, the mean of layers and heads.

    Args:
        model: in eval mode.
        prefix: of one picture.
        pieces: n of them, without [CLS] and [SEP].

    Returns:
        (n, P) for the positions of the prefix; a row sums to less than 1, the rest stays in the caption.
    """
    config = cast(OscarConfig, model.config)
    read = torch.tensor([[config.cls_token_id, *pieces]], device=prefix.mask.device)  # (1, n + 1)
    stream = dense_masked_tokens(read, config.mask_token_id)
    trace = Trace()
    model.bert.read_prefix(prefix, stream.input_ids, stream.position_ids, stream.self_mask, trace=trace)
    weights = torch.stack([layer[0].mean(dim=0) for layer in trace.attentions]).mean(dim=0)
    first = read.shape[1]  # of the queries; the last of them would write [SEP]
    return weights[first : first + len(pieces), : prefix.mask.shape[1]]


def importance(model: OscarForCaptioning, asked: Question) -> Importance:
    """What each piece loses without each region; the model in eval mode."""
    read = min(asked.n_regions, asked.batch.region_mask.shape[1] - asked.has_picture)
    scored = []
    for start in range(-1, read, AT_ONCE):  # -1 leaves out nothing
        left_out = range(start, min(start + AT_ONCE, read))
        mask = asked.batch.region_mask.repeat(len(left_out), 1)
        for row, region in enumerate(left_out):
            if region >= 0:
                mask[row, asked.has_picture + region] = False
        captions = [[asked.pieces]] * len(left_out)
        scored.append(score_captions(model, _prefixes(model, asked.batch, mask), captions))
    log_probs = torch.cat(scored)[:, : len(asked.pieces)]  # (1 + regions read, n)
    return Importance(places=tuple(asked.places), regions=asked.for_all((log_probs[0] - log_probs[1:]).T))


def _prefixes(model: OscarForCaptioning, batch: PrefixBatch, region_mask: Tensor) -> Prefix:
    """One picture, encoded once for every row of the mask."""
    n = len(region_mask)
    return model.bert.encode_prefix(
        batch.tag_ids.expand(n, -1),
        batch.tag_mask.expand(n, -1),
        batch.region_features.expand(n, -1, -1),
        region_mask,
    )
