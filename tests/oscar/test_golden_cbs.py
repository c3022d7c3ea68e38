"""Constrained beam search is the original's, on its recorded machines and captions.

Cases are read as in tests/oscar/test_golden.py: each folder of GOLDEN_DIR that holds a cbs.json.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from oscar.backbone import Prefix
from oscar.decoding import Hypothesis
from oscar.machines import StateMachine
from oscar.original_constrained import generate, original_machine
from tests.oscar.test_golden import GOLDEN, captioner, read_json
from tests.oscar.test_golden_generation import encode

CASES = sorted(path.parent.name for path in GOLDEN.glob("*/cbs.json"))


def read_table(path: Path) -> dict[str, list[str]]:
    """Lines "key<tab>value,value"."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return {key: values.split(",") for key, values in (line.split("\t") for line in lines if line)}


@cache
def constraint_sets(case: str) -> dict[str, dict[str, Any]]:
    """A recorded run of each constraint set."""
    return {run["constraint_set"]: run for run in read_json(GOLDEN / case / "cbs.json")["runs"]}


@cache
def machine(case: str, name: str) -> StateMachine:
    """A constraint is a phrase of words; a word is a sequence of tokens, each with forms of its own."""
    run = constraint_sets(case)[name]
    pieces = (GOLDEN / read_json(GOLDEN / case / "cbs.json")["model"] / "vocab.txt").read_text(
        encoding="utf-8"
    )
    ids = {piece: index for index, piece in enumerate(pieces.split("\n"))}
    tokens_of = read_table(GOLDEN / case / "constraint2tokens.tsv")
    forms_of = read_table(GOLDEN / case / "tokenforms.tsv")
    constraints = [
        [
            {ids[form] for form in forms_of.get(token, [token])}
            for word in phrase.split()
            for token in tokens_of[word]
        ]
        for phrase in run["constraints"]
    ]
    most = run["max_given_constraints"]
    with np.load(GOLDEN / case / "fsm.npz") as dense:
        n_states = len(dense[f"fsm_{name}"])
    return original_machine(constraints, most, max_pieces=n_states // 2**most)


@pytest.mark.parametrize("case", CASES)
def test_every_transition_is_the_originals(case: str) -> None:
    with np.load(GOLDEN / case / "fsm.npz") as dense:
        assert {f"fsm_{name}" for name in constraint_sets(case)} == set(dense)
        for name, run in constraint_sets(case).items():
            ours, theirs = machine(case, name), dense[f"fsm_{name}"]
            assert len(ours.states) == run["next_unused_substate"]
            assert ours.n_constraints == run["num_constraints"]
            expanded = np.zeros_like(theirs)
            for number, state in enumerate(ours.states):
                expanded[number, state.otherwise] = 1
                for piece, _ in state.moves:
                    expanded[number, :, piece] = 0
                for piece, to in state.moves:
                    expanded[number, to, piece] = 1
            np.testing.assert_array_equal(expanded, theirs, err_msg=name)


@cache
def prefix(case: str) -> Prefix:
    """Of the pictures of the case's model, in the original's order."""
    name = read_json(GOLDEN / case / "cbs.json")["model"]
    _, prefix = encode(name, read_json(GOLDEN / name / "gen_outputs.json")["base_params"])
    return prefix


def search(case: str, runs: Sequence[dict[str, Any]]) -> list[Hypothesis]:
    """Our captions of the pictures of some runs, in one batch; beams and least_met are those of the first."""
    name = read_json(GOLDEN / case / "cbs.json")["model"]
    return generate(
        captioner(name),
        prefix(case).select(torch.tensor([run["item"] for run in runs])),
        [machine(case, run["constraint_set"]) for run in runs],
        beam_width=runs[0]["num_beams"],
        max_pieces=len(runs[0]["sequences"][0][0]) - 1,
        least_met=runs[0]["min_constraints_to_satisfy"],
    )


def assert_recorded(case: str, run: dict[str, Any], found: Hypothesis) -> None:
    """It is the caption of a run, with its log-probability, as the original writes them down."""
    name = read_json(GOLDEN / case / "cbs.json")["model"]
    ((ids,),), ((log_prob,),) = run["sequences"], run["logprobs"]
    padding = [captioner(name).config.sep_token_id] * (len(ids) - len(found.piece_ids))
    assert [*found.piece_ids, *padding] == ids, run
    assert found.score == pytest.approx(log_prob, abs=1e-5), run


@pytest.mark.parametrize("case", CASES)
def test_every_caption_and_its_log_probability_are_the_originals(case: str) -> None:
    for run in read_json(GOLDEN / case / "cbs.json")["runs"]:
        (found,) = search(case, [run])
        assert_recorded(case, run, found)


@pytest.mark.parametrize("case", CASES)
def test_pictures_of_a_batch_get_what_they_get_alone_unlike_the_originals(case: str) -> None:
    alike: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for run in read_json(GOLDEN / case / "cbs.json")["runs"]:
        alike.setdefault((run["num_beams"], run["min_constraints_to_satisfy"]), []).append(run)
    for runs in alike.values():
        for run, found in zip(runs, search(case, runs), strict=True):
            assert_recorded(case, run, found)
