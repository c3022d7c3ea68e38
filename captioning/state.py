"""What a run is made of between two steps besides weights: counters and optimizer, saved and restored."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import torch
from safetensors.torch import load_model
from torch import nn

from captioning.checkpoints import MODEL, TrainingState
from captioning.optim import load_optimizer_tensors, optimizer_tensors
from captioning.runs import Resume


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
    counters: Counters, model: nn.Module, optimizer: torch.optim.Optimizer, others: dict[str, Any]
) -> TrainingState:
    """A state to write beside the weights."""
    values = {"counters": dataclasses.asdict(counters), "threads": torch.get_num_threads(), **others}
    return TrainingState(tensors=optimizer_tensors(model, optimizer), values=values)


def restore(resume: Resume, model: nn.Module, optimizer: torch.optim.Optimizer) -> Counters:
    """Puts weights and optimizer back as they were, and says how far the run was."""
    load_model(model, resume.folder / MODEL, strict=True)
    load_optimizer_tensors(model, optimizer, resume.state.tensors)
    return Counters(**resume.state.values["counters"])
