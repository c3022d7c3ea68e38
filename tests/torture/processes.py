"""A command in children of this process, which has loaded all it needs.

Start-up is most of a short run. A child forked from a process that has imported torch and read what is to be
read starts at once, and everything else is real: the command line, the workers, the files, the signals.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

Command = Callable[[list[str]], int]


class Subject(Protocol):
    """A command that is tortured, every time in a place of its own.

    Attributes:
        said: File that gets what the command prints.
        good: Exit codes of a run that came to its end.
    """

    said: Path
    good: tuple[int, ...]

    def begin(self, place: Path) -> None:
        """Put into the place what an earlier run left."""

    def start(self, place: Path, first: Callable[[], None] = lambda: None) -> int:
        """Start the command; returns its process id."""

    def broken(self, place: Path) -> str | None:
        """What of the earlier run, or of what was finished since, cannot be read any more."""

    def difference(self, place: Path) -> str | None:
        """What is not as after a run that nobody disturbed; None where all is."""

    def left_behind(self, place: Path) -> list[str]:
        """Names that an undisturbed run would not leave."""


def fork(command: Command, argv: Sequence[str], said: Path, first: Callable[[], None] = lambda: None) -> int:
    """Start the command in a process group of its own; returns its process id.

    Args:
        command: Takes the words of a command line, and gives an exit code.
        argv: Of the command.
        said: Gets what it prints.
        first: Called in the child before the command.
    """
    ready, tell = os.pipe()
    child = os.fork()
    if child:
        os.close(tell)
        os.read(ready, 1)
        os.close(ready)
        return child
    code = 70
    try:
        os.setsid()
        for stream in (1, 2):
            os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
        os.write(tell, b"1")
        first()
        code = command(list(argv))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def ended(child: int) -> int:
    """Wait for a child: its exit code, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def run(subject: Subject, place: Path, first: Callable[[], None] = lambda: None) -> int:
    """The command from beginning to end; only what it prints now is in ``subject.said``."""
    subject.said.write_text("")
    return ended(subject.start(place, first))


def run_again(subject: Subject, place: Path, first: Callable[[], None] = lambda: None) -> str | None:
    """Run the command once more after a disturbance.

    Returns:
        What is not as after the undisturbed run; None where all is.
    """
    if (code := run(subject, place, first)) not in subject.good:
        said = subject.said.read_text("utf-8")
        where = said.find("Traceback") if "Traceback" in said else max(0, len(said) - 500)
        return f"run again, it ended with {code}: {said[where:][:2000]}"
    if problem := subject.difference(place):
        return problem
    left = subject.left_behind(place)
    return f"left behind: {', '.join(left)}" if left else None


def kill(child: int, number: signal.Signals, *, everybody: bool) -> int:
    """Send a signal to a child, or to all of its process group, and wait; as ``ended``."""
    (os.killpg if everybody else os.kill)(child, number)
    return ended(child)
