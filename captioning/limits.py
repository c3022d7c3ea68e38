"""How long what is read of a picture may be, in each stage of a run."""

from __future__ import annotations

from dataclasses import dataclass

from captioning.config import StageConfig, TrainConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Lengths in a stage of a run."""

    caption_pieces: int
    """With [CLS] and [SEP]."""
    tag_pieces: int
    """With [SEP]."""
    regions: int
    pair_pieces: int | None

    @classmethod
    def of(cls, config: TrainConfig, stage: StageConfig | None = None) -> Limits:
        """Those of the run, changed by a stage."""
        prefix, data = config.data.prefix, config.data
        changed = stage or StageConfig(share=1.0)
        return cls(
            caption_pieces=changed.max_caption_pieces or config.model.max_caption_pieces,
            tag_pieces=changed.max_tag_pieces or prefix.max_tag_pieces,
            regions=changed.max_regions or prefix.max_regions,
            pair_pieces=changed.max_pair_pieces or data.max_pair_pieces,
        )
