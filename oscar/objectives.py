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
