"""Who may write an output: the shards of one run side by side, everybody else in turn.

Each writer holds a lock in ``OUT.parts``, which says of how many shards it is which. Locks are only taken and
removed by who holds the door, ``.OUT.lock`` beside the output, so nobody takes one that is being removed.
The kernel lets go of a lock whose process is gone, so a killed writer stands in nobody's way.
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

__all__ = ["OutputError", "Shard", "door", "held", "locked", "parts_folder", "remove_if_empty"]

_LOCK = re.compile(r"shard-(\d+)-of-(\d+)\.lock")
_NO_FLOCK = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)
_PAUSE = 0.5  # seconds between two looks at another writer
_PATIENCE = 10.0  # seconds that the door may be shut to who does not wait; a merge takes minutes


class OutputError(ValueError):
    """An output that cannot be continued; the message says what to do."""


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Every ``count``-th window of a run's pictures, from window ``index`` on."""

    index: int = 0
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``i/N``.

        Raises:
            ValueError: It is not that, or i is not below N.
        """
        match = re.fullmatch(r"(\d+)/(\d+)", text)
        if match is None or int(match[1]) >= int(match[2]):
            raise ValueError(f"shard must be i/N, i counting from 0 to N - 1, such as 0/4; got {text!r}")
        return cls(index=int(match[1]), count=int(match[2]))

    def part(self, index: int, count: int) -> Shard:
        """One of ``count`` shards that have this one's windows among them."""
        return Shard(index=self.index + index * self.count, count=self.count * count)

    def owns(self, number: int) -> bool:
        """Whether a window is this shard's."""
        return number % self.count == self.index

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


def parts_folder(out: Path) -> Path:
    """Beside the output, the folder of the sealed files it is made from."""
    return out.with_name(out.name + ".parts")


def remove_if_empty(folder: Path) -> None:
    """Remove a folder that holds nothing (any more)."""
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def door(out: Path, timeout: float = -1) -> AbstractContextManager[None]:
    """Hold an output's door: for a moment, or while all that is sealed is merged; see :func:`held`."""
    return held(out.with_name(f".{out.name}.lock"), out, timeout)


@contextmanager
def held(path: Path, out: Path, timeout: float) -> Iterator[None]:
    """Hold a lock file, in which our process stands.

    The file stays: removing a lock that others wait for lets two of them in.

    Args:
        path: The lock file.
        out: The output that it is for.
        timeout: Seconds to wait for who holds it; without end where negative.

    Raises:
        OutputError: It is held for longer, by the process that the message gives; or the file system has no
            locks.
    """
    lock = _lock(path)
    try:
        lock.acquire(timeout=timeout)
    except Timeout as error:
        raise OutputError(_busy(out, _holder(path))) from error
    except OSError as error:
        if error.errno not in _NO_FLOCK:
            raise
        raise OutputError(
            f"{out} must lie on a file system with flock ({error.strerror}; Lustre: mount with -o flock)"
        ) from error
    try:
        path.write_text(f"{os.getpid()}\n", encoding="ascii")
        yield
    finally:
        with suppress(OSError):  # removed, or a full disk: who held it last only serves a message
            os.truncate(path, 0)
        lock.release()


@contextmanager
def locked(
    out: Path, shard: Shard | None = None, *, wait: bool = False, say: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Hold a shard's share of an output, or all of it, so that nobody else writes it.

    Args:
        out: The regions file.
        shard: The share; all by default.
        wait: Wait for other writers, instead of refusing.
        say: Told once that there is something to wait for.

    Raises:
        OutputError: Another writer is at it; the message gives its process.
    """
    shard = shard or Shard()
    path = parts_folder(out) / f"shard-{shard.index}-of-{shard.count}.lock"
    lock, told = _lock(path), False
    while (holder := _claim(out, lock, shard, wait=wait)) is not None:
        if not wait:
            raise OutputError(_busy(out, holder, " (features.extract --wait does)"))
        if not told and say is not None:
            say(f"waiting for another extraction (process {holder}) that writes {out}")
        told = True
        time.sleep(_PAUSE)
    try:
        yield
    finally:
        with door(out):
            lock.release()
            path.unlink(missing_ok=True)
            remove_if_empty(path.parent)


def _lock(path: Path) -> FileLock:
    """A lock of the kernel: a file that merely exists would outlive its process."""
    return FileLock(path, fallback_to_soft=False)


def _claim(out: Path, lock: FileLock, shard: Shard, *, wait: bool) -> str | None:
    """Take a lock; else the process of a writer that stands against it."""
    path = Path(lock.lock_file)
    with door(out, -1 if wait else _PATIENCE):
        path.parent.mkdir(parents=True, exist_ok=True)
        for other in sorted(path.parent.glob("*.lock")):
            match = _LOCK.fullmatch(other.name)
            same_run = match is not None and int(match[2]) == shard.count and other != path
            if match is not None and not same_run and _is_held(other):
                return _holder(other)
        lock.acquire(timeout=0)
        path.write_text(f"{os.getpid()}\n", encoding="ascii")
    return None


def _is_held(path: Path) -> bool:
    """Whether the process that made a lock is still there; what a killed one left is removed."""
    probe = _lock(path)
    try:
        probe.acquire(timeout=0)
    except Timeout:
        return True
    probe.release()
    path.unlink()
    return False


def _holder(path: Path) -> str:
    with suppress(FileNotFoundError):
        return path.read_text(encoding="ascii", errors="replace").strip() or "unknown"
    return "unknown"


def _busy(out: Path, process: str, hint: str = "") -> str:
    return (
        f"{out} is being written by another run (process {process}); wait until it ends{hint}, or name "
        "another output."
    )
