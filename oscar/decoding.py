"""Beam search, greedy search and diverse beam search over the caption streams of pictures encoded once."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from oscar.backbone import Prefix
from oscar.configuration import OscarConfig
from oscar.modeling import OscarForCaptioning
from oscar.rules import PieceRules, only
from oscar.streams import Streams


@dataclass(frozen=True)
class Hypothesis:
    """A caption and what the model thinks of it."""

    piece_ids: tuple[int, ...]
    """Without [CLS] and [SEP]."""
    log_prob: float
    """Sum of the log-probabilities of the pieces and of [SEP] (of a sample that was cut: without [SEP])."""
    score: float
    """log_prob / length ** length_penalty; the length counts what log_prob sums."""
    finished: bool
    """False if the caption was cut: at the limit of pieces the model would have gone on."""


@dataclass(frozen=True, kw_only=True)
class _BeamRules:
    """The arguments of `generate` besides those of `PieceRules`."""

    beam_width: int
    n_best: int
    length_penalty: float
    groups: int
    diversity: float

    def __post_init__(self) -> None:
        if self.beam_width < 1:
            raise ValueError(f"beam_width must be 1 or more, got {self.beam_width}")
        if not 1 <= self.n_best <= self.beam_width:
            raise ValueError(f"n_best must be between 1 and beam_width {self.beam_width}, got {self.n_best}")
        if self.groups < 1 or self.beam_width % self.groups or self.n_best % self.groups:
            raise ValueError(
                f"groups must divide beam_width {self.beam_width} and n_best {self.n_best} (each group "
                f"gives as many captions), got {self.groups}"
            )
        if self.diversity < 0:
            raise ValueError(f"diversity must be 0 or more, got {self.diversity}")


@torch.no_grad()
def generate(
    model: OscarForCaptioning,
    prefix: Prefix,
    *,
    beam_width: int = 5,
    n_best: int = 1,
    length_penalty: float = 1.0,
    groups: int = 1,
    diversity: float = 0.5,
    max_pieces: int = 38,
    min_pieces: int = 1,
    no_repeat_ngram: int = 0,
    repetition_penalty: float = 1.0,
    forbidden_ids: Collection[int] = (),
    forbidden_words: Collection[Sequence[int]] = (),
) -> list[list[Hypothesis]]:
    """Search for the captions of every picture of a prefix.

    The score of a caption c1..cn is

        (log p(c1) + ... + log p(cn) + log p([SEP])) / (n + 1) ** length_penalty

    under the model's own probabilities (forbidden pieces are not taken out of the softmax). In each step, of
    all continuations, those that end in [SEP] and are among the beam_width most probable ones are filed, and
    the beam_width most probable ones that do not end live on. A picture leaves the batch when no living
    hypothesis can still beat the worst of its n_best, so stopping early loses nothing. beam_width 1 takes the
    most probable piece each time and stops at the first [SEP]. These are the rules, and the captions, of
    transformers' `generate(early_stopping="never")`.

    After max_pieces pieces only [SEP] may follow, however improbable; its log-probability counts as ever. A
    hypothesis is unfinished where another piece was more probable there.

    With groups, the beams search for captions that differ (diverse beam search, arXiv:1610.02424): each group
    searches as above with its share of beam_width and of n_best, but in every step a piece counts as less
    probable, by `diversity` for each beam of the groups before it that has just taken it. Scores are free of
    this penalty. A caption that several groups found is returned once.

    Args:
        model: in eval mode, if dropout is not wanted.
        prefix: from `model.bert.encode_prefix`.
        beam_width: hypotheses kept per picture, over all groups.
        n_best: captions returned per picture, at most beam_width, over all groups.
        length_penalty: 0 prefers short captions, 1 compares means, more prefers long ones.
        groups: searches that avoid each other's pieces; divides beam_width and n_best.
        diversity: what a piece that another group has taken loses of its log-probability.
        max_pieces: longest caption, without [CLS] and [SEP].
        min_pieces: shortest caption.
        no_repeat_ngram: n-grams of this length appear once in a caption; 0 allows repeats.
        repetition_penalty: makes pieces that the caption holds less probable (`penalise_repetition`); 1: no.
        forbidden_ids: never written, such as [UNK]; [PAD], [CLS] and [MASK] never are.
        forbidden_words: runs of pieces that are never written.

    Returns:
        For each picture up to n_best hypotheses, best first; fewer only where the rules allow no more, or
        groups agree.

    Raises:
        ValueError: a rule that cannot be kept, such as max_pieces beyond the model's caption slots.
    """
    beams = _BeamRules(
        beam_width=beam_width,
        n_best=n_best,
        length_penalty=length_penalty,
        groups=groups,
        diversity=diversity,
    )
    pieces = PieceRules(
        max_pieces=max_pieces,
        min_pieces=min_pieces,
        no_repeat_ngram=no_repeat_ngram,
        repetition_penalty=repetition_penalty,
        forbidden_ids=frozenset(forbidden_ids),
        forbidden_words=frozenset(map(tuple, forbidden_words)),
    )
    pieces.check(cast(OscarConfig, model.config))
    search = _Search(model, prefix, pieces, beams)
    while search.live:
        search.step()
    return [search.best(picture) for picture in range(len(prefix))]


@dataclass(frozen=True)
class _Continuations:
    """Streams of a group with one piece more, (B, continuations) each, best first."""

    totals: Tensor
    """Log-probabilities of the whole streams; -inf: dead."""
    beams: Tensor
    """Which of the group's streams goes on."""
    pieces: Tensor
    """With which piece."""


