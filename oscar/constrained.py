"""Beam search for captions that hold wanted words: a beam for each state of a machine (arXiv:1612.00576).

The machine of a picture (oscar.machines) says which wanted words a caption holds. Hypotheses compete only
with those in the same state, so a caption on its way to a rare word is not pushed out by more probable ones
without it. The model runs only the hypotheses that live: one at first, never more than beam_width a state.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor

from oscar.backbone import Prefix
from oscar.configuration import OscarConfig
from oscar.decoding import Hypothesis, best_reachable
from oscar.machines import StateMachine
from oscar.modeling import OscarForCaptioning
from oscar.rules import PieceRules, only
from oscar.streams import Streams


@torch.no_grad()
def generate(
    model: OscarForCaptioning,
    prefix: Prefix,
    machines: Sequence[StateMachine],
    *,
    beam_width: int = 5,
    n_best: int = 1,
    length_penalty: float = 1.0,
    max_pieces: int = 38,
    min_pieces: int = 1,
    no_repeat_ngram: int = 0,
    repetition_penalty: float = 1.0,
    forbidden_ids: Collection[int] = (),
    forbidden_words: Collection[Sequence[int]] = (),
) -> list[list[Hypothesis]]:
    """Search for the best captions of every picture among those that meet all its constraints.

    The rules and scores are those of `oscar.decoding.generate`, with a beam for each state: in each step, of
    all continuations that lead to a state, those that end in [SEP] and are among the beam_width most probable
    ones are filed, and the beam_width most probable ones that do not end live on. A caption may end only
    where every constraint is met.

    After max_pieces pieces only [SEP] may follow, now in any state: where no caption has met every
    constraint, because the limit is too short or the rules forbid a wanted word, those are returned that met
    most.

    Args:
        model: in eval mode, if dropout is not wanted.
        prefix: from `model.bert.encode_prefix`.
        machines: of each picture, from `oscar.machines.word_machine`.
        beam_width: hypotheses kept per state.
        n_best: captions returned per picture.
        length_penalty: this and what follows as in `oscar.decoding.generate`.
        max_pieces: longest caption, without [CLS] and [SEP].
        min_pieces: shortest caption.
        no_repeat_ngram: n-grams of this length appear once in a caption; 0 allows repeats.
        repetition_penalty: makes pieces that the caption holds less probable; 1: no.
        forbidden_ids: never written, such as [UNK]; [PAD], [CLS] and [MASK] never are.
        forbidden_words: runs of pieces that are never written.

    Returns:
        For each picture up to n_best hypotheses, best first.

    Raises:
        ValueError: a rule that cannot be kept, or not one machine for each picture.
    """
    if n_best < 1:
        raise ValueError(f"n_best must be 1 or more, got {n_best}")
    rules = PieceRules(
        max_pieces=max_pieces,
        min_pieces=min_pieces,
        no_repeat_ngram=no_repeat_ngram,
        repetition_penalty=repetition_penalty,
        forbidden_ids=frozenset(forbidden_ids),
        forbidden_words=frozenset(map(tuple, forbidden_words)),
    )
    rules.check(cast(OscarConfig, model.config))
    search = _Search(Beams(model, prefix, machines, beam_width), rules, n_best, length_penalty)
    while search.live:
        search.step()
    return [[each.hypothesis for each in found if each.met == found[0].met] for found in search.found]


@dataclass(frozen=True)
class _Found:
    """A caption and how many constraints it meets."""

    met: int
    hypothesis: Hypothesis


class _Search:
    """The beams of the pictures that are not done, and what was found for all."""

    def __init__(self, beams: "Beams", rules: PieceRules, n_best: int, length_penalty: float) -> None:
        self.config = cast(OscarConfig, beams.streams.model.config)
        self.sep = cast(int, self.config.sep_token_id)
        self.beams, self.rules, self.n_best, self.length_penalty = beams, rules, n_best, length_penalty
        self.found: list[list[_Found]] = [[] for _ in beams.states]
        """Of every picture, best first."""
        self.live = list(range(len(beams.states)))
        """The places in `found` of the pictures that are not done; the rows of the beams."""
        self.cut: Tensor | None = None
        """(B, W), at the limit: would the stream rather go on than end?"""

    def step(self) -> None:
        """Look one piece ahead: file what ends, keep the best of the rest, drop pictures that are done."""
        every = self.beams.continuations(self._allowed_log_probs())
        self._file_ends(self.beams.best(every))
        going = self.beams.best(every.without(self.sep))
        tops = going.sums.amax(dim=1).tolist()
        kept = [row for row, top in enumerate(tops) if not self._done(self.found[self.live[row]], top)]
        self.live = [self.live[row] for row in kept]
        if kept:
            self.beams.take(torch.tensor(kept, device=going.sums.device), going)

    def _allowed_log_probs(self) -> Tensor:
        """(B, W, V) log-probabilities of the next piece, -inf where rules or unmet constraints forbid it."""
        streams, written = self.beams.streams, self.beams.streams.words[:, :, 1:]
        log_probs = self.rules.log_probs(streams.next_logits(), written, self.config)
        if streams.n_pieces < self.rules.max_pieces:
            log_probs[:, :, self.sep].masked_fill_(self.beams.unmet, -torch.inf)
            return log_probs
        self.cut = log_probs.argmax(dim=2) != self.sep
        return only(log_probs, self.sep)

    def _file_ends(self, best: "Continuations") -> None:
        """Put the captions that end among the n best of their pictures, where they are."""
        rows, places = ((best.pieces == self.sep) & best.sums.isfinite()).nonzero(as_tuple=True)
        streams, states = best.sources[rows, places], best.states[rows, places]
        every = zip(
            rows.tolist(),
            self.beams.streams.words[rows, streams, 1:].tolist(),
            best.sums[rows, places].tolist(),
            (torch.zeros_like(rows) if self.cut is None else self.cut[rows, streams]).tolist(),
            self.beams.tables.met[rows, states].tolist(),
            strict=True,
        )
        for row, words, log_prob, cut, met in every:
            score = log_prob / (len(words) + 1) ** self.length_penalty
            found = self.found[self.live[row]]
            found.append(_Found(met, Hypothesis(tuple(words), log_prob, score, finished=not cut)))
            found.sort(key=lambda each: (-each.met, -each.hypothesis.score))
            del found[self.n_best :]

    def _done(self, found: Sequence[_Found], best_sum: float) -> bool:
        """No hypothesis that lives with at most `best_sum` can enter the n best any more."""
        if best_sum == -torch.inf:
            return True
        if len(found) < self.n_best:
            return False
        if self.beams.width == 1:
            return True
        reachable = best_reachable(
            best_sum, self.beams.streams.n_pieces, self.rules.max_pieces, self.length_penalty
        )
        return found[-1].hypothesis.score >= reachable


@dataclass(frozen=True, kw_only=True)
class Continuations:
    """Streams with one piece more, any number of them for each of B pictures."""

    sums: Tensor
    """(B, N) log-probabilities of the whole captions; -inf: dead."""
    sources: Tensor
    """(B, N) which stream goes on."""
    pieces: Tensor
    """(B, N) with which piece."""
    states: Tensor
    """(B, N) the state that it comes to."""

    def at(self, places: Tensor) -> "Continuations":
        """Those at (B, n) places of their pictures."""
        each = (self.sums, self.sources, self.pieces, self.states)
        sums, sources, pieces, states = (values.gather(1, places) for values in each)
        return Continuations(sums=sums, sources=sources, pieces=pieces, states=states)

    def without(self, piece: int) -> "Continuations":
        """The same, those with this piece dead."""
        return replace(self, sums=self.sums.masked_fill(self.pieces == piece, -torch.inf))


class Beams:
    """The living hypotheses: B pictures, W streams of each in any states, the most probable first."""

    def __init__(
        self, model: OscarForCaptioning, prefix: Prefix, machines: Sequence[StateMachine], width: int
    ) -> None:
        """One empty caption a picture.

        Args:
            model: in eval mode, if dropout is not wanted.
            prefix: from `model.bert.encode_prefix`.
            machines: of each picture.
            width: K, hypotheses kept per state.

        Raises:
            ValueError: no width, or not one machine for each picture.
        """
        if width < 1:
            raise ValueError(f"beam_width must be 1 or more, got {width}")
        if len(machines) != len(prefix):
            raise ValueError(f"{len(machines)} machines for {len(prefix)} pictures; give one for each")
        device = prefix.mask.device
        self.width = width
        self.streams = Streams(model, prefix)
        self.tables = _Tables.of(machines, device)
        self.states = torch.zeros(len(prefix), 1, dtype=torch.long, device=device)  # (B, W)
        self.sums = torch.zeros(len(prefix), 1, device=device)  # (B, W), -inf: no hypothesis

    @property
    def unmet(self) -> Tensor:
        """(B, W) bool: is a constraint of the picture still open?"""
        return self.tables.met.gather(1, self.states) < self.tables.n_constraints[:, None]

    def continuations(self, log_probs: Tensor) -> Continuations:
        """All that can be among the best of a state, [SEP] or not; uses up the streams' next (B, W, V)."""
        # A few pieces of each stream lead to states of their own, the rest all to the same one.
        picture = torch.arange(len(self.states), device=log_probs.device)[:, None]
        moves = self.tables.pieces[picture, self.states]  # (B, W, M)
        targets = self.tables.targets[picture, self.states]
        listed = targets >= 0
        moving = log_probs.gather(2, moves).masked_fill(~listed, -torch.inf)
        row, stream, _ = listed.nonzero(as_tuple=True)
        log_probs[row, stream, moves[listed]] = -torch.inf
        staying, stayed = log_probs.topk(min(self.width + 1, log_probs.shape[2]))  # (B, W, K + 1)
        home = self.tables.otherwise.gather(1, self.states)[:, :, None]
        sums = torch.cat([staying, moving], dim=2) + self.sums[:, :, None]  # (B, W, K + 1 + M)
        streams = torch.arange(sums.shape[1], device=sums.device)[:, None]
        return Continuations(
            sums=sums.flatten(1),
            sources=streams.expand_as(sums).flatten(1),
            pieces=torch.cat([stayed, moves], dim=2).flatten(1),
            states=torch.cat([home.expand_as(stayed), targets], dim=2).flatten(1),
        )

    def best(self, every: Continuations) -> Continuations:
        """The K most probable in each of the S states, (B, S * K); some may be dead."""
        states = torch.arange(self.tables.met.shape[1], device=every.sums.device)[:, None]
        of_state = every.sums[:, None].masked_fill(every.states[:, None] != states, -torch.inf)  # (B, S, N)
        sums, places = of_state.topk(min(self.width, of_state.shape[2]))  # (B, S, K)
        best = every.at(places.flatten(1))
        return replace(best, sums=sums.flatten(1), states=states.expand_as(sums).flatten(1))

    def take(self, pictures: Tensor, best: Continuations) -> None:
        """The living ones of these pictures, (B',) ascending, become the streams."""
        most = int(best.sums[pictures].isfinite().sum(dim=1).max())
        taken = best.at(best.sums.topk(most).indices)
        self.sums, self.states = taken.sums[pictures], taken.states[pictures]  # (B', W')
        self.streams.advance(pictures, taken.sources[pictures], taken.pieces[pictures])
        self.tables = self.tables.select(pictures)


