"""One step per training objective: model and batch in, means out, some of which are minimised.

``STEPS`` is the table of the objectives that compare with human captions; ``captioning.scst`` draws captions
of its own. What a step returns are means over units that the batch counts, so that the trainer can weigh
the parts of a step that other processes, or the same one after another, compute.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from captioning.batches import Batch, CaptionBatch, PairBatch, Unit
from captioning.config import LossConfig, Objective
from captioning.examples import IGNORED
from oscar.modeling import OscarForCaptioning, OscarForPreTraining
from oscar.objectives import (
    contrast_loss,
    dense_masked_tokens,
    drop_worst_share,
    masked_token_loss,
    masked_tokens,
)

Means = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Part:
    """One number that a step returns."""

    unit: Unit
    """What it is a mean over."""
    weight: float = 0.0
    """In the loss; 0 is shown only."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """How an objective is learned."""

    take: Callable[[nn.Module, Batch, int], Means]
    """Model, batch and the number of steps taken before -> the mean of each part."""
    parts: Mapping[str, Part]


def caption_step(
    model: OscarForCaptioning | OscarForPreTraining, batch: CaptionBatch, config: LossConfig, step: int
) -> Means:
    """Masked pieces of captions, predicted from picture and earlier pieces.

    Tags and regions are encoded once a picture and read by all of its captions.

    Args:
        model: with a word head.
        batch: captions masked as ``config.masking`` says.
        config: masking, smoothing, dropping.
        step: steps taken before this one; decides whether the worst losses are dropped.

    Returns:
        ``words``: the loss; ``accuracy``: the share of masked pieces that the model ranks first.
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
    return {"words": _word_loss(logits, targets, config, step), "accuracy": _accuracy(logits, targets)}


def pretrain_step(model: OscarForPreTraining, batch: PairBatch, config: LossConfig, step: int) -> Means:
    """Masked pieces of captions and tags under full attention, and which side of the pair was swapped.

    Returns:
        ``words`` and ``match``: both losses; ``accuracy`` of masked pieces and ``match_accuracy``.
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
    return {
        "words": _word_loss(output.word_logits, target, config, step),
        "match": contrast_loss(output.match_logits, batch.match),
        "accuracy": _accuracy(output.word_logits, target),
        "match_accuracy": _accuracy(output.match_logits, batch.match),
    }


def _caption(config: LossConfig) -> Step:
    return Step(
        take=lambda model, batch, step: caption_step(model, batch, config, step),  # type: ignore[arg-type]
        parts={"words": Part(unit="words", weight=1.0), "accuracy": Part(unit="words")},
    )


def _pretrain(config: LossConfig) -> Step:
    return Step(
        take=lambda model, batch, step: pretrain_step(model, batch, config, step),  # type: ignore[arg-type]
        parts={
            "words": Part(unit="words", weight=1.0),
            "match": Part(unit="pairs", weight=config.match_weight),
            "accuracy": Part(unit="words"),
            "match_accuracy": Part(unit="pairs"),
        },
    )


STEPS: dict[Objective, Callable[[LossConfig], Step]] = {"caption": _caption, "pretrain": _pretrain}


class Learning(nn.Module):
    """Model and objectives as one module: mixed precision, DDP and FSDP wrap the whole computation."""

    def __init__(
        self, model: nn.Module, steps: Mapping[Objective, Step], weights: Mapping[Objective, float]
    ) -> None:
        """Takes the model, the step of each objective and the weight of its loss."""
        super().__init__()
        self.model = model
        self.steps = dict(steps)
        self.parts: dict[str, Part] = {}
        """Of all objectives; where there are several, behind the objective's name."""
        self.units: dict[str, tuple[Objective, Unit]] = {}
        """Where the count of each part is: in the batch of which objective, and what it counts."""
        for objective, step in steps.items():
            for name, part in step.parts.items():
                full = self._name(objective, name)
                self.parts[full] = Part(unit=part.unit, weight=part.weight * weights[objective])
                self.units[full] = objective, part.unit

    def _name(self, objective: str, part: str) -> str:
        return part if len(self.steps) == 1 else f"{objective}/{part}"

    def forward(self, batches: Mapping[Objective, Batch], step: int) -> Means:
        """Means of all parts over a batch of each objective, ``step`` steps having been taken before."""
        return {
            self._name(objective, name): mean
            for objective, taken in self.steps.items()
            for name, mean in taken.take(self.model, batches[objective], step).items()
        }

    def counts(self, batches: Mapping[Objective, Batch]) -> dict[str, int]:
        """Over how many units each part is a mean."""
        counted = {objective: batch.counts for objective, batch in batches.items()}
        return {name: counted[objective][unit] for name, (objective, unit) in self.units.items()}


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
