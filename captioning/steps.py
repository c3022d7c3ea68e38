"""One function per training objective: model and batch in, losses out.

``STEPS`` is the table of objectives. The first entry of what a step returns, ``loss``, is minimised; the
others are shown.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from captioning.batches import Batch, CaptionBatch, CaptionGroup, PairBatch
from captioning.config import LossConfig
from captioning.examples import IGNORED
from oscar.masks import dense_mask
from oscar.modeling import OscarForCaptioning, OscarForPreTraining
from oscar.objectives import contrast_loss, masked_token_loss

Losses = dict[str, Tensor]
Step = Callable[[nn.Module, Batch, LossConfig, int], Losses]


def caption_step(model: OscarForCaptioning, batch: CaptionBatch, config: LossConfig, step: int) -> Losses:
    """Masked pieces of captions, predicted from picture and earlier pieces.

    Tags and regions are encoded once a picture and read by all of its captions.

    Args:
        model: the captioning model.
        batch: captions masked as ``config.masking`` says.
        config: masking, smoothing, dropping.
        step: steps taken before this one; decides whether the worst losses are dropped.

    Returns:
        ``loss``, and ``accuracy``: the share of masked pieces that the model ranks first.
    """
    prefix = model.bert.encode_prefix(
        batch.prefix.tag_ids, batch.prefix.tag_mask, batch.prefix.region_features, batch.prefix.region_mask
    )
    hidden, targets = [], []
    for group in batch.groups:
        if config.masking == "dense":
            input_ids, position_ids, self_mask = dense_stream(group, model.config.mask_token_id)
        else:
            input_ids, position_ids, self_mask = sparse_stream(group)
        slots = group.targets.shape[1]  # dense: the queries, which stand last; sparse: every position
        states = model.bert.read_prefix(prefix, input_ids, position_ids, self_mask, group.picture, last=slots)
        predicted = group.targets != IGNORED
        hidden.append(states[predicted])
        targets.append(group.targets[predicted])
    logits = model.word_logits(torch.cat(hidden))  # (N, V)
    target = torch.cat(targets)
    return {"loss": _word_loss(logits, target, config, step), "accuracy": _accuracy(logits, target)}


def dense_stream(group: CaptionGroup, mask_id: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pieces and, after them, one [MASK] query a piece, standing one position later.

    Returns:
        (C, 2T) ids, (1, 2T) positions and (1, 2T, 2T) bool who reads whom.
    """
    slots = group.pieces.shape[1]
    queries = torch.full_like(group.pieces, mask_id)
    places = torch.arange(slots, device=group.pieces.device)
    return (
        torch.cat([group.pieces, queries], dim=1),
        torch.cat([places, places + 1])[None],
        dense_mask(slots, group.pieces.device),
    )


def sparse_stream(group: CaptionGroup) -> tuple[Tensor, Tensor, Tensor]:
    """Pieces, each reading those up to itself; padding comes last, so no piece reads it.

    Returns:
        (C, T) ids, (1, T) positions and (1, T, T) bool who reads whom.
    """
    places = torch.arange(group.pieces.shape[1], device=group.pieces.device)
    return group.pieces, places[None], (places[:, None] >= places)[None]


def pretrain_step(model: OscarForPreTraining, batch: PairBatch, config: LossConfig, step: int) -> Losses:
    """Masked pieces of captions and tags under full attention, and which side of the pair was swapped.

    Returns:
        ``loss``: the sum of both; ``words`` and ``match``: each; ``accuracy`` of masked pieces and
        ``match_accuracy``.
    """
    regions, region_mask = batch.region_features[batch.picture], batch.region_mask[batch.picture]
    predicted = batch.targets != IGNORED
    output = model(
        input_ids=batch.pieces,
        region_features=regions,
        attention_mask=torch.cat([batch.real, region_mask], dim=1),
        token_type_ids=batch.segments,
        rows=predicted,
    )
    target = batch.targets[predicted]
    words = _word_loss(output.word_logits, target, config, step)
    match = contrast_loss(output.match_logits, batch.match)
    return {
        "loss": words + match,
        "words": words,
        "match": match,
        "accuracy": _accuracy(output.word_logits, target),
        "match_accuracy": _accuracy(output.match_logits, batch.match),
    }


STEPS: dict[str, Step] = {"caption": caption_step, "pretrain": pretrain_step}  # type: ignore[dict-item]


class Objective(nn.Module):
    """Model and step as one module, so that mixed precision and DDP wrap the whole computation."""

    def __init__(self, model: nn.Module, objective: str, config: LossConfig) -> None:
        """Takes the model that the objective trains."""
        super().__init__()
        self.model = model
        self.step = STEPS[objective]
        self.config = config

    def forward(self, batch: Batch, step: int) -> Losses:
        """Losses of a batch, ``step`` steps having been taken before it."""
        return self.step(self.model, batch, self.config, step)


def _word_loss(logits: Tensor, targets: Tensor, config: LossConfig, step: int) -> Tensor:
    if not len(targets):  # a tiny batch may draw no mask at all
        return logits.sum()
    drop_worst = config.drop_worst if step >= config.drop_worst_after else 0.0
    return masked_token_loss(
        logits.float(), targets, label_smoothing=config.label_smoothing, drop_worst=drop_worst
    )


@torch.no_grad()
def _accuracy(logits: Tensor, targets: Tensor) -> Tensor:
    return (logits.argmax(dim=-1) == targets).sum() / max(1, len(targets))
