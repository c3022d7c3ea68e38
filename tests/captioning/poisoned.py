"""Losses that go wrong at chosen steps."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import Tensor

import captioning.steps


def poison(monkeypatch: pytest.MonkeyPatch, factor: Callable[[int], float]) -> None:
    """The loss of a step of words, and with it the gradient, is multiplied; steps are counted from 1."""
    real = captioning.steps._word_loss

    def poisoned(logits: Tensor, targets: Tensor, config: object, step: int) -> Tensor:
        return real(logits, targets, config, step) * factor(step + 1)  # type: ignore[arg-type]

    monkeypatch.setattr(captioning.steps, "_word_loss", poisoned)