@dataclass(frozen=True)
class _Tables:
    """The machines of B pictures, padded to S states and M moves out of each."""

    n_constraints: Tensor
    """(B,)"""
    met: Tensor
    """(B, S) constraints met in each state."""
    otherwise: Tensor
    """(B, S)"""
    pieces: Tensor
    """(B, S, M)"""
    targets: Tensor
    """(B, S, M), -1 where there is no move."""

    @classmethod
    def of(cls, machines: Sequence[StateMachine], device: torch.device) -> "_Tables":
        """The same in tensors."""
        n_states = max(len(machine.states) for machine in machines)
        n_moves = max(len(state.moves) for machine in machines for state in machine.states)
        met, otherwise = torch.zeros(2, len(machines), n_states, dtype=torch.long)
        moves = torch.tensor([0, -1]).repeat(len(machines), n_states, n_moves, 1)
        for i, machine in enumerate(machines):
            for j, state in enumerate(machine.states):
                met[i, j], otherwise[i, j] = state.met, state.otherwise
                if state.moves:
                    moves[i, j, : len(state.moves)] = torch.tensor(state.moves)
        n_constraints = torch.tensor([machine.n_constraints for machine in machines])
        return cls(*(each.to(device) for each in (n_constraints, met, otherwise, *moves.unbind(3))))

    def select(self, pictures: Tensor) -> "_Tables":
        """Those of some pictures."""
        each = (self.n_constraints, self.met, self.otherwise, self.pieces, self.targets)
        return _Tables(*(table[pictures] for table in each))
