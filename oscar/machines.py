"""State machines that read a caption piece by piece and know which constraints it meets.

Constrained beam search (arXiv:1612.00576) keeps a beam for each state of such a machine. A dense table
[S, S, V] of its transitions takes 21.6 MB a picture in the original (S = 32 states, V = 21,128 pieces, a byte
each), though nearly every piece does the same: it brings no constraint further. So a state holds one
transition for "any other piece" and a short list of those that matter: three constraints of two pieces each
make 20 states with 48 listed transitions between them.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

MOST_CONSTRAINTS = 5
"""Of one picture: the states double with each constraint, and every state has a beam."""


@dataclass(frozen=True, kw_only=True)
class State:
    """What the machine remembers of the pieces it has read."""

    met: int
    """Constraints met so far."""
    otherwise: int
    """The state that every piece not listed in `moves` leads to."""
    moves: tuple[tuple[int, int], ...]
    """(piece, next state), ascending. A piece may be listed with several states: the beams of all get it."""


@dataclass(frozen=True, kw_only=True)
class StateMachine:
    """States by number; 0 is the state of the empty caption."""

    n_constraints: int
    states: tuple[State, ...]


def word_machine(constraints: Sequence[Collection[Sequence[int]]]) -> StateMachine:
    """The machine whose state says exactly which constraints a caption holds.

    A state is the set of constraints met, and the longest end of the caption that begins a word still wanted
    (the automaton of Aho and Corasick, doi:10.1145/360825.360855). So words may overlap ("草地" and "地上" in
    "草地上") or start anew in their own middle, and every caption leads to one state. Only states that some
    caption reaches exist.

    Args:
        constraints: each a set of alternative forms of a word, any of which meets it; a form is a sequence of
            pieces.

    Raises:
        ValueError: too many constraints, one without a form, or an empty form.
    """
    if len(constraints) > MOST_CONSTRAINTS:
        raise ValueError(
            f"{len(constraints)} constraints for one picture; at most {MOST_CONSTRAINTS} can be searched for"
        )
    wanted = [[tuple(form) for form in forms] for forms in constraints]
    for index, forms in enumerate(wanted):
        if not forms or () in forms:
            raise ValueError(f"constraint {index} has {'an empty form' if forms else 'no form'}: {forms}")
    alphabet = sorted({piece for forms in wanted for form in forms for piece in form})
    reached: list[tuple[frozenset[int], tuple[int, ...]]] = [(frozenset(), ())]
    number = {reached[0]: 0}
    states = []
    for met, tail in reached:  # grows on the way
        followers = {piece: _read(wanted, met, (*tail, piece)) for piece in alphabet}
        for follower in [(met, ()), *followers.values()]:
            if follower not in number:
                number[follower] = len(reached)
                reached.append(follower)
        moves = tuple((piece, number[to]) for piece, to in followers.items() if to != (met, ()))
        states.append(State(met=len(met), otherwise=number[met, ()], moves=moves))
    return StateMachine(n_constraints=len(wanted), states=tuple(states))


def _read(
    wanted: Sequence[Sequence[tuple[int, ...]]], met: frozenset[int], text: tuple[int, ...]
) -> tuple[frozenset[int], tuple[int, ...]]:
    """Constraints met at the end of `text`, and its longest end that begins a form still wanted."""
    ends = [text[start:] for start in range(len(text) + 1)]  # longest first, () last
    met = met | {index for index, forms in enumerate(wanted) if any(form in ends for form in forms)}
    open_forms = [form for index, forms in enumerate(wanted) if index not in met for form in forms]
    tail = next(end for end in ends if not end or any(form[: len(end)] == end for form in open_forms))
    return met, tail


def original_machine(
    constraints: Sequence[Sequence[Collection[int]]], max_constraints: int = 3, max_pieces: int = 4
) -> StateMachine:
    """The machine of the original (microsoft/Oscar, after nocaps, arXiv:1812.08658), for comparison with it.

    States below 2 ** max_constraints are the sets of constraints met, as bits; behind them, in the order of
    their making, come states in the middle of a constraint. There any wrong piece leads back to the set it
    started from, even a piece that begins or meets a constraint; and a piece that meets one constraint may
    also be read as if it did not, if the machine has a later constraint. Hence "草地上" meets but one of
    "草地" and "地上", and a caption can be in several states: `word_machine` knows better.

    Args:
        constraints: each a sequence of steps; a step is the set of pieces of which one must follow.
        max_constraints: decides the number of sets, whether or not as many constraints are given.
        max_pieces: later steps of a constraint are cut off.

    Raises:
        ValueError: more constraints than `max_constraints`, or one without a step.
    """
    if len(constraints) > max_constraints or not all(constraints):
        raise ValueError(f"wanted at most {max_constraints} constraints of a step or more, got {constraints}")
    n_sets = 2**max_constraints
    steps_from: list[list[tuple[Collection[int], int]]] = [[] for _ in range(n_sets)]
    home = list(range(n_sets))  # the set that a wrong piece leads to
    for index, constraint in enumerate(constraints):
        steps = constraint[:max_pieces]
        for origin in (each for each in range(n_sets) if not each >> index & 1):
            here = origin
            for pieces in steps[:-1]:
                steps_from[here].append((pieces, len(home)))
                here = len(home)
                steps_from.append([])
                home.append(origin)
            steps_from[here].append((steps[-1], origin | 1 << index))
    states = (_original_state(steps, origin) for steps, origin in zip(steps_from, home, strict=True))
    return StateMachine(n_constraints=len(constraints), states=tuple(states))


def _original_state(steps: Sequence[tuple[Collection[int], int]], home: int) -> State:
    """A state with these steps out of it; only the pieces of the last step made do not also lead home."""
    moves = {(piece, to) for pieces, to in steps for piece in pieces}
    moves |= {(piece, home) for pieces, _ in steps[:-1] for piece in pieces if piece not in steps[-1][0]}
    return State(met=home.bit_count(), otherwise=home, moves=tuple(sorted(moves)))
