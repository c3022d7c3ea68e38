"""Training on two processes, one of which is killed, or all of them, or torchrun is asked to stop."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from captioning.event_log import LOG_FILE
from captioning.run_folder import checkpoints, steps_taken
from tests.torture.processes import Command, ended, run_again
from tests.torture.training import OBJECTIVES, RUN, STEPS, Training

PATIENCE = 300.0  # seconds until two processes have taken a step, on a busy machine
WORDS = {"pretrain": ("--parallel", "fsdp")}
"""Of the command lines of some objectives."""


def torchrun(argv: list[str] | None = None) -> int:
    """The train command on two processes, in place of this one; ``--standalone`` finds a free port."""
    assert argv is not None
    os.environ["TMPDIR"] = str(Path(argv[-1]).parent)  # what torchrun leaves there goes with the run
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    os.execv(sys.executable, [sys.executable, *launch, "-m", "captioning.train", *argv])


class TrainingOnTwo(Training):
    """As ``Training``; its child is torchrun."""

    command: Command = staticmethod(torchrun)


@dataclass(kw_only=True)
class ProcessesReport:
    """What became of the disturbed runs.

    Attributes:
        points: Runs that were disturbed, by what was done to them.
        saved: Of those that were asked to stop, how many had a checkpoint of their last step.
        equal: Of all, how many ended, run again, with the bits of the undisturbed run on two processes.
        problems: One line a point that did not end well.
    """

    points: dict[str, int] = field(default_factory=dict)
    saved: int = 0
    equal: int = 0
    problems: list[str] = field(default_factory=list)


def _kill(*ranks: int) -> Callable[[int], None]:
    def kill(child: int) -> None:
        processes = _processes(child)
        if len(ranks) > 1:
            os.kill(child, signal.SIGKILL)  # first: it would stop the others itself
        for rank in ranks:
            os.kill(processes[rank], signal.SIGKILL)

    return kill


DISTURBANCES: dict[str, Callable[[int], None]] = {
    "rank 1 killed": _kill(1),
    "rank 0 killed": _kill(0),
    "all killed": _kill(0, 1),
    "SIGTERM to torchrun": lambda child: os.kill(child, signal.SIGTERM),
}


def disturb_two_processes(folder: Path, n_points: int, seed: int = 0) -> ProcessesReport:
    """Disturb so many runs on two processes, each in a folder of its own below ``folder``."""
    report, draws = ProcessesReport(), random.Random(seed)
    subjects: dict[str, TrainingOnTwo] = {}
    while sum(report.points.values()) < n_points:
        point = sum(report.points.values())
        what = list(DISTURBANCES)[point % len(DISTURBANCES)]
        objective = OBJECTIVES[point // len(DISTURBANCES) % len(OBJECTIVES)]
        if objective not in subjects:
            subjects[objective] = TrainingOnTwo(folder / objective, objective, more=WORDS.get(objective, ()))
        subject, place = subjects[objective], folder / str(point)
        place.mkdir()
        child = subject.start(place)
        step = _after(draws.randint(1, STEPS - 2), place)
        time.sleep(draws.uniform(0, 0.1))
        DISTURBANCES[what](child)
        if ended(child) == 0:
            shutil.rmtree(place)  # it was quicker
            continue
        report.points[what] = report.points.get(what, 0) + 1
        problem = None
        if what.startswith("SIGTERM"):
            problem = _unsaved(place, step)
            report.saved += problem is None
        problem = problem or run_again(subject, place)
        report.equal += problem is None
        if problem:
            report.problems.append(f"{objective}, {what} after step {step}: {problem}")
        shutil.rmtree(place)
    return report


def _after(step: int, place: Path) -> int:
    """Wait until the step was told; returns how many were by then."""
    deadline = time.monotonic() + PATIENCE
    while (told := _steps_told(place)) < step and time.monotonic() < deadline:
        time.sleep(0.01)
    return told


def _steps_told(place: Path) -> int:
    log = place / RUN / LOG_FILE
    return log.read_text("utf-8").count('"event": "step"') if log.exists() else 0


def _unsaved(place: Path, step: int) -> str | None:
    saved = max(map(steps_taken, checkpoints(place / RUN)), default=0)
    return None if saved >= step else f"it saved step {saved}"


def _processes(child: int) -> dict[int, int]:
    """Rank -> process of the children of torchrun."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rpartition(")")[2].split()[1]) != child:
                continue
            settings = (stat.parent / "environ").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        rank = next((int(each[5:]) for each in settings if each.startswith(b"RANK=")), None)
        if rank is not None:
            found[rank] = int(stat.parent.name)
    return found
