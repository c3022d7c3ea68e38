"""The short form of ``make torture``."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the program finds at a few points; it forks, and pytest has threads."""
    out = tmp_path_factory.mktemp("torture") / "torture.json"
    few = ["--points", "6", "--every", "29", "--pages", "7"]
    words = [sys.executable, "-m", "tests.torture", *few, "--out", str(out)]
    child = subprocess.run(words, capture_output=True, text=True, timeout=500)
    assert out.exists(), child.stderr
    return json.loads(out.read_text("utf-8"))


def test_a_run_that_was_killed_and_runs_again_ends_with_the_file_of_one_that_was_not(report: Any) -> None:
    assert report["killed"]["problems"] == []
    assert report["killed"]["equal"] == report["killed"]["points"] == 6


def test_a_step_that_fails_costs_nothing_that_was_done_before(report: Any) -> None:
    assert report["faults"]["problems"] == []
    assert report["faults"]["steps"].keys() == {"SIGKILL", "ENOSPC", "EIO"}
    assert report["faults"]["intact"] == sum(report["faults"]["steps"].values()) > 15


def test_a_full_disk_is_said_in_words_and_the_run_goes_on_when_there_is_room(report: Any) -> None:
    if reason := report["full disks"]["skipped"]:
        pytest.skip(f"a small disk cannot be mounted: {reason}")
    assert report["full disks"]["problems"] == []
    assert report["full disks"]["finished_with_room"] == report["full disks"]["full"] > 2
