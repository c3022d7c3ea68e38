"""How probable given captions are under the model."""

from collections.abc import Collection, Sequence
from typing import cast

import torch
from torch import Tensor

from oscar.backbone import Prefix
from oscar.configuration import OscarConfig
from oscar.modeling import OscarForCaptioning
from oscar.objectives import dense_masked_tokens
from oscar.rules import log_softmax


def score_captions(
    model: OscarForCaptioning,
    prefix: Prefix,
    captions: Sequence[Sequence[Sequence[int]]],
    never_ids: Collection[int] = (),
    temperature: float = 1.0,
) -> Tensor:
    """Log-probability of every piece of given captions, in one pass over prefixes encoded once.

    Each caption is a stream of its pieces and a [MASK] for each of them (`dense_mask`), which reads what a
    search reads when it comes to that piece: the sum over a caption is the log_prob that `generate` gives it.
    Gradients flow, to the prefix too; use `torch.no_grad()` where none are wanted.

    Args:
        model: in eval mode, if dropout is not wanted.
        prefix: of B pictures, from `model.bert.encode_prefix`.
        captions: of each picture any number, as piece ids without [CLS] and [SEP].
        never_ids: taken out of the softmax first, as `oscar.sampling.sample` does with pieces that it never
            draws ([PAD], [CLS], [MASK] and its `forbidden_ids`); a caption's numbers are then the
            probabilities of its draws.
        temperature: divides the logits, as there.

    Returns:
        (C, T) for all C captions in order; a caption of n pieces has n + 1 numbers, the last for its [SEP],
        and zeros behind. T is n + 1 of the longest.

    Raises:
        ValueError: captions for another number of pictures, none at all, or one longer than the model allows.
    """
    config = cast(OscarConfig, model.config)
    if len(captions) != len(prefix):
        raise ValueError(f"captions of {len(captions)} pictures were given for a prefix of {len(prefix)}")
    flat = [caption for of_picture in captions for caption in of_picture]
    if not flat:
        raise ValueError("no caption was given")
    longest = max(len(caption) for caption in flat)
    if longest > config.max_caption_pieces - 2:
        raise ValueError(
            f"a caption has {longest} pieces, the model reads at most {config.max_caption_pieces - 2} "
            f"(max_caption_pieces {config.max_caption_pieces} less [CLS] and [SEP])"
        )
    device = prefix.mask.device
    ids = torch.full((len(flat), longest + 2), cast(int, config.pad_token_id), device=device)
    for row, caption in zip(ids, flat, strict=True):
        row[: len(caption) + 2] = torch.tensor(
            [config.cls_token_id, *caption, cast(int, config.sep_token_id)]
        )
    real = torch.arange(longest + 1, device=device) <= torch.tensor([[len(c)] for c in flat], device=device)
    counts = torch.tensor([len(of_picture) for of_picture in captions], device=device)
    read, targets = ids[:, :-1], ids[:, 1:]  # (C, T)
    stream = dense_masked_tokens(read, config.mask_token_id)
    hidden = model.bert.read_prefix(
        prefix,
        stream.input_ids,
        stream.position_ids,
        stream.self_mask,
        torch.arange(len(captions), device=device).repeat_interleave(counts),
        real=real.repeat(1, 2),
        rows=torch.cat([torch.zeros_like(real), real], dim=1),
    )
    logits = model.word_logits(hidden)  # (pieces, V)
    if never_ids:
        logits[:, sorted(never_ids)] = -torch.inf
    log_probs = log_softmax(logits if temperature == 1 else logits / temperature)
    scores = log_probs.new_zeros(real.shape)
    scores[real] = log_probs.gather(1, targets[real][:, None])[:, 0]
    return scores
