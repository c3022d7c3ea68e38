"""Scores of a model while it trains: captions against human captions, or losses on pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import torch
from torch import nn

from captioning.batches import collate_prefix, to_device
from captioning.config import TrainConfig
from captioning.dataset import CaptionedPictures
from captioning.steps import pretrain_step
from captioning.tokenizer import CaptionTokenizer
from eval.scorer import Scorer
from oscar.decoding import generate
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
    model: nn.Module, pictures: CaptionedPictures, config: TrainConfig, stop: Callable[[], bool]
) -> Validation | None:
    """Scores a model in evaluation mode, and leaves it in the mode it was in.

    Args:
        model: the model that the objective trains.
        pictures: the validation split.
        config: the run.
        stop: asked between batches whether to give up.

    Returns:
        None if ``stop`` said so.
    """
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            if config.objective == "pretrain":
                return _validate_pairs(cast(OscarForPreTraining, model), pictures, config, stop)
            return _validate_captions(cast(OscarForCaptioning, model), pictures, config, stop)
    finally:
        model.train(was_training)


def unwritable_ids(tokenizer: CaptionTokenizer) -> tuple[int, ...]:
    """Pieces that no caption may hold: all special ones but [SEP], which ends it."""
    return tuple(sorted(tokenizer.special_ids - {tokenizer.sep_id}))


def _validate_captions(
    model: OscarForCaptioning, pictures: CaptionedPictures, config: TrainConfig, stop: Callable[[], bool]
) -> Validation | None:
    device = next(model.parameters()).device
    tokenizer = pictures.tokenizer
    captions: dict[str, str] = {}
    for first in range(0, len(pictures), config.validation.batch_size):
        if stop():
            return None
        rows = range(first, min(first + config.validation.batch_size, len(pictures)))
        batch = to_device(collate_prefix([pictures.prefix(row) for row in rows], tokenizer.pad_id), device)
        prefix = model.bert.encode_prefix(
            batch.tag_ids, batch.tag_mask, batch.region_features, batch.region_mask
        )
        found = generate(
            model,
            prefix,
            beam_width=config.validation.beam_width,
            max_pieces=config.decode.max_pieces,
            length_penalty=config.decode.length_penalty,
            forbidden_ids=unwritable_ids(tokenizer),
        )
        for row, hypotheses in zip(rows, found, strict=True):
            captions[pictures.records[row].image_id] = tokenizer.decode(hypotheses[0].piece_ids)
    scores = _scorer(pictures).score(captions).overall
    return Validation(main=scores["cider"], scores=dict(scores), captions=captions)


@lru_cache(maxsize=1)
def _scorer(pictures: CaptionedPictures) -> Scorer:
    """The human captions, cut and counted once a run."""
    return Scorer({record.image_id: record.captions for record in pictures.records}, protocol="aic-icc")


def _validate_pairs(
    model: OscarForPreTraining, pictures: CaptionedPictures, config: TrainConfig, stop: Callable[[], bool]
) -> Validation | None:
    """Losses with the same masks and swaps every time, those of epoch 0."""
    device = next(model.parameters()).device
    sums: dict[str, float] = {}
    n_examples = 0
    for first in range(0, len(pictures), config.validation.batch_size):
        if stop():
            return None
        rows = range(first, min(first + config.validation.batch_size, len(pictures)))
        batch = to_device(pictures.pair_batch(0, rows), device)
        for name, value in pretrain_step(model, batch, config.loss, 0).items():
            sums[name] = sums.get(name, 0.0) + value.item() * batch.n_captions
        n_examples += batch.n_captions
    scores = {name: value / n_examples for name, value in sums.items()}
    return Validation(main=-scores["loss"], scores=scores, captions={})
