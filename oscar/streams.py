"""Captions while they are being written: what the model says next, and what is kept of what it read.

A step feeds every stream two pieces, its last word and a [MASK], which attend to the cached keys and values
of the earlier words and, without a copy for each stream, to the picture's tags and regions. The word logits
at the [MASK] are those of the full sequence [caption so far, MASK, tags, regions] (arXiv:2004.06165).
Which pieces to write is the search's affair (oscar.decoding).
"""

from typing import cast

import torch
from torch import Tensor

from oscar.attention import MASKED, KeysValues
from oscar.backbone import CAPTION_SEGMENT, Prefix
from oscar.configuration import OscarConfig
from oscar.modeling import OscarForCaptioning


class Streams:
    """The caption streams being written: B pictures, W streams of each, n pieces so far."""

    def __init__(self, model: OscarForCaptioning, prefix: Prefix, width: int = 1) -> None:
        """All streams begin with [CLS].

        Args:
            model: in eval mode, if dropout is not wanted.
            prefix: tags and regions of B pictures, from `model.bert.encode_prefix`.
            width: W, streams of each picture.
        """
        self.model = model
        config = cast(OscarConfig, model.config)
        self._mask_id = config.mask_token_id
        self._prefix = prefix
        self._past: tuple[KeysValues, ...] | None = None  # of the words but the last, (B * W, N, n, d)
        self.words = torch.full((len(prefix), width, 1), config.cls_token_id, device=prefix.mask.device)
        """(B, W, 1 + n) long, [CLS] first."""

    @property
    def n_pieces(self) -> int:
        """n, the pieces of every stream without its [CLS]."""
        return self.words.shape[2] - 1

    def next_logits(self) -> Tensor:
        """(B, W, V) logits at a [MASK] behind each stream; once a step, for the last word joins the cache."""
        bert, n = self.model.bert, self.n_pieces
        last = self.words[:, :, -1].flatten()
        pieces = torch.stack([last, torch.full_like(last, self._mask_id)], dim=1)  # (B * W, 2)
        positions = torch.tensor([[n, n + 1]], device=last.device)
        hidden = bert.embeddings(pieces, positions, torch.full_like(positions, CAPTION_SEGMENT))
        own_mask = hidden.new_zeros(1, 1, 2, n + 2)
        own_mask[..., 0, -1] = MASKED  # the word does not read the [MASK] behind it
        hidden, present = bert.read_layers(self._prefix, hidden, own_mask, past=self._past, last=1)
        self._past = tuple(layer.first(n + 1) for layer in present)  # forget the [MASK]
        return self.model.word_logits(hidden[:, 0]).unflatten(0, self.words.shape[:2])

    def advance(self, pictures: Tensor, sources: Tensor, pieces: Tensor) -> None:
        """Every stream goes on with one piece more, as a continuation of any stream of its picture.

        Args:
            pictures: (B',) long, the pictures that stay, ascending; the others are dropped.
            sources: (B', W') long, which of its picture's W streams each new stream continues; W' is free.
            pieces: (B', W') long, the piece that each new stream writes.
        """
        before, width = self.words.shape[:2]
        streams = pictures[:, None] * width + sources  # (B', W') rows of the cache
        self.words = torch.cat([self.words.flatten(0, 1)[streams], pieces[:, :, None]], dim=2)
        if self._past is not None and not _in_order(streams.flatten(), before * width):
            self._past = tuple(layer.select(streams.flatten()) for layer in self._past)
        if len(pictures) < before:
            self._prefix = self._prefix.select(pictures)


def _in_order(index: Tensor, length: int) -> bool:
    """Is `index` 0, 1, ..., length - 1?"""
    return len(index) == length and torch.equal(index, torch.arange(length, device=index.device))
