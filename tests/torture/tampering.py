"""Checkpoints that were tampered with: changed, cut, removed, swapped, or of a form that nobody knows."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from captioning.run_folder import LAST, checkpoints
from tests.torture.processes import run_again
from tests.torture.training import RUN, Training

PASSED_OVER = "checkpoint passed over"

Tampering = Callable[[Path], None]


@dataclass(kw_only=True)
class TamperingReport:
    """What became of runs whose newest checkpoint was tampered with.

    Attributes:
        ways: Ways of tampering.
        told: Of those, how many were told, with the file, before the earlier checkpoint was used.
        equal: Of all, how many ended with the bits of the undisturbed run.
        problems: One line a way that did not end well.
    """

    ways: int = 0
    told: int = 0
    equal: int = 0
    problems: list[str] = field(default_factory=list)


def tamper(folder: Path, every: int = 1) -> TamperingReport:
    """Tamper with a finished run in every way, or every so-manieth, and give its command again."""
    subject = Training(folder / "run", keep_last=3)  # two of them are damaged where they are swapped
    report = TamperingReport()
    for number, (what, tampering) in enumerate(ways(subject.out)):
        if number % every:
            continue
        place = folder / str(number)
        shutil.copytree(subject.out, place / RUN, symlinks=True)
        tampering(place / RUN)
        report.ways += 1
        problem = run_again(subject, place)
        told = _told(subject)
        report.equal += problem is None
        report.told += told
        if problem or not told:
            report.problems.append(f"{what}: {problem or 'nobody said so'}")
        shutil.rmtree(place)
    return report


def ways(run: Path) -> Iterator[tuple[str, Tampering]]:
    """Names of all ways, and what they do to a copy of a run."""
    newest, earlier = (folder.name for folder in checkpoints(run)[:2])
    for path in sorted((run / LAST).iterdir()):
        name = path.name
        size = path.stat().st_size
        for where in sorted({0, size // 3, size // 2, size - 1}):
            yield f"byte {where} of {name} changed", lambda run, n=name, w=where: _flip(run / newest / n, w)
        yield f"{name} cut", lambda run, n=name: _cut(run / newest / n)
        yield f"{name} removed", lambda run, n=name: (run / newest / n).unlink()
        if path.read_bytes() != (run / earlier / name).read_bytes():
            yield f"{name} swapped", lambda run, n=name: _swap(run / newest / n, run / earlier / n)
    yield "checkpoints swapped", lambda run: _swap(run / newest, run / earlier)
    for form in ("tushuo-checkpoint/0", "tushuo-checkpoint/2", None, 1):
        yield f"format {form!r}", lambda run, f=form: _set_format(run / newest / "manifest.json", f)


def _told(subject: Training) -> bool:
    return PASSED_OVER in subject.said.read_text("utf-8")


def _flip(path: Path, where: int) -> None:
    data = bytearray(path.read_bytes())
    data[where] ^= 1
    path.write_bytes(data)


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _swap(one: Path, other: Path) -> None:
    aside = one.with_name("aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


def _set_format(path: Path, form: object) -> None:
    values = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({**values, "format": form}), encoding="utf-8")
