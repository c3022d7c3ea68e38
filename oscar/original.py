"""The searches of the original (microsoft/Oscar) over the same caption streams, to get its very captions.

What it does otherwise than `oscar.decoding` and `oscar.sampling`:

- Any piece may be written, [PAD], [CLS] and [MASK] too, and nothing sets a shortest caption.
- The repetition penalty also acts on [CLS].
- A caption that reaches the limit ends in [SEP] whatever was chosen there, with the log-probability of what
  was chosen. So it always has a length of n + 1, and a beam can end several times there in the same caption.
- Beams: a picture is done when its worst kept score is no worse than the best running sum at the longest
  length, although shorter captions could still be better (or worse) with a negative sum and a penalty.

`max_pieces` is the original's max_gen_length less [CLS] and [SEP]. A score is what the original calls the
log-probability of a caption: log_prob / (n + 1) ** length_penalty for beams, else the mean.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from oscar.backbone import Prefix
from oscar.configuration import OscarConfig
from oscar.decoding import Hypothesis
from oscar.modeling import OscarForCaptioning
from oscar.rules import (
    check_filter,
    check_length,
    check_penalty,
    filter_logits,
    log_softmax,
    penalise_repetition,
)
from oscar.sampling import Drawn, draw, draw_noise
from oscar.streams import Streams


def tag_start(od_labels_start_posid: int, max_length: int) -> int:
    """Where the original's `generate` puts the first tag (`encode_prefix`): behind the caption's slots."""
    return max(od_labels_start_posid, max_length)


@torch.no_grad()
def generate(
    model: OscarForCaptioning,
    prefix: Prefix,
    *,
    beam_width: int = 5,
    n_best: int = 1,
    max_pieces: int = 18,
    length_penalty: float = 1.0,
    repetition_penalty: float = 1.0,
) -> list[list[Hypothesis]]:
    """Greedy search (beam_width 1) or beam search, as the original's `generate`.

    Args:
        model: in eval mode.
        prefix: from `model.bert.encode_prefix`.
        beam_width: num_beams.
        n_best: num_keep_best; at most beam_width.
        max_pieces: max_length - 2.
        length_penalty: as the original's; beams alone.
        repetition_penalty: as the original's.

    Returns:
        For each picture n_best hypotheses, best first.

    Raises:
        ValueError: a number out of its range.
    """
    check_length(max_pieces, cast(OscarConfig, model.config))
    check_penalty(repetition_penalty)
    if not 1 <= n_best <= beam_width:
        raise ValueError(f"n_best must be between 1 and beam_width {beam_width}, got {n_best}")
    if beam_width == 1:
        return _write(model, Streams(model, prefix), max_pieces, repetition_penalty)
    search = _BeamSearch(model, prefix, beam_width, n_best, max_pieces, length_penalty, repetition_penalty)
    while search.live:
        search.step()
    return search.found


@torch.no_grad()
def sample(
    model: OscarForCaptioning,
    prefix: Prefix,
    generators: Sequence[torch.Generator],
    *,
    samples: int = 1,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    max_pieces: int = 18,
    repetition_penalty: float = 1.0,
) -> list[list[Hypothesis]]:
    """Captions drawn as by the original's `generate(do_sample=True)`; its random numbers are not reproduced.

    Arguments and result are those of `oscar.sampling.sample`.
    """
    check_length(max_pieces, cast(OscarConfig, model.config))
    check_penalty(repetition_penalty)
    check_filter(temperature, top_k, top_p)
    noise = draw_noise(generators, len(prefix), samples, max_pieces + 1).to(prefix.mask.device)
    streams = Streams(model, prefix, samples)
    return _write(model, streams, max_pieces, repetition_penalty, noise, (temperature, top_k, top_p))


def _write(
    model: OscarForCaptioning,
    streams: Streams,
    max_pieces: int,
    repetition_penalty: float,
    noise: Tensor | None = None,
    narrowing: tuple[float, int, float] = (1.0, 0, 1.0),
) -> list[list[Hypothesis]]:
    """Every stream written for itself: the most probable piece each time, or with `noise` drawn."""
    drawn = Drawn(streams)
    while drawn.alive.any():
        n = streams.n_pieces
        logits = penalise_repetition(streams.next_logits(), streams.words, repetition_penalty)
        log_probs = log_softmax(filter_logits(logits, *narrowing))
        pieces = log_probs.argmax(dim=2) if noise is None else draw(log_probs, noise[drawn.places, n])
        drawn.add(log_probs, pieces)
        drawn.end(pieces.eq(cast(int, model.config.sep_token_id)), drawn.sums, n + 1, finished=True)
        if n == max_pieces:
            drawn.end(drawn.alive, drawn.sums, n + 1, finished=False)
        drawn.advance(pieces)
    return drawn.hypotheses


class _BeamSearch:
    """The beams of the pictures that are not done: B pictures, W beams."""

    def __init__(
        self,
        model: OscarForCaptioning,
        prefix: Prefix,
        beam_width: int,
        n_best: int,
        max_pieces: int,
        length_penalty: float,
        repetition_penalty: float,
    ) -> None:
        self.sep = cast(int, model.config.sep_token_id)
        self.width, self.n_best, self.max_pieces = beam_width, n_best, max_pieces
        self.length_penalty, self.repetition_penalty = length_penalty, repetition_penalty
        self.found: list[list[Hypothesis]] = [[] for _ in range(len(prefix))]
        """Of every picture, best first."""
        self.live = list(range(len(prefix)))
        """The places in `found` of the pictures that are not done; the rows of what follows."""
        self.streams = Streams(model, prefix)
        self.sums = torch.zeros(len(prefix), 1, device=prefix.mask.device)  # (B, W)

    def step(self) -> None:
        """Look one piece ahead: drop pictures that are done, file what ends, keep the best of the rest."""
        words, at_limit = self.streams.words, self.streams.n_pieces == self.max_pieces
        logits = penalise_repetition(self.streams.next_logits(), words, self.repetition_penalty)
        totals = log_softmax(logits) + self.sums[:, :, None]  # (B, W, V)
        top, flat = totals.flatten(1).topk(min(2 * self.width, totals[0].numel()))  # best first
        beams, pieces = flat // totals.shape[2], flat % totals.shape[2]
        kept = [row for row, best in enumerate(top[:, 0].tolist()) if not self._done(row, best)]
        rows = torch.tensor(kept, dtype=torch.long, device=top.device)
        ends = pieces.eq(self.sep) | at_limit
        living_before = (~ends).cumsum(1) - (~ends).long()
        filed = torch.zeros_like(ends)
        filed[rows] = (ends & (living_before < self.width))[rows]
        self._file(filed, top, beams, pieces)
        self.live = [] if at_limit else [self.live[row] for row in kept]
        if self.live:
            chosen = ends.byte().argsort(dim=1, stable=True)[rows, : self.width]
            self.streams.advance(rows, beams[rows].gather(1, chosen), pieces[rows].gather(1, chosen))
            self.sums = top[rows].gather(1, chosen)

    def _file(self, filed: Tensor, totals: Tensor, beams: Tensor, pieces: Tensor) -> None:
        """Put the `filed` candidates (B, 2 * W) among the n best of their pictures, where they are."""
        rows, columns = filed.nonzero(as_tuple=True)
        captions = self.streams.words[rows, beams[rows, columns], 1:].tolist()
        every = zip(
            rows.tolist(), captions, totals[filed].tolist(), pieces[filed].eq(self.sep).tolist(), strict=True
        )
        for row, words, log_prob, finished in every:
            score = log_prob / (len(words) + 1) ** self.length_penalty
            found = self.found[self.live[row]]
            found.append(Hypothesis(tuple(words), log_prob, score, finished))
            found.sort(key=lambda hypothesis: -hypothesis.score)
            del found[self.n_best :]

    def _done(self, row: int, best_total: float) -> bool:
        found = self.found[self.live[row]]
        if len(found) < self.n_best:
            return False
        return found[-1].score >= best_total / (self.max_pieces + 1) ** self.length_penalty
