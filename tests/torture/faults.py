"""Every step of writing fails once: the n-th call is killed, or refused by a full or a broken disk.

The method is that of SQLite's tests (https://www.sqlite.org/testing.html): n = 1, 2, 3 … until a run passes
without meeting its fault. A finished file of some pictures is there before, and more are added to it.
"""

from __future__ import annotations

import errno
import io
import itertools
import mmap
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from features.store import RegionStore
from tests.features.fake import assert_equal
from tests.torture.runs import SOME_FAILED, difference, make_pictures, run, run_again, undisturbed

STEPS: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (io, ("open",)),
    (os, ("open", "write", "pwrite", "ftruncate", "fsync", "replace")),
    (Path, ("unlink", "mkdir", "rmdir")),
)
"""What an extraction does to the disk, by the functions that do it."""


def refuse(number: int) -> None:
    """As the disk does that is full, or broken."""
    raise OSError(number, os.strerror(number))


FAULTS: dict[str, Callable[[], None]] = {
    "SIGKILL": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "ENOSPC": lambda: refuse(errno.ENOSPC),
    "EIO": lambda: refuse(errno.EIO),
}


@dataclass(kw_only=True)
class FaultReport:
    """What became of the runs that met a fault.

    Attributes:
        steps: Steps that each fault was set at.
        intact: Of those, after how many the earlier pictures could be read, and the same command ended well.
        problems: One line a step that did not end well.
    """

    steps: dict[str, int] = field(default_factory=dict)
    intact: int = 0
    problems: list[str] = field(default_factory=list)


def set_fault(step: int, fault: Callable[[], None], met: mmap.mmap, place: Path) -> None:
    """Let the so-manieth step from now on fail; ``met`` becomes 1 then.

    What is opened elsewhere than below ``place`` is no step: pictures, above all.
    """
    numbers = itertools.count(1)

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            paths = [Path(arg) for arg in args if isinstance(arg, str | Path)]
            is_step = not paths or place in paths[0].parents
            if is_step and next(numbers) == step:
                met[0] = 1
                fault()
            return function(*args, **named)

        return call

    for owner, names in STEPS:
        for name in names:
            setattr(owner, name, counted(getattr(owner, name)))


def fail_everywhere(folder: Path, every: int = 1) -> FaultReport:
    """Set each fault at every step, or at every so-manieth, each in a folder of its own below ``folder``."""
    make_pictures(folder / "images", 11)
    argv = ["--images", str(folder / "images"), "--backend", "fake", "--workers", "0"]
    argv += ["--batch-size", "2", "--shard-size", "2", "--out"]
    said, before = folder / "said.txt", folder / "before.h5"
    undisturbed([*argv[:-1], "--limit", "7", "--out"], before, said)
    wanted = undisturbed(argv, folder / "undisturbed.h5", said)
    report, met = FaultReport(), mmap.mmap(-1, 1)  # shared with the children
    for number, (name, fault) in enumerate(FAULTS.items()):
        for step in itertools.count(1 + number % every, every):
            place = folder / f"{name}-{step}"
            place.mkdir()
            out = place / "regions.h5"
            shutil.copy(before, out)
            met[0] = 0
            said.write_text("")
            code = run([*argv, str(out)], said, partial(set_fault, step, fault, met, place))
            if not met[0]:
                break
            report.steps[name] = report.steps.get(name, 0) + 1
            problem = _broken(out, before)
            if not problem and code in (0, SOME_FAILED) and (lost := difference(out, wanted)):
                problem = (
                    f"it ended as if nothing had been, and {lost}"  # a lock's last line may fail in peace
                )
            if not problem and "Traceback" in (text := said.read_text("utf-8")):
                problem = f"it did not say it in words:\n{text}"
            problem = problem or run_again(argv, out, said, wanted)
            if problem:
                report.problems.append(f"{name} at step {step}: {problem}")
            else:
                report.intact += 1
            shutil.rmtree(place)
    return report


def _broken(out: Path, before: Path) -> str | None:
    with RegionStore(before) as old, RegionStore(out) as new:
        for name in old.image_ids:
            try:
                assert_equal(new.regions(name), old.regions(name))
            except (AssertionError, ValueError) as error:
                return f"{name} was lost: {error}"
    return None
