"""The settings of a search, turned into the search: ours or the original's, greedy, beams or samples."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import torch

from captioning.decode_config import DecodeConfig
from captioning.tokenizer import CaptionTokenizer
from oscar import constrained, decoding, original, sampling
from oscar.backbone import Prefix
from oscar.decoding import Hypothesis
from oscar.machines import StateMachine
from oscar.modeling import OscarForCaptioning


def unwritable_ids(tokenizer: CaptionTokenizer) -> tuple[int, ...]:
    """Pieces that no caption may hold: all special ones but [SEP], which ends it."""
    return tuple(sorted(tokenizer.special_ids - {tokenizer.sep_id}))


def write_captions(
    model: OscarForCaptioning,
    prefix: Prefix,
    config: DecodeConfig,
    tokenizer: CaptionTokenizer,
    image_ids: Sequence[str],
    machines: Sequence[StateMachine | None],
) -> list[list[Hypothesis]]:
    """Captions for every picture of a prefix, as the settings want them.

    By our own rules no caption holds [UNK] or a forbidden word; the original's forbid nothing. What is drawn
    for a picture depends on the seed and its id alone, so not on the batch it is in.

    Args:
        model: In eval mode.
        prefix: Of the pictures.
        config: The settings.
        tokenizer: The model's.
        image_ids: Of each picture.
        machines: Of each picture; None where it has no constraints.

    Returns:
        For each picture its hypotheses, best first or in the order drawn.

    Raises:
        ValueError: Constraints together with settings that cannot keep them.
    """
    bound = {row: machine for row, machine in enumerate(machines) if machine is not None}
    if not bound:
        return _write_freely(model, prefix, config, tokenizer, image_ids)
    if config.samples or config.groups > 1 or config.rules != "tushuo":
        raise ValueError(
            f"constraints are met by beams of our own rules alone: set samples=0, groups=1 and rules=tushuo, "
            f"got {config.samples}, {config.groups} and {config.rules}"
        )
    # Not in one batch: a picture without constraints needs a fraction of the beams.
    part = prefix.select(torch.tensor(list(bound), device=prefix.mask.device))
    rules = _piece_rules(config, tokenizer) | _beam_rules(config)
    found = dict(zip(bound, constrained.generate(model, part, list(bound.values()), **rules), strict=True))
    free = [row for row in range(len(machines)) if row not in bound]
    if free:
        part = prefix.select(torch.tensor(free, device=prefix.mask.device))
        written = _write_freely(model, part, config, tokenizer, [image_ids[row] for row in free])
        found.update(zip(free, written, strict=True))
    return [found[row] for row in range(len(machines))]


def _write_freely(
    model: OscarForCaptioning,
    prefix: Prefix,
    config: DecodeConfig,
    tokenizer: CaptionTokenizer,
    image_ids: Sequence[str],
) -> list[list[Hypothesis]]:
    """`write_captions` without constraints."""
    rules = _piece_rules(config, tokenizer)
    if config.samples:
        draw = original.sample if config.rules == "original" else sampling.sample
        return draw(
            model,
            prefix,
            [_generator(config.seed, image_id) for image_id in image_ids],
            samples=config.samples,
            temperature=config.temperature,
            top_k=config.top_k,
            top_p=config.top_p,
            **rules,
        )
    rules |= _beam_rules(config)
    if config.rules == "original":
        return original.generate(model, prefix, **rules)
    return decoding.generate(model, prefix, groups=config.groups, diversity=config.diversity, **rules)


def _piece_rules(config: DecodeConfig, tokenizer: CaptionTokenizer) -> dict[str, Any]:
    rules: dict[str, Any] = {
        "max_pieces": config.max_pieces,
        "repetition_penalty": config.repetition_penalty,
    }
    if config.rules == "original":
        return rules
    return rules | {
        "min_pieces": config.min_pieces,
        "no_repeat_ngram": config.no_repeat_ngram,
        "forbidden_ids": [tokenizer.unk_id],
        "forbidden_words": [tokenizer.encode(word) for word in config.forbidden],
    }


def _beam_rules(config: DecodeConfig) -> dict[str, Any]:
    return {
        "beam_width": config.beam_width,
        "n_best": config.n_best,
        "length_penalty": config.length_penalty,
    }


def _generator(seed: int, image_id: str) -> torch.Generator:
    """Random numbers of one picture."""
    digest = hashlib.sha256(f"{seed} {image_id}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big", signed=True))
