"""Rewards from processes beside the one that trains, which gives its accelerator the next work meanwhile."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from captioning.guard import TrainingError
from captioning.rewards import Rewards
from features.stop import end_with_parent

Scores = list[list[float]]

_rewards: Rewards | None = None
"""In a process that scores: what it scores with."""


class RewardProcesses:
    """Scores a step's captions in other processes, or here when the scores are asked for."""

    def __init__(self, rewards: Rewards, count: int) -> None:
        """Takes the rewards and the number of processes, which start with the first step.

        They are forked, so that they share the human captions with this one; where nothing forks (Windows)
        there are none.
        """
        self.rewards = rewards
        self.count = count if "fork" in multiprocessing.get_all_start_methods() else 0
        self._pool: ProcessPoolExecutor | None = None

    def begin(self, image_ids: Sequence[str], captions: Sequence[Sequence[str]]) -> Callable[[], Scores]:
        """Start scoring the captions of each picture.

        Returns:
            What waits for the rewards, as of `Rewards.score`. It raises TrainingError where a process was
            killed.
        """
        if not self.count:
            return lambda: self.rewards.score(image_ids, captions)
        if self._pool is None:
            fork = multiprocessing.get_context("fork")
            self._pool = ProcessPoolExecutor(self.count, fork, _begin_process, (self.rewards,))
        shares = [slice(i, None, self.count) for i in range(min(self.count, len(image_ids)))]
        parts = [self._pool.submit(_score, image_ids[each], captions[each]) for each in shares]

        def wait() -> Scores:
            scores: Scores = [[] for _ in image_ids]
            try:
                for share, part in zip(shares, parts, strict=True):
                    scores[share] = part.result()
            except BrokenProcessPool as error:
                raise TrainingError(
                    "a process that scores captions was killed, as where memory is short; the same command "
                    "goes on from the last checkpoint, with --scst.reward_workers 0 without such processes"
                ) from error
            return scores

        return wait


def _begin_process(rewards: Rewards) -> None:
    global _rewards  # noqa: PLW0603  (an initializer has no other place)
    _rewards = rewards
    end_with_parent()


def _score(image_ids: Sequence[str], captions: Sequence[Sequence[str]]) -> Scores:
    assert _rewards is not None  # noqa: S101  (set as the process begins)
    return _rewards.score(image_ids, captions)
