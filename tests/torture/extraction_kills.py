"""kill -9 at random moments of an extraction with two decode workers, then the same command again."""

from __future__ import annotations

import random
import shutil
import signal
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.torture.extraction import Extraction, count_pictures
from tests.torture.processes import kill, run, run_again

N_PICTURES = 7
SHARD_SIZE = 2
WORKERS = 2
MOST_REDONE = 2 * SHARD_SIZE  # one shard is being written while the next is being filled


@dataclass(kw_only=True)
class KillReport:
    """What became of the killed runs.

    Attributes:
        points: Runs that were killed.
        equal: Of those, how many ended, run again, with the file of the undisturbed run.
        redone: Pictures that were detected twice -> number of points.
        seconds_undisturbed: Life of a run that nobody kills.
        problems: One line a point that did not end well.
    """

    points: int = 0
    equal: int = 0
    redone: dict[int, int] = field(default_factory=dict)
    seconds_undisturbed: float = 0.0
    problems: list[str] = field(default_factory=list)


def kill_extractions(folder: Path, n_points: int, seed: int = 0) -> KillReport:
    """Kill so many runs of one extraction, each in a folder of its own below ``folder``."""
    words = ["--backend", "mini", "--workers", str(WORKERS), "--batch-size", "2"]
    subject = Extraction(folder, N_PICTURES, [*words, "--shard-size", str(SHARD_SIZE)])
    report, draws = KillReport(), random.Random(seed)
    report.seconds_undisturbed = _seconds(subject, folder / "timed")
    while report.points < n_points:
        place, log = folder / str(report.points), folder / "pictures.log"
        place.mkdir()
        log.write_bytes(b"")
        count = partial(count_pictures, "mini", log)
        child = subject.start(place, count)
        delay = draws.uniform(0, report.seconds_undisturbed)
        time.sleep(delay)
        everybody = bool(draws.getrandbits(1))  # else the command alone, and its workers find out
        if kill(child, signal.SIGKILL, everybody=everybody) != -signal.SIGKILL:
            shutil.rmtree(place)  # it was quicker
            continue
        report.points += 1
        problem = run_again(subject, place, count)
        redone = log.stat().st_size - N_PICTURES
        report.redone[redone] = report.redone.get(redone, 0) + 1
        if not problem and redone > MOST_REDONE:
            problem = f"{redone} pictures were detected again"
        if problem:
            report.problems.append(f"killed {'all' if everybody else 'alone'} after {delay:.3f} s: {problem}")
        else:
            report.equal += 1
    return report


def _seconds(subject: Extraction, place: Path) -> float:
    place.mkdir()
    started = time.perf_counter()
    run(subject, place)
    return time.perf_counter() - started
