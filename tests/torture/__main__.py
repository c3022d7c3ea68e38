"""Extractions that are killed, refused by the disk and short of room, as often as one asks for.

    python -m tests.torture --out benchmarks/results/torture.json

The suite does the same at fewer points.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.machine import machine
from benchmarks.results import tell
from tests.torture.disk import DiskReport, fill_disks
from tests.torture.faults import FaultReport, fail_everywhere
from tests.torture.kills import KillReport, kill_often
from tests.torture.runs import load_all


def main() -> int:
    """Torture, print, write; 1 where anything did not end well."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--points", type=int, default=200, help="runs that are killed at a random moment")
    parser.add_argument("--every", type=int, default=1, help="only every so-manieth step meets each fault")
    parser.add_argument("--pages", type=int, default=1, help="by which a disk is larger than the one before")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    load_all()
    parts: dict[str, Callable[[Path], KillReport | FaultReport | DiskReport]] = {
        "killed": partial(kill_often, n_points=arguments.points),
        "faults": partial(fail_everywhere, every=arguments.every),
        "full disks": partial(fill_disks, pages_more=arguments.pages),
    }
    result: dict[str, object] = {"machine": machine()}
    n_problems = 0
    for name, part in parts.items():
        started = time.perf_counter()
        with TemporaryDirectory() as folder:
            report = part(Path(folder))
        n_problems += len(report.problems)
        result[name] = asdict(report) | {"seconds": round(time.perf_counter() - started, 1)}
    tell(result, arguments.out)
    return min(1, n_problems)


if __name__ == "__main__":
    sys.exit(main())
