"""What a run is made of between two steps besides weights: counters and optimizer, saved and restored."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from captioning.checkpoints import TrainingState
from captioning.optim import WeightAverage, load_optimizer_tensors, optimizer_tensors, placed_as, whole
from captioning.runs import Resume

TRAINED = "trained"
"""Quantity of a parameter: its own value, where the folder's weights are the average."""


@dataclass
class Counters:
    """How far a run is."""

    step: int = 0
    """Optimizer steps taken."""
    seconds: float = 0.0
    """Spent in training steps."""
    validated_step: int = 0
    """Step of the last validation."""
    scores: dict[str, float] = field(default_factory=dict)
    """Of the last validation."""
    best: float | None = None
    best_step: int | None = None
    stale: int = 0
    """Validations since the best one."""

    def count_validation(self, main: float, scores: dict[str, float]) -> bool:
        """Notes a validation of the present step; whether it is the best so far."""
        better = self.best is None or main > self.best
        if better:
            self.best, self.best_step = main, self.step
        self.stale = 0 if better else self.stale + 1
        self.validated_step, self.scores = self.step, dict(scores)
        return better


def capture(
    counters: Counters,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: WeightAverage | None,
    others: dict[str, Any],
) -> TrainingState:
    """A state to write beside the weights, or beside their average, where there is one.

    Every process must call it, the model having its own weights.
    """
    values = {"counters": dataclasses.asdict(counters), "threads": torch.get_num_threads(), **others}
    tensors = optimizer_tensors(model, optimizer)
    if average is not None:
        parameters = dict(model.named_parameters())
        tensors |= {f"{name}/{TRAINED}": whole(parameters[name]) for name in average.weights}
    return TrainingState(tensors=tensors, values=values)


def restore(
    resume: Resume, model: nn.Module, optimizer: torch.optim.Optimizer, average: WeightAverage | None
) -> Counters:
    """Puts optimizer and, where they were averaged, weights back as they were; says how far the run was.

    Args:
        resume: the checkpoint.
        model: with the weights of the checkpoint's folder: the trained ones, or their average.
        optimizer: of the model.
        average: started from the model as it is here.
    """
    own = {key: value for key, value in resume.state.tensors.items() if key.endswith(f"/{TRAINED}")}
    load_optimizer_tensors(
        model, optimizer, {key: value for key, value in resume.state.tensors.items() if key not in own}
    )
    if average is not None:
        parameters = dict(model.named_parameters())
        with torch.no_grad():
            for key, value in own.items():
                parameter = parameters[key.removesuffix(f"/{TRAINED}")]
                parameter.copy_(placed_as(value, parameter))
    return Counters(**resume.state.values["counters"])
