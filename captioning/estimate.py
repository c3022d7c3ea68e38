"""What a training run would take, and how that is told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from captioning.checkpoint_room import CheckpointRoom
from captioning.console import clock


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes of one process, on the device that computes."""

    weights: int
    gradients: int
    optimizer: int
    average: int
    """Of the averaged weights, where there are some."""
    activations: int | None
    """Of the largest part of a step, at the moment when all together is most; None where the device does not
    tell."""
    there: int
    """The device has."""

    @property
    def together(self) -> int | None:
        """The most that tensors take at once."""
        if self.activations is None:
            return None
        return self.weights + self.gradients + self.optimizer + self.average + self.activations


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a run would take."""

    data: tuple[str, ...]
    """Lines on pictures and captions."""
    parameters: int
    trained: int
    steps_per_epoch: int
    steps_taken: int
    total_steps: int | None
    """None where time alone ends the run."""
    validations: int
    checkpoints: int
    memory: Memory
    looked_at: int
    """Steps among which the largest was sought."""
    room: CheckpointRoom
    step_seconds: float
    whole_steps: bool
    """Whether whole steps were timed, or small ones from which the time was reckoned."""
    load_seconds: float
    """To read and pad a batch, in one process."""
    seconds: float
    """Of the steps that are left, without validations and checkpoints."""

    def lines(self) -> Iterator[str]:
        """For the user."""
        yield from self.data
        yield f"model: {self.parameters / 1e6:.1f} M parameters, {self.trained / 1e6:.1f} M of them trained"
        taken = f", {self.steps_taken:,} taken" if self.steps_taken else ""
        total = "until the time is up" if self.total_steps is None else f"{self.total_steps:,} steps"
        yield (
            f"run: {self.steps_per_epoch:,} steps an epoch, {total}{taken}; "
            f"{self.validations:,} validations and {self.checkpoints:,} checkpoints to come"
        )
        yield from self._memory_lines()
        room, short = self.room, ""
        if room.present + room.free < room.at_most:
            short = ": TOO LITTLE, lower keep_last or name another out"
        present = f" and {_size(room.present)} that checkpoints have" if room.present else ""
        yield (
            f"disk: {_size(room.checkpoint)} a checkpoint, {_size(room.at_most)} at most, of "
            f"{_size(room.free)} free{present}{short}"
        )
        how = "measured" if self.whole_steps else "reckoned from smaller batches"
        yield (
            f"time: {self.step_seconds:.3g} s a step ({how}), {self.load_seconds:.2g} s to load a batch: "
            f"about {clock(self.seconds)}, without validations and checkpoints"
        )

    def _memory_lines(self) -> Iterator[str]:
        memory = self.memory
        named = {"weights": memory.weights, "gradients": memory.gradients, "optimizer": memory.optimizer}
        named |= {"average": memory.average} if memory.average else {}
        parts = ", ".join(f"{name} {_size(size)}" for name, size in named.items())
        if memory.activations is None or memory.together is None:
            yield f"memory: {parts}; this device does not tell what activations take"
            return
        yield (
            f"memory: {parts}, activations {_size(memory.activations)} (largest of {self.looked_at} steps)"
        )
        short = "" if memory.together <= memory.there else ": TOO LITTLE, lower batch_size"
        yield f"memory together: about {_size(memory.together)} of {_size(memory.there)}{short}"


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.2f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.1f} MB"
