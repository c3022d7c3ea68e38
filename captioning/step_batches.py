"""What a process reads in each step of a run."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from captioning.batches import Batch
from captioning.config import Objective
from captioning.dataset import CaptionedPictures
from captioning.limits import Limits
from captioning.schedule import BatchPlan
from features.stop import end_with_parent

StepParts = list[dict[Objective, Batch]]
"""A process's part of a step: for each accumulated part, a batch for each objective."""


class StepBatches(torch.utils.data.Dataset[StepParts]):
    """Item s is what a process reads in step s."""

    def __init__(self, pictures: CaptionedPictures, plan: BatchPlan, rank: int = 0) -> None:
        """Takes the pictures and their order."""
        self.pictures = pictures
        self.plan = plan
        self.rank = rank

    def __getitem__(self, step: int) -> StepParts:
        """The batches of a step, counted from 0."""
        config = self.pictures.config
        limits = Limits.of(config, self.plan.stage(step).lengths)
        first = self.rank * config.accumulate
        return [
            {name: self.pictures.batch(name, items, limits) for name in config.objectives}
            for items in (self.plan.part(step, part) for part in range(first, first + config.accumulate))
        ]

    def from_step(self, step: int, workers: int, pin: bool = False) -> Iterator[StepParts]:
        """Batches of this and all later steps, without end.

        Args:
            step: counted from 0.
            workers: processes that prepare them ahead.
            pin: lay them where an accelerator can fetch them by itself.
        """
        forever = range(step, 2**62)
        loader = torch.utils.data.DataLoader(
            self,
            batch_size=None,
            sampler=forever,
            num_workers=workers,
            pin_memory=pin,
            worker_init_fn=end_with_parent,
        )
        return iter(loader)
