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
