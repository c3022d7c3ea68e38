"""A disk that is really full: the same extraction on a little more room each time, until it fits."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.torture.runs import SOME_FAILED, make_pictures, run, run_again, undisturbed

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


def fill_disks(folder: Path, pages_more: int = 1) -> DiskReport:
    """Extract on disks of one page, of so many more … until it fits; each full one is then given room."""
    report = DiskReport()
    place, said = folder / "disk", folder / "said.txt"
    make_pictures(folder / "images", 11)
    argv = ["--images", str(folder / "images"), "--backend", "fake", "--workers", "0"]
    argv += ["--batch-size", "2", "--shard-size", "2", "--out"]
    wanted = undisturbed(argv, folder / "undisturbed.h5", said)
    n_bytes, out = PAGE, place / "regions.h5"
    while not report.fits_on_kilobytes:
        said.write_text("")
        try:
            with disk(place, n_bytes):
                problem = None
                if run([*argv, str(out)], said) == SOME_FAILED:
                    report.fits_on_kilobytes = n_bytes // 1024
                else:
                    report.full += 1
                    text = said.read_text("utf-8")
                    told = "No space left on device" in text or "Make room" in text
                    if not told or "Traceback" in text:
                        problem = f"it did not say it in words:\n{text}"
                    subprocess.run(["mount", "-o", "remount,size=1g", str(place)], check=True)
                problem = problem or run_again(argv, out, said, wanted)
        except PermissionError as error:
            report.skipped = str(error)
            return report
        if problem:
            report.problems.append(f"{n_bytes // 1024} kB: {problem}")
        elif not report.fits_on_kilobytes:
            report.finished_with_room += 1
        n_bytes += pages_more * PAGE
    return report
