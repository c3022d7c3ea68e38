"""Rewards that come from other processes are those of this one, and a process that dies is told."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from captioning.guard import TrainingError
from captioning.reward_processes import RewardProcesses
from captioning.rewards import Rewards
from captioning.scst_config import ScstConfig
from captioning.train import train
from tests.captioning.small_run import small_config
from tests.captioning.test_rewards import records
from tests.captioning.test_train import digest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes that share memory are forked")
PICTURES = {"a": ["一只狗", "黑狗"], "b": ["猫在睡觉"], "c": ["两个人"]}
SAID = [["黑狗", "一只猫"], ["猫在跑", ""], ["两个人", "一个人"]]


@pytest.fixture
def rewards() -> Rewards:
    return Rewards(records(**PICTURES), ScstConfig(segmenter="chars"))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_processes_give_each_picture_the_rewards_of_this_one(rewards: Rewards, count: int) -> None:
    assert RewardProcesses(rewards, count).begin(list("cab"), SAID)() == rewards.score(list("cab"), SAID)


def test_scoring_goes_on_while_the_next_is_begun(rewards: Rewards) -> None:
    processes = RewardProcesses(rewards, 2)
    first, second = processes.begin(list("abc"), SAID), processes.begin(list("bca"), SAID)
    assert second() == rewards.score(list("bca"), SAID)
    assert first() == rewards.score(list("abc"), SAID)


def test_a_process_that_was_killed_ends_the_run_with_a_word(rewards: Rewards) -> None:
    processes = RewardProcesses(rewards, 1)
    processes.begin(["a"], [["黑狗"]])()
    assert processes._pool is not None
    for number in processes._pool._processes:
        os.kill(number, signal.SIGKILL)
    with pytest.raises(TrainingError, match=r"was killed.*--scst\.reward_workers 0"):
        processes.begin(["a"], [["黑狗"]])()


def test_a_run_learns_the_same_wherever_its_rewards_are_computed(tmp_path: Path) -> None:
    start = small_config(tmp_path, out="start", steps=5)
    train(start)
    digests = []
    for count in (0, 2):
        config = replace(
            small_config(tmp_path, out=f"with-{count}", steps=4),
            objective="scst",
            init=str(start.out / "last"),
            scst=replace(start.scst, reward_workers=count),
        )
        train(config)
        digests.append(digest(config, 4)["model.safetensors"])
    assert digests[0] == digests[1]
