"""Scores of a model while it trains: captions against human captions, or losses on pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import cast

import torch
from torch import nn

from captioning.batches import collate_prefix, to_device
from captioning.config import TrainConfig
from captioning.dataset import CaptionedPictures
from captioning.parallel import Workers
from captioning.schedule import Item
from captioning.steps import STEPS
from captioning.writing import write_captions
from eval.scorer import Scorer
from oscar.modeling import OscarForCaptioning, OscarForPreTraining

SHOWN_CAPTIONS = 5


@dataclass(frozen=True, kw_only=True)
class Validation:
    """Scores by name; ``main`` is the one by which the best checkpoint is chosen, higher being better."""

    main: float
    scores: dict[str, float]
    captions: dict[str, str]
    """Image id -> caption; empty in pre-training."""


def validate(
    model: nn.Module,
    pictures: CaptionedPictures,
    config: TrainConfig,
    workers: Workers,
    stop: Callable[[], bool],
) -> Validation | None:
    """Scores a model in evaluation mode, and leaves it in the mode it was in.

    Args:
        model: the model that the objective trains, whole in every process.
        pictures: the validation split, of which each process takes its share.
        config: the run.
        workers: the processes of the run.
        stop: asked between batches whether to give up.

    Returns:
        The same in all processes; None if ``stop`` said so in one of them.
    """
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            if config.objective == "pretrain":
                return _validate_pairs(cast(OscarForPreTraining, model), pictures, config, workers, stop)
            return _validate_captions(cast(OscarForCaptioning, model), pictures, config, workers, stop)
    finally:
        model.train(was_training)


def _validate_captions(
    model: OscarForCaptioning,
    pictures: CaptionedPictures,
    config: TrainConfig,
    workers: Workers,
    stop: Callable[[], bool],
) -> Validation | None:
    captions: dict[str, str] = {}
    for rows in _batches(pictures, config, workers):
        if stop():
            captions.clear()
            break
        captions |= _captions(model, pictures, config, rows)
    given = workers.all(None if stop() else captions)
    if any(each is None for each in given):
        return None
    names = [record.image_id for record in pictures.records]
    everywhere = {name: text for each in given for name, text in (each or {}).items()}
    captions = {name: everywhere[name] for name in names}
    scores = workers.of_first(dict(_scorer(pictures).score(captions).overall) if workers.is_first else {})
    return Validation(main=scores["cider"], scores=scores, captions=captions)


def _batches(pictures: CaptionedPictures, config: TrainConfig, workers: Workers) -> Iterator[range]:
    """This process's batches of the split: every so many-th."""
    size = config.validation.batch_size
    for first in range(workers.rank * size, len(pictures), workers.count * size):
        yield range(first, min(first + size, len(pictures)))


def _captions(
    model: OscarForCaptioning, pictures: CaptionedPictures, config: TrainConfig, rows: range
) -> dict[str, str]:
    device, tokenizer = next(model.parameters()).device, pictures.tokenizer
    batch = to_device(collate_prefix([pictures.prefix(row) for row in rows], tokenizer.pad_id), device)
    prefix = model.bert.encode_prefix(batch.tag_ids, batch.tag_mask, batch.region_features, batch.region_mask)
    search = replace(config.decode, beam_width=config.validation.beam_width, n_best=1, groups=1, samples=0)
    names = [pictures.records[row].image_id for row in rows]
    found = write_captions(model, prefix, search, tokenizer, names, [None] * len(names))
    return {
        name: tokenizer.decode(hypotheses[0].piece_ids) for name, hypotheses in zip(names, found, strict=True)
    }


@lru_cache(maxsize=1)
def _scorer(pictures: CaptionedPictures) -> Scorer:
    """The human captions, cut and counted once a run."""
    return Scorer({record.image_id: record.captions for record in pictures.records}, protocol="aic-icc")


def _validate_pairs(
    model: OscarForPreTraining,
    pictures: CaptionedPictures,
    config: TrainConfig,
    workers: Workers,
    stop: Callable[[], bool],
) -> Validation | None:
    """Losses with the same masks and swaps every time, those of each picture's first turn."""
    step = STEPS["pretrain"](config.loss)
    device = next(model.parameters()).device
    sums, counts = dict.fromkeys(step.parts, 0.0), dict.fromkeys(step.parts, 0)
    for rows in _batches(pictures, config, workers):
        if stop():
            break
        batch = pictures.pair_batch([Item(epoch=0, index=row) for row in rows])
        for name, mean in step.take(model, to_device(batch, device), 0).items():
            count = batch.counts[step.parts[name].unit]
            sums[name] += mean.item() * count
            counts[name] += count
    if any(workers.all(stop())):
        return None
    scores = {
        name: total / max(1.0, count)
        for name, total, count in zip(
            sums, workers.sums([*sums.values()]), workers.sums([*counts.values()]), strict=True
        )
    }
    loss = sum(step.parts[name].weight * mean for name, mean in scores.items())
    return Validation(main=-loss, scores={"loss": loss, **scores}, captions={})
