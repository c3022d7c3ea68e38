"""State machines against plain reading of the caption, and against the dense table they replace."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oscar.machines import StateMachine, word_machine
from oscar.original_constrained import original_machine

Form = tuple[int, ...]

FORMS = st.lists(st.integers(5, 8), min_size=1, max_size=3).map(tuple)
CONSTRAINTS = st.lists(st.lists(FORMS, min_size=1, max_size=3), max_size=4)


def read(machine: StateMachine, pieces: Sequence[int]) -> set[int]:
    """Every state that a caption leads to."""
    here = {0}
    for piece in pieces:
        states = [machine.states[each] for each in here]
        listed = [{to for moved, to in state.moves if moved == piece} for state in states]
        here = set().union(*(to or {state.otherwise} for state, to in zip(states, listed, strict=True)))
    return here


def holds(pieces: Sequence[int], form: Form) -> bool:
    return any(tuple(pieces[i : i + len(form)]) == form for i in range(len(pieces)))


@given(constraints=CONSTRAINTS, pieces=st.lists(st.integers(5, 9), max_size=9))
def test_the_state_counts_the_constraints_that_the_caption_holds(
    constraints: list[list[Form]], pieces: list[int]
) -> None:
    machine = word_machine(constraints)
    (state,) = read(machine, pieces)
    held = sum(any(holds(pieces, form) for form in forms) for forms in constraints)
    assert machine.states[state].met == held


@given(constraints=CONSTRAINTS)
def test_only_states_that_a_caption_reaches_exist(constraints: list[list[Form]]) -> None:
    machine = word_machine(constraints)
    reached, last = {0}, {0}
    while last:
        nexts = {to for each in last for _, to in machine.states[each].moves}
        last = (nexts | {machine.states[each].otherwise for each in last}) - reached
        reached |= last
    assert reached == set(range(len(machine.states)))


@given(constraints=CONSTRAINTS)
def test_no_transition_is_listed_that_any_piece_makes(constraints: list[list[Form]]) -> None:
    for state in word_machine(constraints).states:
        assert all(to != state.otherwise for _, to in state.moves)
        assert list(state.moves) == sorted(set(state.moves))


def test_words_may_overlap_where_the_original_wants_both_written_out() -> None:
    grass, ground = (10, 11), (11, 12)  # 草地 and 地上 in 草地上
    ours = word_machine([[grass], [ground]])
    (state,) = read(ours, [10, 11, 12])
    assert ours.states[state].met == 2
    theirs = original_machine([[{10}, {11}], [{11}, {12}]], max_constraints=2)
    assert max(theirs.states[each].met for each in read(theirs, [10, 11, 12])) == 1


def test_a_word_may_begin_anew_in_its_own_middle_where_the_original_loses_it() -> None:
    ours = word_machine([[(10, 11)]])
    (state,) = read(ours, [10, 10, 11])
    assert ours.states[state].met == 1
    theirs = original_machine([[{10}, {11}]])
    assert read(theirs, [10, 10, 11]) == {0}


def test_a_machine_is_a_few_hundred_bytes_where_a_dense_table_is_megabytes() -> None:
    machine = word_machine([[(i, i + 1)] for i in (100, 200, 300)])
    kept = 4 * sum(1 + 2 * len(state.moves) for state in machine.states)  # as 32-bit integers
    assert len(machine.states) == 20
    assert sum(len(state.moves) for state in machine.states) == 48
    assert (kept, 32 * 32 * 21128) == (464, 21_635_072)


def test_the_original_cuts_a_constraint_at_its_limit_of_pieces() -> None:
    long = original_machine([[{10}, {11}, {12}]], max_constraints=1, max_pieces=2)
    assert long == original_machine([[{10}, {11}]], max_constraints=1)


@pytest.mark.parametrize(
    ("constraints", "message"),
    [
        ([[(5,)]] * 6, "6 constraints for one picture; at most 5"),
        ([[(5,)], []], "constraint 1 has no form"),
        ([[(5,), ()]], "constraint 0 has an empty form"),
    ],
)
def test_constraints_that_no_machine_reads_are_refused(constraints: list[list[Form]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        word_machine(constraints)


@pytest.mark.parametrize("constraints", [[[{5}], [{6}]], [[]]])
def test_the_original_refuses_constraints_it_has_no_states_for(constraints: list[list[set[int]]]) -> None:
    with pytest.raises(ValueError, match="at most 1 constraints of a step or more, got"):
        original_machine(constraints, max_constraints=1)
