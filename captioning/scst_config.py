"""Settings of self-critical training: default, check, help text and record in one place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from captioning.ranges import at_least, positive

Baseline = Literal["greedy", "leave_one_out"]


@dataclass(frozen=True, kw_only=True)
class ScstConfig:
    """Captions drawn, and their reward: CIDEr-D against all human captions of the picture."""

    samples: int = 5
    """Captions drawn of a picture in a step; they share one encoding of its tags and regions."""
    baseline: Baseline = "leave_one_out"
    """What a sample must beat. ``leave_one_out``: the mean of the picture's other samples
    (arXiv:2003.09971); ``greedy``: its greedy caption (arXiv:1612.00563, the original Oscar). The first saves
    a search, and is steadier where samples are far worse than greedy captions."""
    temperature: float = 1.0
    """Divides the logits where samples are drawn and where they learn; above 0. At 1, the original's, a
    captioner that is young or was trained with label smoothing draws captions far below its greedy ones, and
    what those teach can make the latter worse; at 0.5 they are nearly as good (docs/results.md)."""
    segmenter: str = "jieba"
    """What cuts captions for the reward: jieba (words), chars, whitespace, or an installed package's."""
    reward_workers: int | None = None
    """Processes that compute rewards, of every training process; if empty, 2 with CUDA, else none, for a
    processor needs its cores for the model."""
    frequencies: Path | None = None
    """Document frequencies from ``captioning.count_ngrams``; if empty, those of the training captions."""

    def __post_init__(self) -> None:
        at_least(self, "samples", 1)
        positive(self, "temperature")
        if self.reward_workers is not None:
            at_least(self, "reward_workers", 0)
        if self.baseline == "leave_one_out" and self.samples < 2:
            raise ValueError("one sample has no others to beat: set samples to 2 or more, or baseline=greedy")
