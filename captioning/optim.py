"""Optimizers with decay groups, an average of the weights, a learning rate that is a function of the step.

AdamW and learning rate come in two forms: torch's, and that of the original Oscar (``adamw_original``). What
is kept of each parameter may be sharded among processes (FSDP2): it is gathered to be saved, and shared out
again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from timm.optim.lamb import Lamb
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import get_scheduler

from captioning.config import OptimConfig

TIME_STEPS = 100_000
"""Steps into which a run limited by time divides its learning rate."""


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Trained parameters in two groups: matrices decay, biases and LayerNorms (one dimension) do not."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]


def make_optimizer(model: nn.Module, config: OptimConfig) -> torch.optim.Optimizer:
    """The optimizer over the trained parameters; torch's AdamW in one kernel where the device has it."""
    groups = parameter_groups(model, config.weight_decay)
    settings: dict[str, Any] = {
        "lr": config.learning_rate,
        "betas": (config.beta1, config.beta2),
        "eps": config.epsilon,
    }
    if config.kind == "adamw_original":
        return OriginalAdamW(groups, **settings)
    if config.kind == "lamb":
        # The trainer clips the gradient as for every optimizer, so LAMB does not once more.
        return Lamb(groups, **settings, max_grad_norm=None)
    fused = next(model.parameters()).device.type in ("cpu", "cuda")
    return torch.optim.AdamW(groups, **settings, fused=fused)


class OriginalAdamW(torch.optim.Optimizer):
    """AdamW of pytorch-transformers 1.1.0, with which the original Oscar was trained.

    It differs from torch's in two places: epsilon is added to the root before its bias is corrected, so it
    weighs more in the first steps; and the weights decay after the update, not before it.
    """

    def __init__(
        self, groups: list[dict[str, object]], lr: float, betas: tuple[float, float], eps: float
    ) -> None:
        """Takes groups as of ``parameter_groups``, each with its ``weight_decay``."""
        super().__init__(groups, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # no closure is ever given
        """Updates every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)

    def _update(self, parameter: Tensor, gradient: Tensor, group: Mapping[str, Any]) -> None:
        state, rate, (beta1, beta2) = self.state[parameter], group["lr"], group["betas"]
        if not state:
            state["step"] = torch.zeros(())  # on the CPU: its value is needed there
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        state["step"] += 1
        state["exp_avg"].mul_(beta1).add_(gradient, alpha=1 - beta1)
        state["exp_avg_sq"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        n_steps = state["step"].item()
        correction = math.sqrt(1 - beta2**n_steps) / (1 - beta1**n_steps)
        denominator = state["exp_avg_sq"].sqrt().add_(group["eps"])
        parameter.addcdiv_(state["exp_avg"], denominator, value=-rate * correction)
        parameter.mul_(1 - rate * group["weight_decay"])


def learning_rate_factor(config: OptimConfig, total_steps: int) -> Callable[[int], float]:
    """Factor of the learning rate in step 1, 2 ... ``total_steps``.

    The curves are those of ``transformers.get_scheduler``. In torch's order, the optimizer's step and then
    the scheduler's, a warm-up begins at 0. The original steps the scheduler first and so is one step ahead:
    it begins above 0, and its last step is taken at 0. A function of the step needs no state in a checkpoint.
    """
    unused = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    name = "constant_with_warmup" if config.schedule == "constant" else config.schedule
    warmup = round(config.warmup_share * total_steps)
    scheduler = get_scheduler(name, unused, num_warmup_steps=warmup, num_training_steps=total_steps)
    curve: Callable[[int], float] = scheduler.lr_lambdas[0]
    ahead = 0 if config.kind == "adamw_original" else 1
    return lambda step: curve(step - ahead)


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Sets the rate of every group."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate


class WeightAverage:
    """An exponential moving average of the trained weights (Polyak and Juditsky, 1992).

    Its decay is min(decay, (1 + n) / (10 + n)) after n updates, so that the initial weights are soon
    forgotten, as in TensorFlow's ExponentialMovingAverage.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        """Starts at the present weights."""
        self.decay = decay
        self.weights = {
            name: parameter.detach().clone()
            for name, parameter in model.named_parameters()
            if parameter.requires_grad
        }

    @torch.no_grad()
    def update(self, model: nn.Module, n_updates: int) -> None:
        """Moves towards the present weights, after so many earlier updates."""
        weight = 1 - min(self.decay, (1 + n_updates) / (10 + n_updates))
        parameters = dict(model.named_parameters())
        for name, average in self.weights.items():
            average.lerp_(parameters[name], weight)

    @contextmanager
    def in_place(self, model: nn.Module) -> Iterator[None]:
        """The model has the averaged weights inside the block, its own again behind it."""
        self._exchange(model)
        try:
            yield
        finally:
            self._exchange(model)

    @torch.no_grad()
    def _exchange(self, model: nn.Module) -> None:
        parameters = dict(model.named_parameters())
        for name, average in self.weights.items():
            present = parameters[name].clone()
            parameters[name].copy_(average)
            average.copy_(present)


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state as named tensors, ``parameter name/quantity``; every process must ask for it.

    Steps that are counted by group are called ``group n/step``.
    """
    tensors = {
        f"{name}/{quantity}": whole(value)
        for name, parameter in model.named_parameters()
        for quantity, value in optimizer.state.get(parameter, {}).items()
    }
    steps = {f"{_GROUP}{i}": group.get("step") for i, group in enumerate(optimizer.param_groups)}
    return tensors | {f"{name}/step": whole(step) for name, step in steps.items() if step is not None}


_GROUP = "group "


def load_optimizer_tensors(
    model: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]
) -> None:
    """Puts back what ``optimizer_tensors`` gave.

    Raises:
        ValueError: the tensors belong to other parameters.
    """
    parameters = dict(model.named_parameters())
    groups = {f"{_GROUP}{i}": group for i, group in enumerate(optimizer.param_groups)}
    strangers = sorted({key.rpartition("/")[0] for key in tensors} - parameters.keys() - groups.keys())
    if strangers:
        raise ValueError(f"optimizer state of unknown parameters: {', '.join(strangers[:10])}")
    for key, value in tensors.items():
        name, _, quantity = key.rpartition("/")
        if name in groups:
            groups[name]["step"] = value.clone()
        elif quantity == "step" and not optimizer.defaults.get("fused"):
            optimizer.state[parameters[name]]["step"] = value.clone()
        else:
            optimizer.state[parameters[name]][quantity] = placed_as(value, parameters[name])


def whole(tensor: Tensor) -> Tensor:
    """A copy on the CPU, gathered from all processes where they share it; then each must ask for it."""
    if isinstance(tensor, DTensor):
        tensor = tensor.full_tensor()
    return tensor.detach().to("cpu", copy=True)


def placed_as(value: Tensor, like: Tensor) -> Tensor:
    """A copy where another tensor is: on its device, shared among processes as it is (scalars never are)."""
    if isinstance(like, DTensor) and value.ndim:
        return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)
    return value.to(like.device).clone()
