"""The guard over a run's numbers: a loss that is no number, a gradient that is none, a loss that jumped.

A spike is told from noise by median and median absolute deviation, which a few wild steps do not move
(Hampel's identifier). The guard reads what all processes agree on and remembers nothing but what ``state``
gives, so a run that was killed and goes on is judged as one that never stopped.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

from captioning.guard_config import GuardConfig
from captioning.run_folder import checkpoints, steps_taken

MAD_TO_DEVIATION = 1.4826
"""Standard deviations in a median absolute deviation of normal noise."""
MOST_OVERFLOWS = 50
"""Infinite fp16 gradients in a row that are no search for a scale any more: halved so often, 2**16 is 0."""
_NAMED = 10
"""Pictures named in a message; the event in the log has all."""

Kind = Literal["loss", "gradient", "spike"]
Action = Literal["stop", "skip", "warn"]


class TrainingError(RuntimeError):
    """Training cannot go on; the message names the step and what is left of the run."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What is wrong with a step, and what is done about it."""

    kind: Kind
    action: Action
    step: int
    """The step with it, counted from 1."""
    since: int
    """The first step of it; weights of a checkpoint before are good."""
    values: Mapping[str, float]
    """Numbers of the step, and of a spike the usual level and the limit."""
    image_ids: tuple[str, ...]
    """Pictures of the steps from ``since`` on, as far as this process took them."""
    what: str
    """The sentence that says it."""


class Guard:
    """Judges every step before its update."""

    def __init__(self, config: GuardConfig, out: Path, tell: Callable[[Fault, str], None] | None) -> None:
        """Starts with an empty past.

        Args:
            config: when to do what.
            out: folder of the run, with its checkpoints.
            tell: is handed every fault and the message about it; None in all processes but the first.
        """
        self._config, self._out, self._tell = config, out, tell
        self._losses: deque[float] = deque(maxlen=config.window)
        self._above = self._skipped = self._overflows = 0
        self._pictures: list[str] = []

    def state(self) -> dict[str, Any]:
        """The past, in values that JSON gives back to the bit."""
        return {
            "losses": list(self._losses),
            "above": self._above,
            "skipped": self._skipped,
            "overflows": self._overflows,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Takes the past of ``state``."""
        self._losses = deque(state["losses"], maxlen=self._config.window)
        self._above, self._skipped = state["above"], state["skipped"]
        self._overflows = state["overflows"]

    def forget_level(self) -> None:
        """What comes is another loss: a stage with other data begins."""
        self._losses.clear()
        self._above = 0

    def skips(
        self,
        *,
        step: int,
        loss: float,
        grad_norm: float,
        image_ids: Callable[[], Sequence[str]],
        scaled: bool = False,
    ) -> bool:
        """Judges a step whose gradients are there and whose update is not.

        Args:
            step: counted from 1.
            loss: mean over all processes, so that all judge alike.
            grad_norm: of all gradients, before they are clipped.
            image_ids: tells the pictures of the step.
            scaled: whether an fp16 scaler answers infinite gradients by itself.

        Returns:
            Whether the update is to be left out.

        Raises:
            TrainingError: the run must end; the message names step, values, pictures and the last good
                checkpoint.
        """
        fault = self._judge(step, loss, grad_norm, image_ids, scaled)
        if fault is None:
            return False
        message = self._message(fault)
        if self._tell is not None:
            self._tell(fault, message)
        if fault.action == "stop":
            raise TrainingError(message)
        return fault.action == "skip"

    def _judge(
        self, step: int, loss: float, grad_norm: float, image_ids: Callable[[], Sequence[str]], scaled: bool
    ) -> Fault | None:
        overflow = not math.isfinite(grad_norm)
        self._overflows = self._overflows + 1 if overflow and scaled else 0
        expected = scaled and self._overflows < MOST_OVERFLOWS
        if not math.isfinite(loss) or (overflow and not expected):
            return self._no_number(step, loss, grad_norm, image_ids())
        self._skipped = 0
        return self._spike(step, loss, grad_norm, image_ids)

    def _no_number(self, step: int, loss: float, grad_norm: float, image_ids: Sequence[str]) -> Fault:
        self._skipped += 1
        spared = self._config.not_a_number == "skip" and self._skipped <= self._config.max_skipped
        broken: Kind = "gradient" if math.isfinite(loss) else "loss"
        what = f"the loss is {loss}" if broken == "loss" else f"the gradient norm is {grad_norm}"
        if self._overflows >= MOST_OVERFLOWS:
            what += f", for {self._overflows} steps and at any scale of fp16"
        elif self._skipped > 1:
            what += f", {self._skipped} steps in a row"
        return Fault(
            kind=broken,
            action="skip" if spared else "stop",
            step=step,
            since=step - max(self._skipped, self._overflows) + 1,
            values={"loss": loss, "grad_norm": grad_norm},
            image_ids=tuple(image_ids),
            what=what,
        )

    def _spike(
        self, step: int, loss: float, grad_norm: float, image_ids: Callable[[], Sequence[str]]
    ) -> Fault | None:
        config, level, limit = self._config, *self._usual()
        usual = config.spike == "off" or loss <= limit
        if usual or self._above >= config.spike_steps:  # what was warned of becomes the usual level
            self._losses.append(loss)
        if usual:
            self._above, self._pictures = 0, []
            return None
        self._above += 1
        if self._above > config.spike_steps:  # a warning is given once
            return None
        self._pictures += image_ids()
        if self._above < config.spike_steps:
            return None
        return Fault(
            kind="spike",
            action="stop" if config.spike == "stop" else "warn",
            step=step,
            since=step - self._above + 1,
            values={"loss": loss, "grad_norm": grad_norm, "level": level, "limit": limit},
            image_ids=tuple(dict.fromkeys(self._pictures)),
            what=(
                f"the loss has been above {limit:.4g} for {self._above} steps and is {loss:.4g}; "
                f"the median of the steps before is {level:.4g}"
            ),
        )

    def _usual(self) -> tuple[float, float]:
        """Median of the losses that are remembered, and the loss that is far above it."""
        if len(self._losses) < self._config.window / 2:
            return math.nan, math.inf
        level = median(self._losses)
        deviation = MAD_TO_DEVIATION * median(abs(loss - level) for loss in self._losses)
        return level, level + max(self._config.deviations * deviation, self._config.rise * abs(level))

    def _message(self, fault: Fault) -> str:
        named = ", ".join(fault.image_ids[:_NAMED])
        more = len(fault.image_ids) - _NAMED
        pictures = f"{named} and {more} more" if more > 0 else named
        said = f"step {fault.step}: {fault.what} (pictures {pictures})."
        if fault.action == "skip":
            return f"{said} Its update is left out."
        good = self._last_good(fault)
        left = good or "none is left from before"
        if fault.action == "warn":
            return f"{said} Last checkpoint from before: {left}."
        if fault.kind == "spike":
            start = f"from it (--init {good}, another --out)" if good else "anew"
            cure = f"Start {start} with a lower optim.learning_rate, or go on regardless: --guard.spike warn."
        else:
            cure = (
                "Lower optim.learning_rate, look at these pictures' features, or leave such steps out: "
                "--guard.not_a_number skip."
            )
        return f"{said} Last good checkpoint: {left}. {cure}"

    def _last_good(self, fault: Fault) -> Path | None:
        """The newest checkpoint that no step since the fault's first has touched."""
        return next((folder for folder in checkpoints(self._out) if steps_taken(folder) < fault.since), None)
