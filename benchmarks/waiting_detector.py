"""A detector that only waits, for benchmarks of all that is around one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from features.backends.base import Backend, Detections
from features.backends.mini import SquashPreprocessor
from features.regions import MINI

__all__ = ["Waiting"]

REGIONS = 36


class Waiting(Backend):
    """Takes as long as a GPU would, and leaves the processor alone meanwhile."""

    name = "waiting"
    feature_dim = 2048
    vocabulary = ("thing",)
    vocabulary_id = "thing-1"
    selection = MINI
    weights_sha256 = "0" * 64

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.preprocessor = SquashPreprocessor()

    def description(self) -> dict[str, Any]:
        """See :class:`Backend`."""
        return {}

    def detect(
        self,
        batch: Tensor,
        sizes: Sequence[tuple[int, int]],
        boxes: Sequence[np.ndarray] | None = None,
    ) -> list[Detections]:
        """See :class:`Backend`."""
        end = time.perf_counter() + len(batch) / self.rate
        found = [
            Detections(
                boxes=np.tile(np.array([0, 0, width, height], np.float32), (REGIONS, 1)),
                object_ids=np.zeros(REGIONS, np.int32),
                object_scores=np.full(REGIONS, 0.5, np.float32),
                features=np.ones((REGIONS, self.feature_dim), np.float16),
            )
            for height, width in sizes
        ]
        time.sleep(max(0.0, end - time.perf_counter()))
        return found
