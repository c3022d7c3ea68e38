"""Which pictures each step reads: a function of (seed, step), whatever the processes and what came before.

The pictures of a run are one endless sequence. An epoch of it holds every picture of a data set of weight 1
once, in an order drawn for the epoch over all data sets together; steps cut it into batches, so all batches
are full and a stage with other batches goes on where the one before it stopped. (Mengzi sampled all examples
globally for the same reason: no stage shall weigh them otherwise, arXiv:2110.06696.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from captioning.config import StageConfig, TrainConfig
from captioning.examples import Stream, draws

DEFAULT_STEPS = 100
"""Of a run that was given no limit: a minute on the samples."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """A picture's turn: all draws for it are functions of the seed and these two."""

    epoch: int
    """The pass through its data set that the turn belongs to: no two turns of a picture have the same."""
    index: int
    """Of the picture, over all data sets."""


class Mixture:
    """The endless sequence of pictures of one or several data sets."""

    def __init__(self, sizes: Sequence[int], weights: Sequence[float], seed: int) -> None:
        """Takes pictures and weight of each data set.

        A data set of n pictures and weight w gives round(n * w) turns, at least 1, to an epoch, and goes
        through its pictures without repeating one before all had their turn.
        """
        self.sizes = tuple(sizes)
        self.turns = tuple(max(1, round(n * w)) for n, w in zip(sizes, weights, strict=True))
        self.seed = seed
        self._orders: dict[tuple[Stream, int, int], tuple[int, NDArray[np.int64]]] = {}
        self._first_turn = np.cumsum([0, *self.turns])
        self._first_index = np.cumsum([0, *self.sizes])

    def __len__(self) -> int:
        """Turns in an epoch."""
        return int(self._first_turn[-1])

    def items(self, start: int, stop: int) -> list[Item]:
        """The turns from ``start`` to ``stop`` of the sequence."""
        return [self._item(*divmod(number, len(self))) for number in range(start, stop)]

    def _item(self, epoch: int, place: int) -> Item:
        turn = int(self._order(Stream.ORDER, epoch, 0, len(self))[place])
        source = int(np.searchsorted(self._first_turn, turn, side="right")) - 1
        size, turns = self.sizes[source], self.turns[source]
        earlier, inside = divmod(epoch * turns + turn - int(self._first_turn[source]), size)
        if turns != size:  # an epoch is no whole pass: the pass has an order of its own
            inside = int(self._order(Stream.PASS, earlier, source, size)[inside])
        return Item(epoch=earlier, index=int(self._first_index[source]) + inside)

    def _order(self, stream: Stream, number: int, source: int, size: int) -> NDArray[np.int64]:
        """The order of an epoch, or of a pass through a data set; the last two of each are kept.

        Turns that follow each other come from no more.
        """
        key = (stream, source, number % 2)
        if key not in self._orders or self._orders[key][0] != number:
            self._orders[key] = number, draws(self.seed, stream, number, source).permutation(size)
        return self._orders[key][1]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stretch of a run with its own batches."""

    first_step: int
    first_turn: int
    """Place in the sequence of pictures."""
    batch_size: int
    lengths: StageConfig
    """What it changes."""


def stages_of(config: TrainConfig, total_steps: int | None) -> tuple[Stage, ...]:
    """The stages of a run, in order; one without a schedule.

    Args:
        config: the run.
        total_steps: all steps of the run; None if time ends it, which has one stage.
    """
    configs = config.stages or (StageConfig(share=1.0),)
    made, step, turn, share = [], 0, 0, 0.0
    for each in configs:
        batch_size = each.batch_size or config.batch_size
        made.append(Stage(first_step=step, first_turn=turn, batch_size=batch_size, lengths=each))
        share += each.share
        end = round(share * (total_steps or 0))
        turn += (end - step) * batch_size
        step = end
    return tuple(made)


def total_steps(config: TrainConfig, n_turns: int) -> int | None:
    """Steps after which a run ends; None if time alone ends it.

    Args:
        config: the run.
        n_turns: of an epoch.
    """
    if config.steps is None and config.epochs is None and config.max_seconds is None:
        return DEFAULT_STEPS
    limits = [] if config.steps is None else [config.steps]
    if config.epochs is not None:
        stages = config.stages or (StageConfig(share=1.0),)
        batch_size = sum(stage.share * (stage.batch_size or config.batch_size) for stage in stages)
        limits.append(max(1, int(np.ceil(config.epochs * n_turns / batch_size))))
    return min(limits, default=None)


class BatchPlan:
    """The pictures of every step, and each process's part of them."""

    def __init__(
        self,
        mixture: Mixture,
        stages: Sequence[Stage],
        *,
        window: int = 1,
        lengths: NDArray[np.int64] | None = None,
        parts: int = 1,
    ) -> None:
        """Plans the batches of a run.

        Args:
            mixture: the pictures.
            stages: in order.
            window: batches among which pictures are sorted by length.
            lengths: of each picture; needed where ``window`` exceeds 1.
            parts: into which a batch is divided, over all processes and their accumulation.

        Raises:
            ValueError: a batch is smaller than its parts.
        """
        smallest = min(stage.batch_size for stage in stages)
        if smallest < parts:
            raise ValueError(
                f"batch_size {smallest} cannot be divided among {parts} parts (processes times accumulate); "
                f"set batch_size to {parts} or more"
            )
        self.mixture, self.stages, self.window = mixture, tuple(stages), window
        self.lengths, self.n_parts = lengths, parts
        self._sorted: tuple[int, list[Item]] | None = None

    def stage(self, step: int) -> Stage:
        """The stage of a step, counted from 0."""
        return next(stage for stage in reversed(self.stages) if stage.first_step <= step)

    def epoch(self, step: int) -> float:
        """Epochs read before a step."""
        stage = self.stage(step)
        return (stage.first_turn + (step - stage.first_step) * stage.batch_size) / len(self.mixture)

    def steps_per_epoch(self, step: int) -> int:
        """Steps in which the batches of a step's stage have read an epoch."""
        return -(-len(self.mixture) // self.stage(step).batch_size)

    def items(self, step: int) -> list[Item]:
        """All turns of a step, over all parts."""
        stage = self.stage(step)
        size, into = stage.batch_size, step - stage.first_step
        if self.window == 1:
            start = stage.first_turn + into * size
            return self.mixture.items(start, start + size)
        window, place = divmod(into, self.window)
        items = self._window(stage.first_turn + window * self.window * size, self.window * size)
        order = draws(self.mixture.seed, Stream.WINDOW, window, stage.first_step).permutation(self.window)
        return items[order[place] * size : (order[place] + 1) * size]

    def part(self, step: int, part: int) -> list[Item]:
        """The turns of one part. Neighbours in a sorted window go to different parts: all take as long."""
        return self.items(step)[part :: self.n_parts]

    def _window(self, start: int, size: int) -> list[Item]:
        """A stretch of the sequence, sorted by length; the last one asked for is kept."""
        if self._sorted is None or self._sorted[0] != start:
            assert self.lengths is not None  # noqa: S101  (given with a window)
            lengths = self.lengths
            items = self.mixture.items(start, start + size)
            self._sorted = start, sorted(items, key=lambda item: int(lengths[item.index]))
        return self._sorted[1]
