"""One function per training objective: model and batch in, losses out.

``STEPS`` is the table of the objectives that compare with human captions; ``captioning.scst`` draws captions
of its own. The first entry of what a step returns, ``loss``, is minimised; the others are shown.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from captioning.batches import Batch, CaptionBatch, PairBatch
from captioning.config import LossConfig
from captioning.examples import IGNORED
from oscar.modeling import OscarForCaptioning, OscarForPreTraining
from oscar.objectives import (
    contrast_loss,
    dense_masked_tokens,
    drop_worst_share,
    masked_token_loss,
    masked_tokens,
)

Losses = dict[str, Tensor]
Step = Callable[[nn.Module, Batch, int], Losses]
"""Model, batch and the number of steps taken before."""


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
    captions = batch.captions
    predicted, real = captions.targets != IGNORED, captions.real
    if config.masking == "dense":
        stream = dense_masked_tokens(captions.pieces, model.config.mask_token_id)
        rows, real = torch.cat([torch.zeros_like(real), predicted], dim=1), real.repeat(1, 2)
    else:
        stream, rows = masked_tokens(captions.pieces), predicted
    hidden = model.bert.read_prefix(
        prefix,
        stream.input_ids,
        stream.position_ids,
        stream.self_mask,
        captions.picture,
        real=real,
        rows=rows,
    )
    logits, targets = model.word_logits(hidden), captions.targets[predicted]  # (N, V), (N,)
    return {"loss": _word_loss(logits, targets, config, step), "accuracy": _accuracy(logits, targets)}


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


STEPS: dict[str, Callable[[nn.Module, Batch, LossConfig, int], Losses]] = {
    "caption": caption_step,  # type: ignore[dict-item]
    "pretrain": pretrain_step,  # type: ignore[dict-item]
}


def step_of(objective: str, config: LossConfig) -> Step:
    """The step of an objective in ``STEPS`` with its settings."""
    taken = STEPS[objective]
    return lambda model, batch, step: taken(model, batch, config, step)


class Objective(nn.Module):
    """Model and step as one module, so that mixed precision and DDP wrap the whole computation."""

    def __init__(self, model: nn.Module, step: Step) -> None:
        """Takes the model that the step trains."""
        super().__init__()
        self.model = model
        self.step = step

    def forward(self, batch: Batch, step: int) -> Losses:
        """Losses of a batch, ``step`` steps having been taken before it."""
        return self.step(self.model, batch, step)


def _word_loss(logits: Tensor, targets: Tensor, config: LossConfig, step: int) -> Tensor:
    if not len(targets):  # a tiny batch may draw no mask at all
        return logits.sum()
    drop_worst = drop_worst_share(config.drop_worst, config.drop_worst_after, step)
    return masked_token_loss(
        logits.float(), targets, label_smoothing=config.label_smoothing, drop_worst=drop_worst
    )


@torch.no_grad()
def _accuracy(logits: Tensor, targets: Tensor) -> Tensor:
    return (logits.argmax(dim=-1) == targets).sum() / max(1, len(targets))
