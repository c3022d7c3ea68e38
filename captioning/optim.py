"""AdamW with decay groups, and a learning rate that is a function of the step alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
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


def make_optimizer(model: nn.Module, config: OptimConfig) -> torch.optim.AdamW:
    """AdamW over the trained parameters; one fused kernel where the device has it."""
    fused = next(model.parameters()).device.type in ("cpu", "cuda")
    return torch.optim.AdamW(
        parameter_groups(model, config.weight_decay),
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        eps=config.epsilon,
        fused=fused,
    )


def learning_rate_factor(config: OptimConfig, total_steps: int) -> Callable[[int], float]:
    """Factor of the learning rate in step 1, 2 ... ``total_steps``; 0 at the end, as in the original.

    The curves are those of ``transformers.get_scheduler``. A function of the step needs no state in a
    checkpoint.
    """
    unused = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    name = "constant_with_warmup" if config.schedule == "constant" else config.schedule
    warmup = round(config.warmup_share * total_steps)
    scheduler = get_scheduler(name, unused, num_warmup_steps=warmup, num_training_steps=total_steps)
    factor: Callable[[int], float] = scheduler.lr_lambdas[0]
    return factor


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Sets the rate of every group."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state as named tensors, ``parameter name/quantity``."""
    return {
        f"{name}/{quantity}": value.detach().cpu().clone()
        for name, parameter in model.named_parameters()
        for quantity, value in optimizer.state.get(parameter, {}).items()
    }


def load_optimizer_tensors(
    model: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]
) -> None:
    """Puts back what ``optimizer_tensors`` gave.

    Raises:
        ValueError: the tensors belong to other parameters.
    """
    parameters = dict(model.named_parameters())
    strangers = sorted({key.rpartition("/")[0] for key in tensors} - parameters.keys())
    if strangers:
        raise ValueError(f"optimizer state of unknown parameters: {', '.join(strangers[:10])}")
    for key, value in tensors.items():
        name, _, quantity = key.rpartition("/")
        parameter = parameters[name]
        device = (
            torch.device("cpu") if quantity == "step" and parameter.device.type == "cpu" else parameter.device
        )
        optimizer.state[parameter][quantity] = value.to(device).clone()
