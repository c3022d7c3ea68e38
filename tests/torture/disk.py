"""A disk that is really full: the same command on a little more room each time, until it fits."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.torture.processes import Subject, run, run_again

PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(kw_only=True)
class DiskReport:
    """What became of the runs on a disk that was too small.

    Attributes:
        skipped: Why there were none.
        full: Runs that met a full disk.
        finished_with_room: Of those, how many ended well when there was room.
        fits_on_kilobytes: Smallest disk tried on which there was room.
        problems: One line a size that did not end well.
    """

    skipped: str = ""
    full: int = 0
    finished_with_room: int = 0
    fits_on_kilobytes: int = 0
    problems: list[str] = field(default_factory=list)


@contextmanager
def disk(place: Path, n_bytes: int) -> Iterator[None]:
    """A file system in memory with so much room.

    Raises:
        PermissionError: It may not be mounted.
    """
    place.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={n_bytes}", "tushuo-torture", str(place)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise PermissionError("there is no mount command") from error
    if done.returncode:
        raise PermissionError(done.stderr.strip())
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)


def fill_disks(subject: Subject, folder: Path, pages_more: int = 1) -> DiskReport:
    """Run on disks of one page, of so many more … until it fits; each full one is then given room."""
    report = DiskReport()
    place, n_bytes = folder / "disk", PAGE
    while not report.fits_on_kilobytes:
        try:
            with disk(place, n_bytes):
                problem = None
                if run(subject, place) in subject.good:
                    report.fits_on_kilobytes = n_bytes // 1024
                else:
                    report.full += 1
                    problem = _not_in_words(subject.said.read_text("utf-8"))
                    subprocess.run(["mount", "-o", "remount,size=1g", str(place)], check=True)
                problem = problem or run_again(subject, place)
        except PermissionError as error:
            report.skipped = str(error)
            return report
        if problem:
            report.problems.append(f"{n_bytes // 1024} kB: {problem}")
        elif not report.fits_on_kilobytes:
            report.finished_with_room += 1
        n_bytes += pages_more * PAGE
    return report


def _not_in_words(said: str) -> str | None:
    told = "No space left on device" in said or "Make room" in said
    return None if told and "Traceback" not in said else f"it did not say it in words:\n{said}"
