from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import captioning.schedule
from captioning.config import StageConfig
from captioning.examples import draws
from captioning.schedule import BatchPlan, Item, Mixture, Stage, stages_of, total_steps
from tests.captioning.small_run import small_config

EVERYWHERE = StageConfig(share=1.0)


def stage(batch_size: int, first_step: int = 0, first_turn: int = 0) -> Stage:
    return Stage(first_step=first_step, first_turn=first_turn, batch_size=batch_size, lengths=EVERYWHERE)


def plan(n_pictures: int, batch_size: int, *, seed: int = 1, parts: int = 1) -> BatchPlan:
    return BatchPlan(Mixture([n_pictures], [1.0], seed), [stage(batch_size)], parts=parts)


def test_every_picture_comes_once_an_epoch_in_a_fresh_order() -> None:
    items = [item for step in range(14) for item in plan(7, 3).items(step)]
    epochs = [items[start : start + 7] for start in range(0, 42, 7)]
    for number, epoch in enumerate(epochs):
        assert sorted(item.index for item in epoch) == list(range(7))
        assert {item.epoch for item in epoch} == {number}
    assert len({tuple(item.index for item in epoch) for epoch in epochs}) == 6


@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    weights=st.lists(st.sampled_from([0.3, 0.5, 1.0, 1.4, 2.0, 3.0]), min_size=4, max_size=4),
    seed=st.integers(0, 5),
)
def test_no_picture_of_a_data_set_has_two_turns_more_than_another(
    sizes: list[int], weights: list[float], seed: int
) -> None:
    mixture = Mixture(sizes, weights[: len(sizes)], seed)
    passes: dict[int, list[int]] = {index: [] for index in range(sum(sizes))}
    for item in mixture.items(0, 5 * len(mixture)):
        passes[item.index].append(item.epoch)
    first = 0
    for size, weight in zip(sizes, weights, strict=False):
        turns = [len(passes[index]) for index in range(first, first + size)]
        assert max(turns) - min(turns) <= 1
        assert sum(turns) == 5 * max(1, round(size * weight))
        first += size
    assert all(sorted(seen) == list(range(len(seen))) for seen in passes.values()), "every turn is another"


def test_any_stretch_of_a_mixture_holds_its_data_sets_in_proportion() -> None:
    mixture = Mixture([3000, 1000], [1.0, 2.0], seed=3)
    share = [
        sum(item.index >= 3000 for item in mixture.items(s, s + 1000)) / 1000 for s in range(0, 15000, 1000)
    ]
    assert share == pytest.approx([0.4] * 15, abs=0.05)


def test_every_order_of_a_mixture_is_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = Counter[tuple[object, ...]]()

    def counting(*of: object) -> np.random.Generator:
        drawn[of] += 1
        return draws(*of)  # type: ignore[arg-type]

    monkeypatch.setattr(captioning.schedule, "draws", counting)
    mixture = Mixture([20] * 5, [0.7] * 5, seed=3)
    for start in range(0, 4 * len(mixture), 5):
        mixture.items(start, start + 5)
    assert set(drawn.values()) == {1}


def test_steps_depend_on_nothing_that_was_asked_before() -> None:
    mixture = Mixture([50, 20], [1.0, 0.5], seed=1)
    lengths = np.arange(70) % 11

    def made() -> BatchPlan:
        return BatchPlan(mixture, [stage(4), stage(8, 10, 40)], window=3, lengths=lengths)

    forwards = [made().items(step) for step in range(40)]
    one = made()
    assert [one.items(step) for step in reversed(range(40))] == forwards[::-1]


def test_parts_share_a_step_without_overlap() -> None:
    whole = plan(10, 5).items(1)
    shared = plan(10, 5, parts=2)
    assert sorted(shared.part(1, 0) + shared.part(1, 1), key=lambda item: item.index) == sorted(
        whole, key=lambda item: item.index
    )


def test_a_batch_too_small_for_its_parts_is_refused() -> None:
    with pytest.raises(ValueError, match="batch_size 3 cannot be divided among 4 parts"):
        plan(10, 3, parts=4)


@given(window=st.integers(1, 5), batch_size=st.integers(1, 6), seed=st.integers(0, 3))
def test_windows_of_like_length_keep_the_pictures_of_their_steps(
    window: int, batch_size: int, seed: int
) -> None:
    mixture = Mixture([23], [1.0], seed)
    lengths = np.random.default_rng(seed).integers(3, 40, 23)
    sorted_plan = BatchPlan(mixture, [stage(batch_size)], window=window, lengths=lengths)
    plain_plan = BatchPlan(mixture, [stage(batch_size)])
    for first in range(0, 4 * window, window):
        steps = range(first, first + window)

        def together(made: BatchPlan, steps: range = steps) -> Counter[Item]:
            return Counter(item for step in steps for item in made.items(step))

        assert together(sorted_plan) == together(plain_plan)
        spans = sorted(
            (min(ls), max(ls))
            for ls in ([int(lengths[i.index]) for i in sorted_plan.items(s)] for s in steps)
        )
        assert all(before[1] <= after[0] for before, after in zip(spans, spans[1:], strict=False))


def test_a_stage_goes_on_in_the_sequence_where_the_one_before_it_stopped(tmp_path: Path) -> None:
    stages = (StageConfig(share=0.75), StageConfig(share=0.25, batch_size=6))
    config = replace(small_config(tmp_path, steps=8), stages=stages)
    made = stages_of(config, 8)
    assert [(each.first_step, each.first_turn, each.batch_size) for each in made] == [(0, 0, 2), (6, 12, 6)]
    mixture = Mixture([100], [1.0], 1)
    read = BatchPlan(mixture, made)
    assert [item for step in range(8) for item in read.items(step)] == mixture.items(0, 24)
    assert read.epoch(7) == pytest.approx(18 / 100)


def test_epochs_become_steps_by_the_batches_of_the_stages(tmp_path: Path) -> None:
    stages = (StageConfig(share=0.75), StageConfig(share=0.25, batch_size=6))
    config = replace(small_config(tmp_path), steps=None, epochs=2.0, stages=stages)
    steps = total_steps(config, 300)
    assert steps == 200  # three of 2 and one of 6 make 3 a step
    assert BatchPlan(Mixture([300], [1.0], 1), stages_of(config, steps)).epoch(200) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stages": (StageConfig(share=0.5),)}, "their shares must add up to 1, got 0.5"),
        (
            {"stages": (StageConfig(share=1.0, max_tag_pieces=7),)},
            "max_tag_pieces of stage 1 must be 6 or less, the limit of the whole run, got 7",
        ),
        ({"stages": (EVERYWHERE,), "max_seconds": 5.0}, "give steps or epochs, not max_seconds"),
    ],
)
def test_wrong_stages_are_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(small_config(tmp_path), **changes)  # type: ignore[arg-type]
