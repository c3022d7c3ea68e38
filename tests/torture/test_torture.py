"""The short form of ``make torture``."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

FEW = {
    "points": 6,
    "every": 37,
    "pages": 7,
    "training-points": 10,
    "stops": 3,
    "pairs": 1,
    "training-every": 67,
    "training-pages": 20,
    "tampering-every": 7,
}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the program finds at a few points; it forks, and pytest has threads."""
    out = tmp_path_factory.mktemp("torture") / "torture.json"
    few = [f"--{name}={number}" for name, number in FEW.items()]
    words = [sys.executable, "-m", "tests.torture", *few, "--out", str(out)]
    child = subprocess.run(words, capture_output=True, text=True, timeout=900)
    assert out.exists(), child.stderr
    return json.loads(out.read_text("utf-8"))


def test_an_extraction_that_was_killed_and_runs_again_ends_with_the_file_of_one_that_was_not(
    report: Any,
) -> None:
    found = report["extractions-killed"]
    assert found["problems"] == []
    assert found["equal"] == found["points"] == 6


def test_a_training_that_was_killed_and_runs_again_ends_with_the_bits_of_one_that_was_not(
    report: Any,
) -> None:
    found = report["trainings-killed"]
    assert found["problems"] == []
    assert found["equal"] == found["points"] == 10
    assert found["in_writing"] == 3
    assert found["objectives"].keys() == {"caption", "scst", "pretrain"}


def test_a_training_that_is_stopped_saves_its_last_step_and_goes_on_to_the_same_bits(report: Any) -> None:
    found = report["trainings-stopped"]
    assert found["problems"] == []
    assert found["saved"] == found["equal"] == found["points"] == 3


def test_two_processes_one_of_which_was_killed_end_with_the_bits_of_two_that_were_not(report: Any) -> None:
    found = report["trainings-on-two-processes"]
    assert found["problems"] == []
    assert found["equal"] == sum(found["points"].values()) == 1


@pytest.mark.parametrize("part", ["extraction-faults", "training-faults", "training-faults-after-a-stop"])
def test_a_step_that_fails_costs_nothing_that_was_done_before(report: Any, part: str) -> None:
    assert report[part]["problems"] == []
    assert report[part]["steps"].keys() == {"SIGKILL", "ENOSPC", "EIO"}
    assert report[part]["intact"] == sum(report[part]["steps"].values()) >= 9


@pytest.mark.parametrize("part", ["extractions-on-full-disks", "trainings-on-full-disks"])
def test_a_full_disk_is_said_in_words_and_the_run_goes_on_when_there_is_room(report: Any, part: str) -> None:
    if reason := report[part]["skipped"]:
        pytest.skip(f"a small disk cannot be mounted: {reason}")
    assert report[part]["problems"] == []
    assert report[part]["finished_with_room"] == report[part]["full"] > 2


def test_tampering_is_told_and_an_earlier_checkpoint_goes_on_to_the_same_bits(report: Any) -> None:
    found = report["tampering"]
    assert found["problems"] == []
    assert found["told"] == found["equal"] == found["ways"] > 5
