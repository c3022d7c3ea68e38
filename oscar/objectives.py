"""Training objectives: logits and targets in, one loss out."""

import math

import torch
from torch import Tensor
from torch.nn import functional


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
