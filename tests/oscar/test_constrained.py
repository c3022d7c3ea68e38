"""The search by states against one that knows no cache and no tensors, and against every caption there is."""

import itertools
from collections.abc import Sequence
from typing import Any, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oscar import decoding
from oscar.configuration import OscarConfig
from oscar.constrained import generate
from oscar.decoding import Hypothesis
from oscar.machines import StateMachine, word_machine
from oscar.modeling import OscarForCaptioning
from tests.oscar.test_decoding import CONTROL, SEP, Pictures, make_model, make_pictures, next_logits
from tests.oscar.test_machines import Form, holds, read

Constraints = list[list[Form]]
Ranked = list[tuple[tuple[int, ...], float]]
"""Words and log-probability, best first."""

EACH_OF_THREE: list[Constraints] = [[], [[(6,)], [(5, 7), (7, 7)]], [[(5, 6, 5)]]]


def reference(
    model: OscarForCaptioning, pictures: Pictures, i: int, machine: StateMachine, rules: dict[str, Any]
) -> Ranked:
    """Every state's beam as a Python list; each step by full forward, always up to the limit."""
    width, limit, penalty = rules["beam_width"], rules["max_pieces"], rules["length_penalty"]
    beams: list[tuple[tuple[int, ...], float]] = [((), 0.0)]
    finished: Ranked = []
    for n in range(limit + 1):
        of_state: dict[int, Ranked] = {}
        logits = next_logits(model, pictures, i, [words for words, _ in beams])
        for (words, total), log_probs in zip(beams, logits.log_softmax(-1).tolist(), strict=True):
            for piece, log_prob in enumerate(log_probs):
                (state,) = read(machine, [*words, piece])
                met = machine.states[state].met == machine.n_constraints
                may_end = n == limit or (n > 0 and met)
                if piece not in CONTROL and (may_end if piece == SEP else n < limit):
                    of_state.setdefault(state, []).append(((*words, piece), total + log_prob))
        beams = []
        for continuations in of_state.values():
            continuations.sort(key=lambda c: -c[1])
            finished += [(words[:-1], total) for words, total in continuations[:width] if words[-1] == SEP]
            beams += [(words, total) for words, total in continuations if words[-1] != SEP][:width]
        if width == 1 and len(finished) >= rules["n_best"]:
            break
    finished.sort(key=lambda c: -c[1] / (len(c[0]) + 1) ** penalty)
    met_by = [met_count(machine, words) for words, _ in finished]
    ranked = [each for each, met in zip(finished, met_by, strict=True) if met == max(met_by)]
    return ranked[: rules["n_best"]]


def met_count(machine: StateMachine, words: Sequence[int]) -> int:
    (state,) = read(machine, words)
    return machine.states[state].met


def assert_same(found: list[Hypothesis], expected: Ranked) -> None:
    assert [h.piece_ids for h in found] == [words for words, _ in expected]
    assert [h.log_prob for h in found] == pytest.approx([log_prob for _, log_prob in expected], abs=1e-9)


FORMS = st.lists(st.integers(5, 9), min_size=1, max_size=3).map(tuple)
CONSTRAINTS = st.lists(st.lists(FORMS, min_size=1, max_size=2), max_size=3)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    of_pictures=st.tuples(CONSTRAINTS, CONSTRAINTS, CONSTRAINTS),
    rules=st.fixed_dictionaries(
        {
            "beam_width": st.integers(1, 4),
            "n_best": st.integers(1, 3),
            "max_pieces": st.integers(1, 6),
            "length_penalty": st.sampled_from([0.0, 1.0, 1.6, -0.5]),
        }
    ),
)
def test_the_search_is_the_one_without_cache(
    seed: int, of_pictures: tuple[Constraints, ...], rules: dict[str, Any]
) -> None:
    model = make_model(seed, 0.4, vocab_size=12, num_hidden_layers=2)
    pictures = make_pictures(cast(OscarConfig, model.config), seed)
    machines = [word_machine(constraints) for constraints in of_pictures]
    found = generate(model, pictures.prefix(model), machines, **rules)
    for i, machine in enumerate(machines):
        assert_same(found[i], reference(model, pictures, i, machine, rules))


@pytest.mark.parametrize("penalty", [0.0, 1.0, 1.7])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_beam_that_covers_everything_finds_the_best_captions_with_the_wanted_words(
    seed: int, penalty: float
) -> None:
    model = make_model(seed, 0.4, vocab_size=8)  # [UNK] and three words can be written
    pictures = make_pictures(cast(OscarConfig, model.config), seed)
    prefix = pictures.prefix(model)
    machines = [word_machine(constraints) for constraints in EACH_OF_THREE]
    rules: dict[str, Any] = {"n_best": 20, "max_pieces": 4, "length_penalty": penalty}
    found = generate(model, prefix, machines, beam_width=400, **rules)
    for i, constraints in enumerate(EACH_OF_THREE):
        written: dict[tuple[int, ...], float] = {(): 0.0}
        every = []
        for n in range(5):
            captions = list(itertools.product((1, 5, 6, 7), repeat=n))
            log_probs = next_logits(model, pictures, i, captions).log_softmax(-1)
            for words, row in zip(captions, log_probs.tolist(), strict=True):
                written.update({(*words, piece): written[words] + row[piece] for piece in (1, 5, 6, 7)})
                if words and all(any(holds(words, form) for form in forms) for forms in constraints):
                    every.append((words, written[words] + row[SEP]))
        every.sort(key=lambda caption: -caption[1] / (len(caption[0]) + 1) ** penalty)
        assert_same(found[i], every[:20])


