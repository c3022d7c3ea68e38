"""A disk that fails: told once, in words, and never to HDF5."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["DiskFile"]


class DiskFile:
    """A new file for h5py to write in, whose errors wait until they are asked for.

    HDF5 that cannot write leaves objects that cannot be closed, and tells of it in tracebacks from their
    destructors, in a ``RuntimeError``, or by crashing where it reads what it could not write (all seen with
    HDF5 2.0 on a full disk). So it writes without ever failing: from the first error on, what it writes is
    kept in memory. It is little, if :meth:`check` is called between the blocks of data.

    Args:
        path: Replaced where it exists.

    Raises:
        OSError: It cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        self._error: OSError | None = None
        self._kept: list[tuple[int, bytes]] = []  # place in the file, what the disk did not take
        self._at = 0
        self._end = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    def check(self) -> None:
        """Raise what the disk has refused.

        Raises:
            OSError: The first error, with the file's name.
        """
        if self._error is not None:
            raise OSError(self._error.errno, self._error.strerror, str(self.path)) from self._error

    def sync(self) -> None:
        """Make what was written last.

        Raises:
            OSError: The disk has refused something before, or does so now.
        """
        self.check()
        os.fsync(self._descriptor)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As of any file; HDF5 seeks from the start, and to the end."""
        self._at = offset + (self._end if whence == os.SEEK_END else 0)
        return self._at

    def tell(self) -> int:
        """Where the next byte is read or written."""
        return self._at

    def write(self, data: memoryview) -> int:
        """Write all of it, or keep what the disk does not take."""
        start, rest = self._at, memoryview(data).cast("B")  # h5py gives a view of its own kind
        self._at += len(rest)
        self._end = max(self._end, self._at)
        try:
            while rest and self._error is None:
                written = os.pwrite(self._descriptor, rest, start)
                start, rest = start + written, rest[written:]
        except OSError as error:
            self._error = error
        if rest:
            self._kept.append((start, bytes(rest)))
        return len(data)

    def read(self, size: int) -> bytes:
        """What was written here, whether the disk took it or not; zeros where nothing was."""
        start, stop = self._at, self._at + size
        found = bytearray(os.pread(self._descriptor, size, start).ljust(size, b"\0"))
        for place, data in self._kept:
            first, last = max(start, place), min(stop, place + len(data))
            if first < last:
                found[first - start : last - start] = data[first - place : last - place]
        self._at = stop
        return bytes(found)

    def truncate(self, size: int) -> int:
        """Cut or extend the file."""
        self._end = size
        try:
            os.ftruncate(self._descriptor, size)
        except OSError as error:
            self._error = self._error or error
        return size

    def flush(self) -> None:
        """Nothing waits: every write goes to the disk at once."""
