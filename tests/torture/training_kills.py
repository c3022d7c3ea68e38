"""kill -9 at random moments of training, also while checkpoints are written; SIGTERM and Ctrl-C besides."""

from __future__ import annotations

import mmap
import random
import shutil
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

from captioning.run_folder import checkpoints, steps_taken
from tests.torture.faults import FAULTS, Counter, Wanted
from tests.torture.processes import kill, run, run_again
from tests.torture.training import OBJECTIVES, RUN, Training

IN_WRITING = 0.3
"""Share of the points that lie inside a checkpoint's writing."""
SIGNALS = {signal.SIGTERM: 143, signal.SIGINT: 130}
PATIENCE = 120.0  # seconds until a run has taken a step


@dataclass(kw_only=True)
class TrainingKillReport:
    """What became of the killed runs.

    Attributes:
        points: Runs that were killed.
        in_writing: Of those, how many while a checkpoint was written, put in its place or removed.
        equal: Of all, how many ended, run again, with the bits of the undisturbed run.
        objectives: Points of each objective.
        steps_of_writing: Changes of the disk in all checkpoints of a run, at each of which it may be killed.
        seconds_undisturbed: Life of a run that nobody kills.
        problems: One line a point that did not end well.
    """

    points: int = 0
    in_writing: int = 0
    equal: int = 0
    objectives: dict[str, int] = field(default_factory=dict)
    steps_of_writing: dict[str, int] = field(default_factory=dict)
    seconds_undisturbed: dict[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class SignalReport:
    """What became of the runs that were asked to stop.

    Attributes:
        points: Runs that got a signal after their first step and before their last.
        saved: Of those, how many ended with the signal's exit code and a checkpoint of their last step.
        equal: Of all, how many ended, run again, with the bits of the undisturbed run.
        problems: One line a point that did not end well.
    """

    points: int = 0
    saved: int = 0
    equal: int = 0
    problems: list[str] = field(default_factory=list)


def kill_trainings(folder: Path, n_points: int, seed: int = 0) -> TrainingKillReport:
    """Kill so many runs, of each objective in turn, each in a folder of its own below ``folder``."""
    report, draws = TrainingKillReport(), random.Random(seed)
    subjects = {objective: Training(folder / objective, objective) for objective in OBJECTIVES}
    for objective, subject in subjects.items():
        _measure(objective, subject, folder / f"{objective}-measured", report)
    n_in_writing = round(IN_WRITING * n_points)
    for point in range(n_points):
        objective = OBJECTIVES[point % len(OBJECTIVES)]
        subject, place = subjects[objective], folder / str(point)
        if point < n_in_writing:
            step = draws.randint(1, report.steps_of_writing[objective])
            how = f"before change {step} of its checkpoints"
            _kill_in_writing(subject, place, step)
            report.in_writing += 1
        else:
            how = (
                f"after {_kill_at_random(subject, place, report.seconds_undisturbed[objective], draws):.3f} s"
            )
        report.points += 1
        report.objectives[objective] = report.objectives.get(objective, 0) + 1
        if problem := run_again(subject, place):
            report.problems.append(f"{objective} killed {how}: {problem}")
        else:
            report.equal += 1
        shutil.rmtree(place)
    return report


def in_checkpoints(place: Path) -> Wanted:
    """Paths of checkpoints and of what stands for them, in the place of a run."""
    run_folder = place / RUN

    def wanted(path: Path) -> bool:
        if run_folder not in path.parents:
            return False
        name = path.relative_to(run_folder).parts[0].lstrip(".")
        return name.startswith(("step-", "last", "best"))

    return wanted


def _measure(objective: str, subject: Training, place: Path, report: TrainingKillReport) -> None:
    place.mkdir()
    met = mmap.mmap(-1, 5)
    started = time.perf_counter()
    run(subject, place, Counter(0, FAULTS["SIGKILL"], met, in_checkpoints(place)).install)
    report.seconds_undisturbed[objective] = round(time.perf_counter() - started, 3)
    report.steps_of_writing[objective] = int.from_bytes(met[1:5], "little")


def _kill_in_writing(subject: Training, place: Path, step: int) -> None:
    place.mkdir()
    counter = Counter(step, FAULTS["SIGKILL"], mmap.mmap(-1, 5), in_checkpoints(place))
    if (code := run(subject, place, counter.install)) != -signal.SIGKILL:
        raise RuntimeError(
            f"a run that was to be killed ended with {code}:\n{subject.said.read_text('utf-8')}"
        )


def _kill_at_random(subject: Training, place: Path, seconds: float, draws: random.Random) -> float:
    """Until it was killed before it came to its end; returns the seconds after which it was."""
    while True:
        place.mkdir()
        child = subject.start(place)
        delay = draws.uniform(0, seconds)
        time.sleep(delay)
        if kill(child, signal.SIGKILL, everybody=bool(draws.getrandbits(1))) == -signal.SIGKILL:
            return delay
        shutil.rmtree(place)  # it was quicker


def stop_trainings(folder: Path, n_points: int, seed: int = 0) -> SignalReport:
    """Ask so many runs to stop, of each objective in turn, with and without loader processes."""
    report, draws = SignalReport(), random.Random(seed)
    subjects = [
        (objective, Training(folder / f"{objective}-{workers}", objective, workers=workers))
        for objective in OBJECTIVES
        for workers in (0, 1)
    ]
    while report.points < n_points:
        objective, subject = subjects[report.points % len(subjects)]
        number = list(SIGNALS)[report.points // len(subjects) % len(SIGNALS)]
        place = folder / str(report.points)
        place.mkdir()
        # A group of processes gets the signal from a terminal, from torchrun and from schedulers.
        everybody = bool(draws.getrandbits(1))
        code = _stop_between_steps(subject, place, number, draws, everybody=everybody)
        if code == 0 or (code == -number and not subject.difference(place)):
            shutil.rmtree(place)  # it was quicker: all was saved, whether or not it came to say so
            continue
        report.points += 1
        problem = None if code == SIGNALS[number] else f"it ended with {code}"
        problem = problem or _unsaved(subject, place)
        report.saved += problem is None
        problem = problem or run_again(subject, place)
        report.equal += problem is None
        if problem:
            to = "all its processes" if everybody else "it alone"
            said = subject.said.read_text("utf-8")[-500:]
            report.problems.append(f"{objective}, {number.name} to {to}: {problem}: {said}")
        shutil.rmtree(place)
    return report


def _stop_between_steps(
    subject: Training, place: Path, number: signal.Signals, draws: random.Random, *, everybody: bool
) -> int:
    """The exit code of a run that got the signal some moments after its first step."""
    subject.said.write_text("")
    child = subject.start(place)
    deadline = time.monotonic() + PATIENCE
    while not _steps_told(subject) and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(draws.uniform(0, 0.3))
    return kill(child, number, everybody=everybody)


def _steps_told(subject: Training) -> list[str]:
    return [line for line in subject.said.read_text("utf-8").split("\n") if '"event": "step"' in line]


def _unsaved(subject: Training, place: Path) -> str | None:
    """What was lost of the steps that were told."""
    told = len(_steps_told(subject))
    saved = max(map(steps_taken, checkpoints(place / RUN)), default=0)
    return None if saved >= told else f"it told of {told} steps and saved {saved}"
