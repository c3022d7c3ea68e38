"""The constrained search of the original (microsoft/Oscar, nocaps: arXiv:1812.08658) and its very captions.

What it does otherwise than `oscar.machines` and `oscar.constrained`:

- Its machine can lose a wanted word. In the middle of one, any wrong piece leads back to where the word
  began, even a piece that begins or meets a constraint: "草地上" meets but one of "草地" and "地上".
- A piece that meets a constraint may also be read as if it did not, if the machine has a later constraint. So
  a caption can be in several states at once.
- Any piece may be written, and captions may end in any state; they then keep their place in its beam.
- A caption that is cut at the limit counts as if it had ended, though without the log-probability of [SEP].
- Only the most probable caption of each set of constraints is compared by its score.

One bug is not copied: in a batch all pictures took their first step with the first one's probabilities.
"""

from collections.abc import Collection, Sequence
from typing import cast

import torch

from oscar.backbone import Prefix
from oscar.configuration import OscarConfig
from oscar.constrained import Beams
from oscar.decoding import Hypothesis
from oscar.machines import State, StateMachine
from oscar.modeling import OscarForCaptioning
from oscar.rules import log_softmax


def original_machine(
    constraints: Sequence[Sequence[Collection[int]]], max_constraints: int = 3, max_pieces: int = 4
) -> StateMachine:
    """The original's machine.

    States below 2 ** max_constraints are the sets of constraints met, as bits; behind them, in the order of
    their making, come the states in the middle of a constraint.

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
    states = (_state(steps, origin) for steps, origin in zip(steps_from, home, strict=True))
    return StateMachine(n_constraints=len(constraints), states=tuple(states))


def _state(steps: Sequence[tuple[Collection[int], int]], home: int) -> State:
    """A state with these steps out of it; only the pieces of the last step made do not also lead home."""
    moves = {(piece, to) for pieces, to in steps for piece in pieces}
    moves |= {(piece, home) for pieces, _ in steps[:-1] for piece in pieces if piece not in steps[-1][0]}
    return State(met=home.bit_count(), otherwise=home, moves=tuple(sorted(moves)))


@torch.no_grad()
def generate(
    model: OscarForCaptioning,
    prefix: Prefix,
    machines: Sequence[StateMachine],
    *,
    beam_width: int = 5,
    max_pieces: int = 19,
    least_met: int = 2,
) -> list[Hypothesis]:
    """The original's search.

    Args:
        model: in eval mode.
        prefix: from `model.bert.encode_prefix`.
        machines: of each picture, from `original_machine`.
        beam_width: num_beams, for each state.
        max_pieces: pieces of the longest caption, max_gen_length - 1.
        least_met: min_constraints_to_satisfy, where a picture has more of them.

    Returns:
        The caption of each picture. Its score is what the original calls its log-probability.
    """
    sep = cast(int, cast(OscarConfig, model.config).sep_token_id)
    beams = Beams(model, prefix, machines, beam_width)
    pictures = torch.arange(len(prefix), device=prefix.mask.device)
    for _ in range(max_pieces):
        log_probs = log_softmax(beams.streams.next_logits())
        ended = beams.streams.words[:, :, -1:] == sep
        stays_ended = torch.full_like(log_probs[0, 0], -torch.inf)
        stays_ended[sep] = 0
        every = beams.continuations(torch.where(ended, stays_ended, log_probs))
        beams.take(pictures, beams.best(every))
    return [_choose(beams, i, machine, least_met, sep) for i, machine in enumerate(machines)]


def _choose(beams: Beams, picture: int, machine: StateMachine, least_met: int, sep: int) -> Hypothesis:
    """The best of a picture by score, among the most probable of each state that met enough."""
    best: dict[int, Hypothesis] = {}
    rows = zip(beams.states[picture].tolist(), beams.sums[picture].tolist(), strict=True)
    for stream, (state, log_prob) in enumerate(rows):  # the most probable first
        if state < 2**machine.n_constraints and state not in best and log_prob > -torch.inf:
            written = beams.streams.words[picture, stream].tolist()[1:]
            words = tuple(piece for piece in written if piece != sep)
            best[state] = Hypothesis(words, log_prob, log_prob / (len(words) + 1), sep in written)
    enough = min(machine.n_constraints, least_met)
    return max(best.items(), key=lambda item: (min(machine.states[item[0]].met, enough), item[1].score))[1]
