"""Sizes of the model: default, check, help text and record in one place."""

from __future__ import annotations

from dataclasses import dataclass

from captioning.ranges import at_least, share


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Sizes of a model trained from scratch; with ``init`` they come from that folder instead."""

    layers: int = 4
    """Transformer layers."""
    width: int = 256
    """Hidden width D."""
    heads: int = 4
    """Attention heads; must divide ``width``."""
    feed_forward: int = 1024
    """Inner width of the feed-forward part."""
    dropout: float = 0.1
    """Dropout of embeddings and layers (with ``init`` too)."""
    attention_dropout: float = 0.1
    """Dropout of the attention weights (with ``init`` too)."""
    max_caption_pieces: int = 40
    """Caption slots with [CLS] and [SEP]; the tags' positions start here (with ``init`` too)."""
    max_positions: int = 128
    """Position embeddings, for caption and tags together."""
    region_layernorm: bool = True
    """LayerNorm after the region projection, as in VinVL (with BERT's weights in ``init`` too)."""
    contrast_classes: int = 3
    """Classes of the match head: 3 as in Oscar+ and Mengzi-Oscar, 2 as in Oscar."""
    tie_embeddings: bool = True
    """The word head uses the word embeddings as its weight, unless the weights in ``init`` have both."""
    freeze_embeddings: bool = False
    """Word embeddings, and a word head tied to them, are not trained."""

    def __post_init__(self) -> None:
        for name in ("layers", "width", "heads", "feed_forward"):
            at_least(self, name, 1)
        at_least(self, "max_caption_pieces", 3)
        share(self, "dropout")
        share(self, "attention_dropout")
        if self.width % self.heads:
            raise ValueError(f"width must be a multiple of heads, got {self.width} and {self.heads}")
        if self.contrast_classes not in (2, 3):
            raise ValueError(f"contrast_classes must be 2 or 3, got {self.contrast_classes}")
        if self.max_positions <= self.max_caption_pieces:
            raise ValueError(
                f"max_positions must exceed max_caption_pieces ({self.max_caption_pieces}), "
                f"got {self.max_positions}"
            )
