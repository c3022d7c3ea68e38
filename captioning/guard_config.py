"""Settings of the guard over a run's numbers: default, check, help text and record in one place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from captioning.ranges import at_least, positive

NotANumber = Literal["stop", "skip"]
Spike = Literal["stop", "warn", "off"]


@dataclass(frozen=True, kw_only=True)
class GuardConfig:
    """What happens when loss or gradient are no numbers, or the loss jumps up and stays there."""

    not_a_number: NotANumber = "stop"
    """Loss or gradient infinite or NaN: ``stop`` ends the run; ``skip`` leaves the step's update out. With
    fp16, infinite gradients are the loss scaler's business, unless they come 50 times in a row."""
    max_skipped: int = 10
    """Steps left out in a row after which ``skip`` stops too."""
    spike: Spike = "stop"
    """The loss stands far above its usual level for ``spike_steps`` steps: ``stop``, ``warn``, or ``off``."""
    window: int = 100
    """Steps whose median loss is the usual level; nothing is a spike before half of them were taken."""
    deviations: float = 10.0
    """Far above: by this many standard deviations, taken as 1.4826 median absolute deviations …"""
    rise: float = 0.5
    """… and by this share of the usual level, so that a change of data is no spike."""
    spike_steps: int = 10
    """Steps in a row that make a spike; single bad batches pass."""

    def __post_init__(self) -> None:
        at_least(self, "max_skipped", 1)
        at_least(self, "rise", 0)
        at_least(self, "spike_steps", 1)
        at_least(self, "window", 2)
        positive(self, "deviations")
