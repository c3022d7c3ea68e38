"""What happened since the last line of progress, as means and rates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from captioning.batch_contents import BatchContents


@dataclass
class Recent:
    """Sums since the last line of progress."""

    steps: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    captions: int = 0
    pieces: int = 0
    filled: int = 0
    positions: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(
        self, seconds: float, waited: float, contents: BatchContents, values: Mapping[str, float]
    ) -> None:
        """Counts one step.

        Args:
            seconds: the step took.
            waited: of these, for data.
            contents: of the batch.
            values: losses and the like; what is infinite or no number is left out of its mean.
        """
        self.steps += 1
        self.seconds += seconds
        self.waited += waited
        self.captions += contents.captions
        self.pieces += contents.pieces
        self.filled += contents.filled
        self.positions += contents.positions
        for name, value in values.items():
            if math.isfinite(value):
                self.sums[name] = self.sums.get(name, 0.0) + value
                self.counts[name] = self.counts.get(name, 0) + 1

    def means(self, processes: int = 1) -> dict[str, float]:
        """Means of the values, captions and pieces a second, shares of waiting and of padding.

        Args:
            processes: that share the steps evenly, each with a record like this.
        """
        return {
            **{name: total / self.counts[name] for name, total in self.sums.items()},
            "captions_per_second": processes * self.captions / self.seconds,
            "pieces_per_second": processes * self.pieces / self.seconds,
            "data_wait": self.waited / self.seconds,
            "padding": 1 - self.filled / self.positions,
        }
