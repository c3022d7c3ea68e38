"""Training objectives: what caption streams read to be predicted, and logits and targets in, one loss out."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from oscar.masks import dense_mask


@dataclass(frozen=True)
class StreamInputs:
    """What `OscarModel.read_prefix` runs for C captions."""

    input_ids: Tensor
    """(C, T)."""
    position_ids: Tensor
    """(1, T)."""
    self_mask: Tensor
    """(1, T, T) bool, who reads whom inside a stream."""


def masked_tokens(pieces: Tensor) -> StreamInputs:
    """Captions with some pieces masked, to be predicted where they stand (arXiv:2004.06165).

    Every piece reads those up to itself. Padding comes last, so no real piece reads it.

    Args:
        pieces: (C, T), [MASK] among them.
    """
    places = torch.arange(pieces.shape[1], device=pieces.device)
    return StreamInputs(pieces, places[None], (places[:, None] >= places)[None])


def dense_masked_tokens(pieces: Tensor, mask_id: int) -> StreamInputs:
    """Whole captions, every piece of which is predicted by a [MASK] that reads the pieces before it (ours).

    Behind the pieces stands one [MASK] query a piece, at the position after it. A query is in the very state
    that predicts the next piece when the caption is written, so one pass trains every step of decoding, where
    masking 15 % trains on contexts with holes. (The query stream of XLNet, arXiv:1906.08237, left to right.)

    Args:
        pieces: (C, T), [CLS] first; query i predicts piece i + 1.
        mask_id: of [MASK].

    Returns:
        Streams of 2T, the queries last.
    """
    places = torch.arange(pieces.shape[1], device=pieces.device)
    return StreamInputs(
        torch.cat([pieces, torch.full_like(pieces, mask_id)], dim=1),
        torch.cat([places, places + 1])[None],
        dense_mask(pieces.shape[1], pieces.device),
    )


def masked_token_loss(
    logits: Tensor, targets: Tensor, label_smoothing: float = 0.0, drop_worst: float = 0.0
) -> Tensor:
    """Mean over N masked pieces of KL(smoothed target || prediction), as the original captioning loss.

    The target puts 1 - label_smoothing on the gold piece and the rest evenly on the V - 1 others (VinVL and
    Mengzi-Oscar captioning: 0.1). Without smoothing this is the negative log-likelihood. With it the
    entropy of the target is subtracted, so that a perfect prediction costs 0.

    Args:
        logits: (N, V), the masked rows only.
        targets: (N,) long.
        label_smoothing: in [0, 1).
        drop_worst: share of the pieces left out, those of the largest loss: captions hold errors
            (VinVL: 0.2, after 20,000 steps). int(N * (1 - drop_worst)) pieces stay, but at least one.

    Returns:
        A scalar.

    Raises:
        ValueError: nothing to predict, or a share outside [0, 1).
    """
    for name, share in (("label_smoothing", label_smoothing), ("drop_worst", drop_worst)):
        if not 0.0 <= share < 1.0:
            raise ValueError(f"{name} must be in [0, 1), got {share}")
    if not len(targets):
        raise ValueError("masked_token_loss was given no masked piece: mask at least one a batch")
    reduction = "none" if drop_worst else "mean"
    if label_smoothing:
        # torch spreads its share over all V pieces, gold included: with this share both mean the same target.
        others = logits.shape[-1] - 1
        share = label_smoothing * (others + 1) / others
        losses = functional.cross_entropy(logits, targets, reduction=reduction, label_smoothing=share)
        losses = losses + (1 - label_smoothing) * math.log(1 - label_smoothing)
        losses = losses + label_smoothing * math.log(label_smoothing / others)
    else:
        losses = functional.cross_entropy(logits, targets, reduction=reduction)
    if not drop_worst:
        return losses
    kept = max(1, int(len(targets) * (1 - drop_worst)))
    return torch.topk(losses, kept, largest=False).values.mean()


def drop_worst_share(drop_worst: float, after: int, step: int) -> float:
    """The `drop_worst` of a step: none for the first steps, in which every loss is large.

    The original counts its calls, the present one included, drops once the count exceeds `after`, and forgets
    the count when it is restarted. Here it is the trainer's step, which checkpoints keep.

    Args:
        drop_worst: share wanted in the end.
        after: steps that keep every loss.
        step: steps taken before this one.
    """
    return drop_worst if step >= after else 0.0


def contrast_loss(match_logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of the match head: does this text belong to this picture?

    Two classes (Oscar, arXiv:2004.06165): 0 matched, 1 swapped tags. Three (Oscar+, arXiv:2101.00529): 0
    matched, 1 wrong second text (tags or answer), 2 wrong first text (caption or question); that is the order
    of the original code and of its checkpoints, the paper's notes have 1 and 2 the other way round.

    Args:
        match_logits: (B, 2 or 3).
        labels: (B,) long.

    Returns:
        A scalar, the mean over the batch.
    """
    return functional.cross_entropy(match_logits, labels)


def self_critical_loss(log_probs: Tensor, rewards: Tensor, baseline: Tensor | None = None) -> Tensor:
    """Raise the probability of sampled captions that score above a baseline, lower the others'.

    Self-critical sequence training (arXiv:1612.00563) as in the original: the loss is
    -mean(log_prob * (reward - baseline)). The baseline is what the picture's greedy caption scores or, where
    none is given, the mean of the picture's other samples (arXiv:2003.09971), which saves the greedy search.

    Args:
        log_probs: (B, S) of S samples a picture, each the mean over its pieces and [SEP].
        rewards: (B, S), such as CIDEr-D; no gradient reaches them.
        baseline: (B,) rewards of the greedy captions, or None.

    Returns:
        A scalar.

    Raises:
        ValueError: shapes that differ, or no other sample to compare with.
    """
    if log_probs.ndim != 2 or log_probs.shape != rewards.shape:
        raise ValueError(
            f"log_probs {tuple(log_probs.shape)} and rewards {tuple(rewards.shape)} must both be "
            f"(pictures, samples)"
        )
    pictures, samples = rewards.shape
    if baseline is None:
        if samples < 2:
            raise ValueError("the mean of the other samples needs 2 samples a picture or more, got 1")
        compared = (rewards.sum(dim=1, keepdim=True) - rewards) / (samples - 1)
    elif baseline.shape == (pictures,):
        compared = baseline[:, None]
    else:
        raise ValueError(
            f"baseline {tuple(baseline.shape)} must hold one reward for each of {pictures} pictures"
        )
    return -(log_probs * (rewards - compared).detach()).mean()
