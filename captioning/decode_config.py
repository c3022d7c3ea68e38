"""Settings of captioning: default, check, help text and record in one place."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from captioning.ranges import at_least, positive, share

Rules = Literal["tushuo", "original"]


@dataclass(frozen=True, kw_only=True)
class DecodeConfig:
    """How a caption is searched for, or drawn."""

    beam_width: int = 5
    """Hypotheses kept per picture; 1 decodes greedily."""
    n_best: int = 1
    """Captions returned per picture, best first."""
    max_pieces: int = 38
    """Longest caption, in word pieces without [CLS] and [SEP]."""
    min_pieces: int = 1
    """Shortest caption, in word pieces."""
    length_penalty: float = 1.0
    """Exponent of the length that divides a caption's log-probability; 0 favours short captions."""
    no_repeat_ngram: int = 0
    """No run of this many pieces occurs twice; 0 allows all."""
    repetition_penalty: float = 1.0
    """Above 1, pieces that the caption already holds become less probable (arXiv:1909.05858)."""
    forbidden: list[str] = field(default_factory=list)
    """Words that no caption may hold, in addition to characters outside the vocabulary."""
    groups: int = 1
    """Groups of beams that avoid each other's words, for n best captions that differ (arXiv:1610.02424)."""
    diversity: float = 0.5
    """What a piece loses of its log-probability for each beam of another group that has just taken it."""
    samples: int = 0
    """Captions drawn at random per picture, in the order drawn, instead of a search; 0 searches."""
    temperature: float = 1.0
    """Divides the logits before drawing; below 1 favours probable pieces."""
    top_k: int = 0
    """Draw from the so many most probable pieces; 0 draws from all."""
    top_p: float = 1.0
    """Draw from the most probable pieces that together reach this probability (arXiv:1904.09751)."""
    seed: int = 0
    """Decides, together with the picture's id, what is drawn."""
    rules: Rules = "tushuo"
    """``original`` searches and draws by the rules of microsoft/Oscar, for the very captions it writes."""

    def __post_init__(self) -> None:
        for name in ("beam_width", "n_best", "max_pieces", "groups"):
            at_least(self, name, 1)
        for name in ("min_pieces", "no_repeat_ngram", "diversity", "samples", "top_k", "seed"):
            at_least(self, name, 0)
        for name in ("repetition_penalty", "temperature", "top_p"):
            positive(self, name)
        share(self, "top_p")
        if self.min_pieces > self.max_pieces:
            raise ValueError(
                f"min_pieces must be max_pieces ({self.max_pieces}) or less, got {self.min_pieces}"
            )
        if self.n_best > self.beam_width:
            raise ValueError(f"n_best must be beam_width ({self.beam_width}) or less, got {self.n_best}")
        if self.beam_width % self.groups or self.n_best % self.groups:
            raise ValueError(
                f"groups must divide beam_width ({self.beam_width}) and n_best ({self.n_best}), "
                f"got {self.groups}"
            )
        if not all(word.strip() for word in self.forbidden):
            raise ValueError(f"forbidden holds an empty word: {self.forbidden}")
        if self.rules == "original":
            for name, off in (("min_pieces", 1), ("no_repeat_ngram", 0), ("forbidden", []), ("groups", 1)):
                if getattr(self, name) != off:
                    raise ValueError(f"the original's rules know no {name}: set {name}={off} or rules=tushuo")
