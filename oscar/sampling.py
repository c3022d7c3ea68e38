"""Captions drawn at random from the model's distribution, sharing one encoded prefix a picture."""

from collections.abc import Collection, Sequence
from typing import cast

import torch
from torch import Tensor

from oscar.backbone import Prefix
from oscar.configuration import OscarConfig
from oscar.decoding import Hypothesis
from oscar.modeling import OscarForCaptioning
from oscar.rules import PieceRules, check_filter, filter_logits, log_softmax, penalise_repetition
from oscar.streams import Streams


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
    max_pieces: int = 38,
    min_pieces: int = 1,
    no_repeat_ngram: int = 0,
    repetition_penalty: float = 1.0,
    forbidden_ids: Collection[int] = (),
    forbidden_words: Collection[Sequence[int]] = (),
) -> list[list[Hypothesis]]:
    """Draw captions for every picture of a prefix, piece by piece.

    Pieces that may not be written are taken out first, then the distribution is narrowed by temperature,
    top_k and top_p, in this order (`filter_logits`). A hypothesis's log_prob is that of its draws, under the
    distributions they came from; its score is the mean over them. A caption that does not draw [SEP] behind
    max_pieces pieces is cut, and unfinished.

    Args:
        model: in eval mode, if dropout is not wanted.
        prefix: from `model.bert.encode_prefix`.
        generators: on the CPU, one for each picture, in order. With a generator of its own a picture's
            captions do not depend on the pictures beside it; the same one may also serve all of them. Each is
            asked for all of its picture's random numbers at once, before the first piece.
        samples: captions per picture.
        temperature: divides the logits.
        top_k: pieces drawn from; 0: all.
        top_p: probability that the pieces drawn from reach together.
        max_pieces: as in `oscar.decoding.generate`; so are the arguments after it.
        min_pieces: as there.
        no_repeat_ngram: as there.
        repetition_penalty: as there.
        forbidden_ids: as there.
        forbidden_words: as there.

    Returns:
        For each picture its hypotheses in the order drawn, which says nothing about their quality.

    Raises:
        ValueError: a rule that cannot be kept, or generators for another number of pictures.
    """
    config = cast(OscarConfig, model.config)
    rules = PieceRules(
        max_pieces=max_pieces,
        min_pieces=min_pieces,
        no_repeat_ngram=no_repeat_ngram,
        repetition_penalty=repetition_penalty,
        forbidden_ids=frozenset(forbidden_ids),
        forbidden_words=frozenset(map(tuple, forbidden_words)),
    )
    rules.check(config)
    check_filter(temperature, top_k, top_p)
    if samples < 1:
        raise ValueError(f"samples must be 1 or more, got {samples}")
    noise = draw_noise(generators, len(prefix), samples, max_pieces + 1).to(prefix.mask.device)
    streams = Streams(model, prefix, samples)
    drawn = Drawn(streams)
    while drawn.alive.any():
        n, written = streams.n_pieces, streams.words[:, :, 1:]
        logits = penalise_repetition(streams.next_logits(), written, repetition_penalty)
        rules.forbid(logits, written, config)
        log_probs = log_softmax(filter_logits(logits, temperature, top_k, top_p))
        pieces = draw(log_probs, noise[drawn.places, n])
        before = drawn.sums
        drawn.add(log_probs, pieces)
        drawn.end(pieces.eq(cast(int, config.sep_token_id)), drawn.sums, n + 1, finished=True)
        if n == max_pieces:
            drawn.end(drawn.alive, before, n, finished=False)
        drawn.advance(pieces)
    return drawn.hypotheses


def draw_noise(generators: Sequence[torch.Generator], pictures: int, samples: int, steps: int) -> Tensor:
    """(pictures * samples, steps) uniform numbers in [0, 1), a picture's from its generator."""
    if len(generators) != pictures:
        raise ValueError(
            f"{len(generators)} generators were given for {pictures} pictures; give one for each"
        )
    return torch.cat([torch.rand(samples, steps, generator=generator) for generator in generators])


def draw(log_probs: Tensor, noise: Tensor) -> Tensor:
    """The pieces (B, W) at the places `noise` (B, W) in the cumulative probabilities of (B, W, V)."""
    # In float64, where a float32 below 1 times the total stays below the total: always some piece is drawn.
    cumulative = log_probs.double().exp().cumsum(dim=2)
    wanted = noise.double()[:, :, None] * cumulative[:, :, -1:]
    return torch.searchsorted(cumulative, wanted, right=True)[:, :, 0]


_UNWRITTEN = Hypothesis((), -torch.inf, -torch.inf, finished=False)


class Drawn:
    """Captions that grow a piece a step, each for itself; those that have ended leave the streams."""

    def __init__(self, streams: Streams) -> None:
        pictures, samples = streams.words.shape[:2]
        self.streams = streams
        self.hypotheses: list[list[Hypothesis]] = [[_UNWRITTEN] * samples for _ in range(pictures)]
        """Of every picture and sample, once its caption has ended."""
        self.places = torch.arange(pictures * samples, device=streams.words.device).view(pictures, samples)
        """(B, W) of every stream, picture * samples + sample; this and what follows lose what has ended."""
        self.sums = torch.zeros(pictures, samples, device=streams.words.device)
        """(B, W) log-probabilities of the streams."""
        self.alive = torch.ones_like(self.places, dtype=torch.bool)
        """(B, W); where a picture has fewer living streams than another, ended ones fill the row."""

    def add(self, log_probs: Tensor, pieces: Tensor) -> None:
        """Count the log-probabilities (B, W, V) of the pieces (B, W) that the streams take."""
        self.sums = self.sums + log_probs.gather(2, pieces[:, :, None])[:, :, 0]

    def end(self, where: Tensor, totals: Tensor, length: int, finished: bool) -> None:
        """Living streams (B, W) are captions, with log-probabilities `totals` (B, W) over `length` draws."""
        where = where & self.alive
        samples = len(self.hypotheses[0])
        captions = self.streams.words[:, :, 1:][where].tolist()
        for place, words, total in zip(
            self.places[where].tolist(), captions, totals[where].tolist(), strict=True
        ):
            hypothesis = Hypothesis(tuple(words), total, total / length, finished)
            self.hypotheses[place // samples][place % samples] = hypothesis
        self.alive = self.alive & ~where

    def advance(self, pieces: Tensor) -> None:
        """The living streams go on with the pieces (B, W)."""
        kept = self.alive.any(dim=1).nonzero()[:, 0]
        if not len(kept):
            return
        width = int(self.alive.sum(dim=1).amax())
        sources = (~self.alive[kept]).byte().argsort(dim=1, stable=True)[:, :width]  # the living first
        self.streams.advance(kept, sources, pieces[kept].gather(1, sources))
        self.places, self.sums, self.alive = (
            each[kept].gather(1, sources) for each in (self.places, self.sums, self.alive)
        )
