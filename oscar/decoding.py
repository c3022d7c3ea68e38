"""Greedy and beam search over the caption streams of pictures that were encoded once."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from oscar.backbone import Prefix
from oscar.configuration import OscarConfig
from oscar.modeling import OscarForCaptioning
from oscar.streams import Streams


@dataclass(frozen=True)
class Hypothesis:
    """A caption and what the model thinks of it."""

    piece_ids: tuple[int, ...]
    """Without [CLS] and [SEP]."""
    log_prob: float
    """Sum of the log-probabilities of the pieces and, if finished, of [SEP]."""
    score: float
    """log_prob / length ** length_penalty; the length counts what log_prob sums."""
    finished: bool
    """False if the caption was cut at the limit of pieces."""


@dataclass(frozen=True, kw_only=True)
class _Rules:
    """The arguments of `generate`, checked."""

    beam_width: int
    n_best: int
    max_pieces: int
    min_pieces: int
    length_penalty: float
    no_repeat_ngram: int
    forbidden_ids: tuple[int, ...]

    def check(self, config: OscarConfig) -> None:
        """Raise ValueError for what no search can do."""
        if self.beam_width < 1:
            raise ValueError(f"beam_width must be 1 or more, got {self.beam_width}")
        if not 1 <= self.n_best <= self.beam_width:
            raise ValueError(f"n_best must be between 1 and beam_width {self.beam_width}, got {self.n_best}")
        longest = config.max_caption_pieces - 2
        if not 1 <= self.max_pieces <= longest:
            raise ValueError(
                f"max_pieces must be between 1 and {longest} (the model's max_caption_pieces "
                f"{config.max_caption_pieces} less [CLS] and [SEP]), got {self.max_pieces}"
            )
        if not 0 <= self.min_pieces <= self.max_pieces:
            raise ValueError(
                f"min_pieces must be between 0 and max_pieces {self.max_pieces}, got {self.min_pieces}"
            )
        if self.no_repeat_ngram < 0:
            raise ValueError(f"no_repeat_ngram must be 0 (off) or more, got {self.no_repeat_ngram}")
        if config.sep_token_id in self.forbidden_ids:
            raise ValueError(f"forbidden_ids holds [SEP] ({config.sep_token_id}), no caption could end")
        wrong = [i for i in self.forbidden_ids if not 0 <= i < config.vocab_size]
        if wrong:
            raise ValueError(f"forbidden_ids {wrong} are not among the {config.vocab_size} pieces")


@torch.no_grad()
def generate(
    model: OscarForCaptioning,
    prefix: Prefix,
    *,
    beam_width: int = 5,
    n_best: int = 1,
    max_pieces: int = 38,
    min_pieces: int = 1,
    length_penalty: float = 1.0,
    no_repeat_ngram: int = 0,
    forbidden_ids: Collection[int] = (),
) -> list[list[Hypothesis]]:
    """Search for the captions of every picture of a prefix.

    The score of a caption c1..cn is

        (log p(c1) + ... + log p(cn) + log p([SEP])) / (n + 1) ** length_penalty

    under the model's own probabilities (forbidden pieces are not taken out of the softmax). Each step looks
    at the 2 * beam_width most probable continuations in order: those that end in [SEP] are filed, the others
    live on, until beam_width live ones are found. A picture leaves the batch when no living hypothesis can
    still beat the worst of its n_best, so stopping early loses nothing. beam_width 1 takes the most probable
    piece each time and stops at the first [SEP].

    After max_pieces pieces only [SEP] may follow. A hypothesis for which it is not among the candidates
    then is unfinished: its log_prob and length have no [SEP]. It is returned only behind the finished ones,
    and only if those are fewer than n_best.

    Args:
        model: in eval mode, if dropout is not wanted.
        prefix: from `model.bert.encode_prefix`.
        beam_width: hypotheses kept per picture.
        n_best: captions returned per picture, at most beam_width.
        max_pieces: longest caption, without [CLS] and [SEP].
        min_pieces: shortest caption.
        length_penalty: 0 prefers short captions, 1 compares means, more prefers long ones.
        no_repeat_ngram: n-grams of this length appear once in a caption; 0 allows repeats.
        forbidden_ids: never written, such as [UNK]; [PAD], [CLS] and [MASK] never are.

    Returns:
        For each picture up to n_best hypotheses, best first; fewer only where the rules allow no more.

    Raises:
        ValueError: a rule that cannot be kept, such as max_pieces beyond the model's caption slots.
    """
    config = cast(OscarConfig, model.config)
    rules = _Rules(
        beam_width=beam_width,
        n_best=n_best,
        max_pieces=max_pieces,
        min_pieces=min_pieces,
        length_penalty=length_penalty,
        no_repeat_ngram=no_repeat_ngram,
        forbidden_ids=(
            *forbidden_ids,
            *(cast(int, i) for i in (config.pad_token_id, config.cls_token_id, config.mask_token_id)),
        ),
    )
    rules.check(config)
    search = _Search(model, prefix, rules)
    for _ in range(max_pieces + 1):
        if not search.live:
            break
        search.step()
    return search.found


class _Search:
    """The living hypotheses of the pictures that are not done: B pictures, W beams, n pieces so far."""

    def __init__(self, model: OscarForCaptioning, prefix: Prefix, rules: _Rules) -> None:
        self.config = cast(OscarConfig, model.config)
        self.rules = rules
        self.device = prefix.mask.device
        self.forbidden = torch.tensor(rules.forbidden_ids, device=self.device)
        self.found: list[list[Hypothesis]] = [[] for _ in range(len(prefix))]
        """Of every picture, best first."""
        self.live = list(range(len(prefix)))
        """The places in `found` of the pictures that are not done; the rows of what follows."""
        self.streams = Streams(model, prefix)
        self.sums = torch.zeros(len(prefix), 1, device=self.device)  # (B, W), -inf: a dead beam

    def step(self) -> None:
        """Look one piece ahead: file what ends, keep the best of the rest, drop pictures that are done."""
        totals = self._allowed_log_probs() + self.sums[:, :, None]  # (B, W, V)
        n_candidates = min(2 * self.rules.beam_width, totals[0].numel())
        top, flat = totals.flatten(1).topk(n_candidates)  # (B, candidates), best first
        beam, piece = flat // totals.shape[2], flat % totals.shape[2]
        ends = piece.eq(cast(int, self.config.sep_token_id))
        live_before = (~ends).cumsum(1) - (~ends).long()
        filed = ends & (live_before < self.rules.beam_width) & top.isfinite()
        for row, column in filed.nonzero().tolist():
            self._file(row, int(beam[row, column]), float(top[row, column]), finished=True)
        if self.streams.n_pieces == self.rules.max_pieces:
            self._file_unfinished(beam.masked_fill(~filed, -1))
            self.live = []
        else:
            self._go_on(top, beam, piece, ends)

    def _allowed_log_probs(self) -> Tensor:
        """(B, W, V) log-probabilities of the next piece, -inf where the rules forbid it."""
        logits = self.streams.next_logits()
        wide = torch.promote_types(logits.dtype, torch.float32)
        log_probs = torch.log_softmax(logits, dim=-1, dtype=wide)
        log_probs[..., self.forbidden] = -torch.inf
        if self.streams.n_pieces < self.rules.min_pieces:
            log_probs[..., self.config.sep_token_id] = -torch.inf
        if self.rules.no_repeat_ngram:
            of_stream = log_probs.flatten(0, 1)
            for row, words in enumerate(self.streams.words.flatten(0, 1).tolist()):
                of_stream[row, repeats(words[1:], self.rules.no_repeat_ngram)] = -torch.inf
        return log_probs

    def _file(self, row: int, beam: int, log_prob: float, finished: bool) -> None:
        """Put a hypothesis among the n best of its picture, if it is one of them."""
        words = self.streams.words[row, beam].tolist()[1:]
        length = max(1, len(words) + finished)
        score = log_prob / length**self.rules.length_penalty
        found = self.found[self.live[row]]
        found.append(Hypothesis(tuple(words), log_prob, score, finished))
        found.sort(key=lambda hypothesis: (not hypothesis.finished, -hypothesis.score))
        del found[self.rules.n_best :]

    def _file_unfinished(self, ended_beams: Tensor) -> None:
        """At the limit: file the beams that did not end in this step."""
        ended = ended_beams.tolist()
        for row, sums in enumerate(self.sums.tolist()):
            for beam, log_prob in enumerate(sums):
                if beam not in ended[row] and log_prob > -torch.inf:
                    self._file(row, beam, log_prob, finished=False)

    def _go_on(self, top: Tensor, beam: Tensor, piece: Tensor, ends: Tensor) -> None:
        """The best continuations that do not end become the beams of the pictures that are not done."""
        n_candidates = ends.shape[1]
        order = torch.arange(n_candidates, device=self.device) + ends * n_candidates
        chosen = order.argsort(dim=1)[:, : self.rules.beam_width]
        # With fewer continuations than beams, some chosen ones do end: those beams die.
        sums = top.masked_fill(ends, -torch.inf).gather(1, chosen)
        kept = [row for row, best in enumerate(sums.amax(dim=1).tolist()) if not self._done(row, best)]
        self.live = [self.live[row] for row in kept]
        if not kept:
            return
        rows = torch.tensor(kept, device=self.device)
        self.streams.advance(rows, beam.gather(1, chosen)[rows], piece.gather(1, chosen)[rows])
        self.sums = sums[rows]

    def _done(self, row: int, best_sum: float) -> bool:
        """No hypothesis of this picture that lives with at most `best_sum` can enter its n best any more."""
        found = self.found[self.live[row]]
        if best_sum == -torch.inf:
            return True
        if len(found) < self.rules.n_best:
            return False
        if self.rules.beam_width == 1:
            return True
        # Sums only fall, so the best score still possible is this sum at the most favourable length: the
        # shortest is the pieces so far, the one just chosen and [SEP], the longest the limit and [SEP].
        lengths = (self.streams.n_pieces + 2, self.rules.max_pieces + 1)
        reachable = max(best_sum / length**self.rules.length_penalty for length in lengths)
        return found[-1].score >= reachable


def repeats(words: list[int], n: int) -> list[int]:
    """The pieces that would complete an n-gram that `words` already hold."""
    tail = words[len(words) - n + 1 :]
    starts = range(len(words) - n + 1)
    return [words[i + n - 1] for i in starts if words[i : i + n - 1] == tail]