def test_a_picture_gets_the_same_captions_alone_and_beside_others_with_other_constraints() -> None:
    model = make_model(3, 0.3, vocab_size=30)
    prefix = make_pictures(cast(OscarConfig, model.config), 3).prefix(model)
    machines = [word_machine(constraints) for constraints in EACH_OF_THREE]
    together = generate(model, prefix, machines, n_best=3, max_pieces=8)
    for i, hypotheses in enumerate(together):
        one = prefix.select(torch.tensor([i]))
        (alone,) = generate(model, one, [machines[i]], n_best=3, max_pieces=8)
        assert [h.piece_ids for h in alone] == [h.piece_ids for h in hypotheses]
        assert [h.log_prob for h in alone] == pytest.approx([h.log_prob for h in hypotheses], abs=1e-10)


@pytest.mark.parametrize("width", [1, 2, 5])
def test_without_constraints_it_is_the_unconstrained_search(width: int) -> None:
    model = make_model(9, 0.3, vocab_size=30)
    prefix = make_pictures(cast(OscarConfig, model.config), 9).prefix(model)
    rules: dict[str, Any] = {"beam_width": width, "n_best": min(width, 2), "max_pieces": 8}
    found = generate(model, prefix, [word_machine([])] * 3, **rules)
    for ours, theirs in zip(found, decoding.generate(model, prefix, **rules), strict=True):
        assert [(h.piece_ids, h.finished) for h in ours] == [(h.piece_ids, h.finished) for h in theirs]
        assert [h.score for h in ours] == pytest.approx([h.score for h in theirs], abs=1e-10)


def test_every_caption_holds_the_wanted_words_however_improbable() -> None:
    model = make_model(5, 0.3, vocab_size=30)
    with torch.no_grad():
        model.cls.predictions.bias[[20, 21, 22]] = -20.0
    prefix = make_pictures(cast(OscarConfig, model.config), 5).prefix(model)
    machine = word_machine([[(20, 21)], [(22,), (23, 22, 23)]])
    for hypotheses in generate(model, prefix, [machine] * 3, n_best=4, max_pieces=9):
        assert len(hypotheses) == 4
        for h in hypotheses:
            assert holds(h.piece_ids, (20, 21))
            assert holds(h.piece_ids, (22,))


def test_no_rule_of_the_search_without_constraints_is_lost() -> None:
    model = make_model(6, 0.3, vocab_size=30)
    prefix = make_pictures(cast(OscarConfig, model.config), 6).prefix(model)
    banned = {h[0].piece_ids[0] for h in generate(model, prefix, [word_machine([])] * 3, max_pieces=8)}
    machine = word_machine([[(9, 9)]])
    found = generate(
        model,
        prefix,
        [machine] * 3,
        n_best=3,
        max_pieces=8,
        min_pieces=7,
        no_repeat_ngram=2,
        forbidden_ids=banned,
    )
    for h in itertools.chain(*found):
        assert len(h.piece_ids) >= 7
        assert not banned & set(h.piece_ids)
        pairs = list(itertools.pairwise(h.piece_ids))
        assert len(pairs) == len(set(pairs))


def test_where_a_wanted_word_cannot_be_written_the_captions_with_the_others_are_returned() -> None:
    model = make_model(7, 0.3, vocab_size=30)
    prefix = make_pictures(cast(OscarConfig, model.config), 7).prefix(model)
    machine = word_machine([[(20, 21)], [(22,)]])
    for hypotheses in generate(model, prefix, [machine] * 3, n_best=3, max_pieces=6, forbidden_ids=[21]):
        assert hypotheses
        for h in hypotheses:
            assert len(h.piece_ids) == 6  # they went on hoping
            assert holds(h.piece_ids, (22,))


@pytest.mark.parametrize(
    ("n_machines", "rules", "message"),
    [
        (3, {"beam_width": 0}, "beam_width must be 1 or more, got 0"),
        (3, {"n_best": 0}, "n_best must be 1 or more, got 0"),
        (3, {"max_pieces": 11}, "max_pieces must be between 1 and 10"),
        (2, {}, "2 machines for 3 pictures; give one for each"),
    ],
)
def test_searches_that_cannot_be_made_are_refused(
    n_machines: int, rules: dict[str, Any], message: str
) -> None:
    model = make_model(0)
    prefix = make_pictures(cast(OscarConfig, model.config)).prefix(model)
    with pytest.raises(ValueError, match=message):
        generate(model, prefix, [word_machine([])] * n_machines, **{"max_pieces": 4} | rules)
