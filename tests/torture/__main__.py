"""Extractions and trainings that are killed, refused by the disk, short of room and tampered with.

    python -m tests.torture --out benchmarks/results/torture.json
    python -m tests.torture --only trainings-killed tampering --out build/torture.json

The suite does the same at fewer points.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.machine import machine
from benchmarks.results import tell
from tests.torture import extraction, training
from tests.torture.disk import fill_disks
from tests.torture.extraction import Extraction
from tests.torture.extraction_kills import kill_extractions
from tests.torture.faults import fail_everywhere
from tests.torture.tampering import tamper
from tests.torture.training import Training
from tests.torture.training_kills import kill_trainings, stop_trainings
from tests.torture.training_processes import disturb_two_processes

EXTRACTION = ("--backend", "fake", "--workers", "0", "--batch-size", "2", "--shard-size", "2")
PICTURES = 11

Part = Callable[[Path, argparse.Namespace], Any]
PARTS: dict[str, Part] = {
    "extractions-killed": lambda folder, of: kill_extractions(folder, of.points),
    "extraction-faults": lambda folder, of: fail_everywhere(
        Extraction(folder, PICTURES, EXTRACTION, n_before=7), folder, of.every
    ),
    "extractions-on-full-disks": lambda folder, of: fill_disks(
        Extraction(folder, PICTURES, EXTRACTION), folder, of.pages
    ),
    "trainings-killed": lambda folder, of: kill_trainings(folder, of.training_points),
    "trainings-stopped": lambda folder, of: stop_trainings(folder, of.stops),
    "trainings-on-two-processes": lambda folder, of: disturb_two_processes(folder, of.pairs),
    "training-faults": lambda folder, of: fail_everywhere(
        Training(folder / "data", before="killed"), folder, of.training_every
    ),
    "training-faults-after-a-stop": lambda folder, of: fail_everywhere(
        Training(folder / "data", before="stopped"), folder, of.training_every
    ),
    "trainings-on-full-disks": lambda folder, of: fill_disks(
        Training(folder / "data"), folder, of.training_pages
    ),
    "tampering": lambda folder, of: tamper(folder, of.tampering_every),
}


def main() -> int:
    """Torture, print, write; 1 where anything did not end well."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART",
                        help=f"some of {', '.join(PARTS)}")  # fmt: skip
    numbers = {
        "points": (200, "extractions that are killed at a random moment"),
        "every": (1, "only every so-manieth step of an extraction meets each fault"),
        "pages": (1, "by which a disk is larger than the one before, in extractions"),
        "training-points": (
            100,
            "trainings that are killed, 30 in 100 of them while a checkpoint is written",
        ),
        "stops": (24, "trainings that are stopped by SIGTERM or Ctrl-C"),
        "pairs": (12, "trainings on two processes that are disturbed"),
        "training-every": (1, "only every so-manieth step of a training meets each fault"),
        "training-pages": (8, "by which a disk is larger than the one before, in trainings"),
        "tampering-every": (1, "only every so-manieth way of tampering"),
    }
    for name, (default, text) in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=f"{text} ({default})")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    extraction.load_all()
    training.load_all()
    result: dict[str, object] = {"machine": machine()}
    n_problems = 0
    for name in arguments.only:
        started = time.perf_counter()
        with TemporaryDirectory() as folder:
            report = PARTS[name](Path(folder), arguments)
        n_problems += len(report.problems)
        result[name] = asdict(report) | {"seconds": round(time.perf_counter() - started, 1)}
    tell(result, arguments.out)
    return min(1, n_problems)


if __name__ == "__main__":
    sys.exit(main())