class _Search:
    """The living hypotheses of the pictures that are not done: B pictures, G groups of w beams."""

    def __init__(
        self, model: OscarForCaptioning, prefix: Prefix, rules: PieceRules, beams: _BeamRules
    ) -> None:
        self.config = cast(OscarConfig, model.config)
        self.sep = cast(int, self.config.sep_token_id)
        self.rules, self.beams = rules, beams
        self.width = beams.beam_width // beams.groups
        self.n_best = beams.n_best // beams.groups
        self.found: list[list[list[Hypothesis]]] = [
            [[] for _ in range(beams.groups)] for _ in range(len(prefix))
        ]
        """Of every picture and group, best first."""
        self.live = list(range(len(prefix)))
        """The places in `found` of the pictures that are not done; the rows of what follows."""
        self.streams = Streams(model, prefix, beams.groups)
        self.sums = torch.zeros(len(prefix), beams.groups, 1, device=prefix.mask.device)
        """(B, G, w) log-probabilities of the streams, -inf: dead."""
        self.cut: Tensor | None = None
        """(B, G * w), at the limit: would the stream rather go on than end?"""

    def best(self, picture: int) -> list[Hypothesis]:
        """What all groups found, best first, each caption once."""
        found = {h.piece_ids: h for of_group in self.found[picture] for h in of_group}
        return sorted(found.values(), key=_by_score)

    def step(self) -> None:
        """Look one piece ahead: file what ends, keep the best of the rest, drop pictures that are done."""
        log_probs = self._allowed_log_probs()  # (B, G, w, V)
        taken = torch.zeros_like(log_probs[:, 0, 0])  # (B, V) beams that take each piece in this step
        survivors: list[_Continuations] = []
        for group in range(self.beams.groups):
            candidates = self._candidates(log_probs[:, group], self.sums[:, group], taken if group else None)
            self._file_ends(group, candidates)
            survivors.append(self._survivors(group, candidates))
            alive = survivors[-1].totals.isfinite().to(taken.dtype)
            taken.scatter_add_(1, survivors[-1].pieces, alive)
        self._go_on(survivors)

    def _allowed_log_probs(self) -> Tensor:
        """(B, G, w, V) log-probabilities of the next piece, -inf where the rules forbid it."""
        written = self.streams.words[:, :, 1:]
        log_probs = self.rules.log_probs(self.streams.next_logits(), written, self.config)
        if self.streams.n_pieces == self.rules.max_pieces:
            self.cut = log_probs.argmax(dim=2).ne(self.sep)
            log_probs = only(log_probs, self.sep)
        return log_probs.unflatten(1, (self.beams.groups, -1))

    def _candidates(self, log_probs: Tensor, sums: Tensor, taken: Tensor | None) -> _Continuations:
        """The best continuations of a group, twice as many as it has beams: half of them may end.

        Args:
            log_probs: (B, w, V).
            sums: (B, w).
            taken: (B, V), how many beams of the groups before take each piece.
        """
        totals = log_probs + sums[:, :, None]  # (B, w, V)
        ranked = totals if taken is None else totals - self.beams.diversity * taken[:, None]
        chosen = ranked.flatten(1).topk(min(2 * self.width, totals[0].numel())).indices
        n_pieces = totals.shape[2]
        return _Continuations(totals.flatten(1).gather(1, chosen), chosen // n_pieces, chosen % n_pieces)

    def _file_ends(self, group: int, candidates: _Continuations) -> None:
        """Put what ends within the `width` best continuations among the n best of picture and group."""
        ends = self._ends(candidates) & candidates.totals.isfinite()
        rows, columns = ends[:, : self.width].nonzero(as_tuple=True)
        streams = candidates.beams[rows, columns] + group * self.sums.shape[2]
        every = zip(
            rows.tolist(),
            self.streams.words[rows, streams, 1:].tolist(),
            candidates.totals[rows, columns].tolist(),
            (torch.zeros_like(rows) if self.cut is None else self.cut[rows, streams]).tolist(),
            strict=True,
        )
        for row, words, log_prob, cut in every:
            score = log_prob / (len(words) + 1) ** self.beams.length_penalty
            found = self.found[self.live[row]][group]
            found.append(Hypothesis(tuple(words), log_prob, score, finished=not cut))
            found.sort(key=_by_score)
            del found[self.n_best :]

    def _survivors(self, group: int, candidates: _Continuations) -> _Continuations:
        """The best continuations that do not end become the group's beams, dead ones where it is done."""
        ends = self._ends(candidates)
        # With fewer continuations than beams, some chosen ones do end: those beams die.
        chosen = ends.byte().argsort(dim=1, stable=True)[:, : self.width]
        totals = candidates.totals.masked_fill(ends, -torch.inf).gather(1, chosen)
        best = totals.amax(dim=1).tolist()
        done = torch.tensor([self._done(self.live[row], group, total) for row, total in enumerate(best)])
        totals[done] = -torch.inf
        return _Continuations(totals, candidates.beams.gather(1, chosen), candidates.pieces.gather(1, chosen))

    def _go_on(self, survivors: list[_Continuations]) -> None:
        """The groups' survivors become the streams; pictures that none survives are done."""
        sums = torch.stack([group.totals for group in survivors], dim=1)  # (B, G, w)
        kept = sums.isfinite().flatten(1).any(dim=1).nonzero()[:, 0]
        self.live = [self.live[row] for row in kept.tolist()]
        if not self.live:
            return
        width = self.sums.shape[2]
        sources = torch.cat([each.beams + group * width for group, each in enumerate(survivors)], dim=1)
        pieces = torch.cat([each.pieces for each in survivors], dim=1)
        self.streams.advance(kept, sources[kept], pieces[kept])
        self.sums = sums[kept]

    def _ends(self, candidates: _Continuations) -> Tensor:
        return candidates.pieces.eq(self.sep)

    def _done(self, picture: int, group: int, best_total: float) -> bool:
        """No hypothesis that lives with at most `best_total` can enter the group's n best any more."""
        found = self.found[picture][group]
        if len(found) < self.n_best:
            return False
        if self.width == 1:
            return True
        reachable = best_reachable(
            best_total, self.streams.n_pieces, self.rules.max_pieces, self.beams.length_penalty
        )
        return found[-1].score >= reachable


def best_reachable(total: float, n_pieces: int, max_pieces: int, length_penalty: float) -> float:
    """The best score that a hypothesis can still end with.

    Sums only fall, so it is the present one at the most favourable length: the shortest is the pieces so far,
    the one just chosen and [SEP], the longest the limit and [SEP].

    Args:
        total: log-probability with the piece just chosen.
        n_pieces: pieces before that one.
        max_pieces: longest caption.
        length_penalty: as in `generate`.
    """
    return max(total / length**length_penalty for length in (n_pieces + 2, max_pieces + 1))


def _by_score(hypothesis: Hypothesis) -> float:
    """Sorts hypotheses best first."""
    return -hypothesis.score
