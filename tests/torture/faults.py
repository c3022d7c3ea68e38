"""Every step of writing fails once: the n-th call is killed, or refused by a full or a broken disk.

The method is that of SQLite's tests (https://www.sqlite.org/testing.html): n = 1, 2, 3 … until a run passes
without meeting its fault. What an earlier run finished is there before, and must be there after.
"""

from __future__ import annotations

import builtins
import errno
import io
import itertools
import mmap
import os
import shutil
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError

from tests.torture.processes import Subject, run, run_again

STEPS: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (builtins, ("open",)),
    (io, ("open",)),
    (os, ("open", "write", "pwrite", "ftruncate", "fsync", "replace", "rename", "symlink")),
    (os, ("unlink", "mkdir", "rmdir")),
    (safetensors.torch, ("serialize_file",)),
)
"""What runs do to the disk, by the functions that do it; ``write`` of files that were opened comes on top."""

Fault = Callable[[], None]
Wanted = Callable[[Path], bool]


def refuse(number: int) -> None:
    """As the disk does that is full, or broken."""
    raise OSError(number, os.strerror(number))


FAULTS: dict[str, Fault] = {
    "SIGKILL": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "ENOSPC": lambda: refuse(errno.ENOSPC),
    "EIO": lambda: refuse(errno.EIO),
}


@dataclass(kw_only=True)
class FaultReport:
    """What became of the runs that met a fault.

    Attributes:
        steps: Steps that each fault was set at.
        intact: Of those, after how many the earlier state could be read, and the same command ended well.
        problems: One line a step that did not end well.
    """

    steps: dict[str, int] = field(default_factory=dict)
    intact: int = 0
    problems: list[str] = field(default_factory=list)


class Counter:
    """Counts the steps of a process, and lets one fail."""

    def __init__(self, step: int, fault: Fault, met: mmap.mmap, wanted: Wanted) -> None:
        """Let the so-manieth step from now on fail; ``met`` becomes 1 then.

        Args:
            step: Counted from 1; 0 lets none fail.
            fault: Does not come back.
            met: Shared with who asks; the number of steps stands behind its first byte, in 4 bytes.
            wanted: Whether a path is one whose changes count.
        """
        self._step, self._fault, self._met, self._wanted = step, fault, met, wanted
        self._numbers = itertools.count(1)

    def install(self) -> None:
        """From now on, in this process."""
        for owner, names in STEPS:
            for name in names:
                setattr(owner, name, self._counted(getattr(owner, name)))

    def is_due(self, paths: list[Path]) -> bool:
        """Whether this step, if it is one, is the one to fail."""
        if not any(map(self._wanted, paths)):
            return False
        number = next(self._numbers)
        self._met[1:5] = number.to_bytes(4, "little")
        if number != self._step:
            return False
        self._met[0] = 1
        return True

    def fail(self) -> None:
        """Meet the fault."""
        self._fault()

    def _counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        opens, fills = function.__name__ == "open", function.__name__ == "serialize_file"

        def call(*args: Any, **named: Any) -> Any:
            paths = _paths(args, named)
            if self.is_due(paths):
                if fills:
                    _write_half(function, paths[-1], args, named)
                    try:
                        self.fail()
                    except OSError as error:  # as safetensors says it
                        raise SafetensorError(f"I/O error: {error}") from error
                self.fail()
            result = function(*args, **named)
            if (
                opens
                and isinstance(result, io.IOBase)
                and result.writable()
                and any(map(self._wanted, paths))
            ):
                return Written(result, paths, self)
            return result

        return call


class Written:
    """A file open for writing, every ``write`` of which is a step; one that fails writes half."""

    def __init__(self, file: Any, paths: list[Path], counter: Counter) -> None:
        self._file, self._paths, self._counter = file, paths, counter

    def write(self, data: Any) -> Any:
        if self._counter.is_due(self._paths):
            self._file.write(data[: len(data) // 2])
            self._file.flush()
            self._counter.fail()
        return self._file.write(data)

    def writelines(self, lines: Iterable[Any]) -> None:
        if joined := list(lines):
            self.write(type(joined[0])().join(joined))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> Written:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _paths(args: tuple[Any, ...], named: dict[str, Any]) -> list[Path]:
    """The files that a call speaks of, absolute; relative names are those of links."""
    if (folder := named.get("dir_fd", named.get("src_dir_fd"))) is not None:
        return [_path_of(folder) / str(args[0])]
    if args and type(args[0]) is int:
        return [_path_of(args[0])]
    return [Path(arg) for arg in args[:2] if isinstance(arg, str | Path)]  # 2: renaming, linking, weights


def _path_of(descriptor: int) -> Path:
    try:
        return Path(os.readlink(f"/proc/self/fd/{descriptor}"))
    except FileNotFoundError:  # closed already
        return Path()


def _write_half(
    function: Callable[..., Any], path: Path, args: tuple[Any, ...], named: dict[str, Any]
) -> None:
    function(*args, **named)
    os.truncate(path, path.stat().st_size // 2)


def below(place: Path) -> Wanted:
    """Paths in a folder: pictures and data lie elsewhere."""
    return lambda path: place in path.parents


def fail_everywhere(subject: Subject, folder: Path, every: int = 1) -> FaultReport:
    """Set each fault at every step, or at every so-manieth, each in a folder of its own below ``folder``."""
    report, met = FaultReport(), mmap.mmap(-1, 5)  # shared with the children
    for number, (name, fault) in enumerate(FAULTS.items()):
        for step in itertools.count(1 + number % every, every):
            place = folder / f"{name}-{step}"
            place.mkdir()
            subject.begin(place)
            met[0] = 0
            counter = Counter(step, fault, met, below(place))
            code = run(subject, place, counter.install)
            if not met[0]:
                break
            report.steps[name] = report.steps.get(name, 0) + 1
            problem = _problem(subject, place, code) or run_again(subject, place)
            if problem:
                report.problems.append(f"{name} at step {step}: {problem}")
            else:
                report.intact += 1
            shutil.rmtree(place)
    return report


def _problem(subject: Subject, place: Path, code: int) -> str | None:
    if problem := subject.broken(place):
        return problem
    if code in (0, *subject.good) and (lost := subject.difference(place)):
        return f"it ended as if nothing had been, and {lost}"  # a lock's last line may fail in peace
    said = subject.said.read_text("utf-8")
    if "Traceback" in said:
        return f"it did not say it in words:\n{said}"
    return None
