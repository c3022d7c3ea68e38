from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from captioning.config import OptimConfig, Optimizer
from captioning.optim import (
    OriginalAdamW,
    WeightAverage,
    learning_rate_factor,
    load_optimizer_tensors,
    make_optimizer,
    optimizer_tensors,
    parameter_groups,
)


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(3, 2)
        self.LayerNorm = nn.LayerNorm(2)
        self.frozen = nn.Linear(2, 2)
        self.frozen.requires_grad_(False)


def test_biases_and_layer_norms_do_not_decay_and_frozen_weights_are_left_out() -> None:
    model = Small()
    decaying, plain = parameter_groups(model, 0.05)
    assert decaying["weight_decay"] == 0.05
    assert plain["weight_decay"] == 0
    assert [id(p) for p in decaying["params"]] == [id(model.dense.weight)]  # type: ignore[attr-defined]
    assert {id(p) for p in plain["params"]} == {  # type: ignore[attr-defined]
        id(model.dense.bias),
        id(model.LayerNorm.weight),
        id(model.LayerNorm.bias),
    }


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        ("linear", [0, 0.5, 1, 0.75, 0.5, 0.25, 0]),
        ("constant", [0, 0.5, 1, 1, 1, 1, 1]),
        ("cosine", [0, 0.5, 1, 0.5 + 0.5**1.5, 0.5, 0.5 - 0.5**1.5, 0]),
    ],
)
def test_the_learning_rate_rises_and_falls_as_set_and_the_originals_is_a_step_ahead(
    schedule: str, factors: list[float]
) -> None:
    config = OptimConfig(schedule=schedule, warmup_share=1 / 3)  # type: ignore[arg-type]
    factor = learning_rate_factor(config, 6)
    assert [factor(step) for step in range(1, 7)] == pytest.approx(factors[:-1])
    factor = learning_rate_factor(replace(config, kind="adamw_original"), 6)
    assert [factor(step) for step in range(1, 7)] == pytest.approx(factors[1:])


def test_the_original_decays_after_the_update_and_adds_epsilon_before_the_correction() -> None:
    weight = nn.Parameter(torch.tensor([[2.0]]))
    weight.grad = torch.tensor([[0.5]])
    optimizer = OriginalAdamW(
        [{"params": [weight], "weight_decay": 0.1}], lr=0.1, betas=(0.9, 0.99), eps=0.05
    )
    optimizer.step()
    # means 0.05 and 0.0025; the root is 0.05; corrections 0.1 and sqrt(0.01) cancel
    assert weight.item() == pytest.approx((2 - 0.1 * 0.05 / (0.05 + 0.05)) * (1 - 0.1 * 0.1))


def test_lamb_scales_a_matrix_by_its_trust_ratio_and_leaves_the_clipping_to_the_trainer() -> None:
    # arXiv:1904.00962, algorithm 2, with Adam's corrections: after one step mean and root cancel to the sign
    torch.manual_seed(0)
    model = Small()
    matrix, bias = model.dense.weight.detach().clone(), model.dense.bias.detach().clone()
    optimizer = make_optimizer(model, OptimConfig(kind="lamb", learning_rate=0.1, weight_decay=0.02))
    for parameter in (model.dense.weight, model.dense.bias):
        parameter.grad = torch.full_like(parameter, -30.0)
    optimizer.step()
    update = 0.02 * matrix - 1
    moved = matrix - 0.1 * matrix.norm() / update.norm() * update
    torch.testing.assert_close(model.dense.weight.detach(), moved)
    torch.testing.assert_close(model.dense.bias.detach(), bias + 0.1)  # what does not decay takes plain steps


def test_the_average_follows_the_weights_and_stands_in_for_them() -> None:
    model = Small()
    with torch.no_grad():
        model.dense.weight.fill_(1.0)
    average = WeightAverage(model, decay=0.9)
    wanted = 1.0
    for n_updates, value in enumerate((2.0, 4.0, 8.0)):
        with torch.no_grad():
            model.dense.weight.fill_(value)
        average.update(model, n_updates)
        decay = min(0.9, (1 + n_updates) / (10 + n_updates))
        wanted = decay * wanted + (1 - decay) * value
    with average.in_place(model):
        assert model.dense.weight.detach() == pytest.approx(torch.full((2, 3), wanted))
    assert model.dense.weight.detach() == pytest.approx(torch.full((2, 3), 8.0))
    assert average.weights.keys() == {"dense.weight", "dense.bias", "LayerNorm.weight", "LayerNorm.bias"}


@pytest.mark.parametrize("kind", ["adamw", "adamw_original", "lamb"])
def test_an_optimizer_put_back_takes_the_same_steps(kind: Optimizer) -> None:
    torch.manual_seed(0)
    model = Small()
    config = OptimConfig(kind=kind)
    optimizer = make_optimizer(model, config)

    def step() -> None:
        model.LayerNorm(model.dense(torch.ones(4, 3))).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    step()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    saved = optimizer_tensors(model, optimizer)
    step()
    wanted = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(weights)
    optimizer = make_optimizer(model, config)
    load_optimizer_tensors(model, optimizer, saved)
    step()
    assert all(torch.equal(value, wanted[name]) for name, value in model.state_dict().items())


def test_the_state_of_another_model_is_refused() -> None:
    model = Small()
    with pytest.raises(ValueError, match="unknown parameters: other"):
        load_optimizer_tensors(model, make_optimizer(model, OptimConfig()), {"other/exp_avg": torch.zeros(1)})
