"""How near shared-out steps come to those of one large batch: accumulated parts, two processes, FSDP2.

    OMP_NUM_THREADS=1 python -m benchmarks.shared_steps --out benchmarks/results/shared_steps.json

The runs of tests/captioning/test_parallel.py: six steps of five pictures with captions of different numbers
and lengths, dropout off, fp32, gloo. Each is compared with the same run in one process and one part: weights,
optimizer states and averages at its end, losses and gradient norm of every step, scores of every validation.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import redirect_stdout
from pathlib import Path

from torch import Tensor

from benchmarks.machine import machine
from benchmarks.results import tell
from tests.captioning.shared_runs import PROCESSES, WAYS, figures, run_each_way, states, weights

LOSSES = frozenset({"loss", "words", "match", "self_critical"})
"""What is minimised, and its parts: the last word of their names in a log."""
SHARED_BY = {"accumulated": "two parts, one process", "ddp": "two processes", "fsdp": "two processes, FSDP2"}


def furthest(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> float:
    """The largest difference of an element."""
    return max((tensor.double() - wanted[name].double()).abs().max().item() for name, tensor in found.items())


def largest(pairs: Iterable[tuple[float, float]], *, relative: bool = False) -> float:
    """The largest difference between a figure found and the one wanted, or its share of that; 0 if none."""
    return max(
        (
            abs(found - wanted) / (abs(wanted) if relative else 1)
            for found, wanted in pairs
            if found != wanted
        ),
        default=0.0,
    )


def differences(found: Path, wanted: Path) -> dict[str, float]:
    """Of two runs, each the largest there is, to two digits."""
    both = list(zip(figures(found), figures(wanted), strict=True))
    steps = [(got, right) for got, right in both if "grad_norm" in right]
    norms = [(got["grad_norm"], right["grad_norm"]) for got, right in steps]
    losses = [
        (got[name], right[name])
        for got, right in steps
        for name in right
        if name.rpartition("/")[2] in LOSSES
    ]
    scores = [(got[name], right[name]) for got, right in both if "grad_norm" not in right for name in right]
    told = {
        "weights": furthest(weights(found), weights(wanted)),
        "optimizer states and averages": furthest(states(found), states(wanted)),
        "losses": largest(losses),
        "losses, relative": largest(losses, relative=True),
        "gradient norm": largest(norms),
        "gradient norm, relative": largest(norms, relative=True),
        "validation scores": largest(scores),
    }
    return {name: float(f"{each:.2g}") for name, each in told.items()}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(sys.stderr):
        runs = run_each_way(Path(folder))
        names = dict.fromkeys(each.partition(", ")[0] for each in runs)
        results = {
            name: {
                SHARED_BY[way]: differences(runs[f"{name}, {way}"], runs[f"{name}, whole"]) for way in WAYS
            }
            for name in names
        }
    tell(
        {
            "what": f"largest differences to one process and one part; {PROCESSES} gloo processes, fp32",
            "machine": machine(),
            "runs": results,
        },
        given.out,
    )


if __name__ == "__main__":
    main()
