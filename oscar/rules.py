"""Which pieces may be written, and how probable they then are: what every search does to the logits."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from oscar.configuration import OscarConfig


@dataclass(frozen=True, kw_only=True)
class PieceRules:
    """What a caption may hold, whatever way it is searched for."""

    max_pieces: int = 38
    """Longest caption, without [CLS] and [SEP]."""
    min_pieces: int = 1
    """Shortest caption."""
    no_repeat_ngram: int = 0
    """N-grams of this length appear once in a caption; 0 allows repeats."""
    repetition_penalty: float = 1.0
    """See `penalise_repetition`; 1 is none."""
    forbidden_ids: frozenset[int] = frozenset()
    """Never written, besides [PAD], [CLS] and [MASK]."""
    forbidden_words: frozenset[tuple[int, ...]] = frozenset()
    """Runs of pieces that are never written, wherever they would stand."""

    def check(self, config: OscarConfig) -> None:
        """Raise ValueError for what no search can keep."""
        check_length(self.max_pieces, config)
        if not 0 <= self.min_pieces <= self.max_pieces:
            raise ValueError(
                f"min_pieces must be between 0 and max_pieces {self.max_pieces}, got {self.min_pieces}"
            )
        if self.no_repeat_ngram < 0:
            raise ValueError(f"no_repeat_ngram must be 0 (off) or more, got {self.no_repeat_ngram}")
        check_penalty(self.repetition_penalty)
        forbidden = self.forbidden_ids.union(*self.forbidden_words)
        if config.sep_token_id in forbidden:
            raise ValueError(f"forbidden_ids holds [SEP] ({config.sep_token_id}), no caption could end")
        wrong = sorted(i for i in forbidden if not 0 <= i < config.vocab_size)
        if wrong:
            raise ValueError(f"forbidden_ids {wrong} are not among the {config.vocab_size} pieces")
        if () in self.forbidden_words:
            raise ValueError("forbidden_words holds a word without pieces")

    def log_probs(self, logits: Tensor, written: Tensor, config: OscarConfig) -> Tensor:
        """Logits (B, W, V) behind `written` pieces (B, W, n) -> log-probabilities, -inf where forbidden.

        What is forbidden is not taken out of the softmax.
        """
        log_probs = log_softmax(penalise_repetition(logits, written, self.repetition_penalty))
        self.forbid(log_probs, written, config)
        return log_probs

    def forbid(self, scores: Tensor, written: Tensor, config: OscarConfig) -> None:
        """Set logits or log-probabilities (B, W, V) behind `written` pieces (B, W, n) to -inf, in place."""
        control = {cast(int, i) for i in (config.pad_token_id, config.cls_token_id, config.mask_token_id)}
        if written.shape[2] < self.min_pieces:
            control.add(cast(int, config.sep_token_id))
        scores[..., sorted(control | self.forbidden_ids)] = -torch.inf
        if self.no_repeat_ngram:
            forbid_repeats(scores, written, self.no_repeat_ngram)
        for *begin, last in self.forbidden_words:
            if len(begin) <= written.shape[2]:
                tail = written[:, :, written.shape[2] - len(begin) :]
                begun = (tail == torch.tensor(begin, dtype=torch.long, device=tail.device)).all(dim=2)
                scores[..., last].masked_fill_(begun, -torch.inf)


def check_length(max_pieces: int, config: OscarConfig) -> None:
    """Raise ValueError for captions longer than the model's caption slots."""
    longest = config.max_caption_pieces - 2
    if not 1 <= max_pieces <= longest:
        raise ValueError(
            f"max_pieces must be between 1 and {longest} (the model's max_caption_pieces "
            f"{config.max_caption_pieces} less [CLS] and [SEP]), got {max_pieces}"
        )


def check_penalty(repetition_penalty: float) -> None:
    """Raise ValueError for a penalty that is no factor."""
    if not repetition_penalty > 0:
        raise ValueError(f"repetition_penalty must be above 0 (1 is none), got {repetition_penalty}")


def forbid_repeats(scores: Tensor, written: Tensor, n: int) -> None:
    """Set scores (B, W, V) to -inf, in place, where a piece would repeat an n-gram of (B, W, T) pieces."""
    if written.shape[2] < n:
        return
    grams = written.unfold(2, n, 1)  # (B, W, T - n + 1, n)
    tail = written[:, :, None, written.shape[2] - n + 1 :]  # the n - 1 last pieces
    again = (grams[..., :-1] == tail).all(dim=3)
    ban = scores.new_zeros(again.shape).masked_fill_(again, -torch.inf)
    scores.scatter_add_(2, grams[..., -1], ban)


def penalise_repetition(logits: Tensor, written: Tensor, penalty: float) -> Tensor:
    """Divide positive logits (B, W, V) of written pieces (B, W, T) by `penalty`, multiply negative ones.

    As in CTRL (arXiv:1909.05858); before the softmax, so the probabilities are those of the penalised model.
    """
    if penalty == 1:
        return logits
    of_written = logits.gather(2, written)
    return logits.scatter(2, written, torch.where(of_written > 0, of_written / penalty, of_written * penalty))


def filter_logits(logits: Tensor, temperature: float, top_k: int, top_p: float) -> Tensor:
    """Logits (..., V) of a narrower distribution: -inf outside it.

    Args:
        logits: of the next piece.
        temperature: divides the logits first; below 1 favours the probable pieces.
        top_k: then only the k most probable pieces stay (and those equal to the last of them); 0: all.
        top_p: then only the most probable pieces that together reach this probability (arXiv:1904.09751).
    """
    logits = logits / temperature
    if 0 < top_k < logits.shape[-1]:
        least = logits.topk(top_k).values[..., -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    if top_p < 1:
        ordered, pieces = logits.sort(dim=-1, descending=True)
        probs = ordered.softmax(dim=-1)
        beyond = probs.cumsum(dim=-1) - probs > top_p  # the pieces before this one reach it already
        logits = logits.masked_fill(torch.zeros_like(beyond).scatter(-1, pieces, beyond), -torch.inf)
    return logits


def check_filter(temperature: float, top_k: int, top_p: float) -> None:
    """Raise ValueError for what `filter_logits` cannot do."""
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")
    if top_k < 0:
        raise ValueError(f"top_k must be 0 (all pieces) or more, got {top_k}")
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p must be above 0 and at most 1, got {top_p}")


def only(log_probs: Tensor, piece: int) -> Tensor:
    """Log-probabilities (B, W, V) of which only those of one piece are left, the others -inf."""
    left = torch.full_like(log_probs, -torch.inf)
    left[:, :, piece] = log_probs[:, :, piece]
    return left


def log_softmax(logits: Tensor) -> Tensor:
    """Log-probabilities (..., V), at least in float32: sums over a caption need the digits."""
    return torch.log_softmax(logits, dim=-1, dtype=torch.promote_types(logits.dtype, torch.float32))
