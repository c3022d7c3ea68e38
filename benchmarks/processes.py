"""Measurements in processes of their own: what one run leaves in memory and caches cannot help another."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from torch.utils.flop_counter import FlopCounterMode

from benchmarks import workload
from benchmarks.machine import DTYPES, fast_bf16, gemm_gflops, machine, peak_megabytes
from benchmarks.results import tell

Measure = Callable[[Path, str, str], dict[str, Any]]
"""Folder of the workload, scenario, number format -> what `timed` gives, in this process."""
Compare = Callable[[str, Path, Path | None, int], dict[str, Any]]
"""Scenario, folder of the workload, the original's checkout, rounds -> what is told of it."""
REPEATS = 5


def run(description: str, scenarios: Iterable[str], measure: Measure, compare: Compare) -> None:
    """A benchmark's command: every scenario compared, printed and written; or one measured, for `in_turn`."""
    given = _parser(description).parse_args()
    if given.one:
        folder, name, dtype = given.one
        print(json.dumps(measure(Path(folder), name, dtype)))
        return
    names = [name for name in scenarios if (given.only or "") in name]
    with tempfile.TemporaryDirectory() as folder:
        workload.write(Path(folder))
        found = {name: compare(name, Path(folder), given.peer, given.rounds) for name in names}
    tell({"what": description.splitlines()[0], "machine": machine(), "scenarios": found}, given.out)


def _parser(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--peer", type=Path, help="checkout of microsoft/Oscar with its submodule transformers"
    )
    parser.add_argument("--out", type=Path, help="JSON file of the result")
    parser.add_argument("--rounds", type=int, default=3, help="processes of either side for a figure")
    parser.add_argument("--only", help="only scenarios whose name holds this")
    parser.add_argument("--one", nargs=3, metavar=("FOLDER", "SCENARIO", "DTYPE"), help=argparse.SUPPRESS)
    return parser


def dtypes() -> list[str]:
    """The number formats worth measuring here."""
    return ["fp32", "bf16"] if fast_bf16() else ["fp32"]


def timed(work: Callable[[], Any], dtype: str) -> dict[str, Any]:
    """Seconds of some runs after a first one, which is counted in operations; and the machine beside them."""
    with FlopCounterMode(display=False) as counter:
        work()
    rate, seconds, out = gemm_gflops(DTYPES[dtype]), [], None
    for _ in range(REPEATS):
        start = time.perf_counter()
        out = work()
        seconds.append(time.perf_counter() - start)
    return {
        "seconds": seconds,
        "gemm_gflops": max(rate, gemm_gflops(DTYPES[dtype])),
        "gflop": counter.get_total_flops() / 1e9,
        "peak_mb": peak_megabytes(),
        "out": out,
    }


def ours(module: str, folder: Path, scenario: str, dtype: str) -> list[str]:
    """The command that measures one scenario of a benchmark."""
    return [sys.executable, "-m", module, "--one", str(folder), scenario, dtype]


def original(peer: Path, folder: Path, *task: str) -> list[str]:
    """The command that measures the original."""
    return [sys.executable, "-m", "benchmarks.original", str(peer), str(folder), *task]


def in_turn(commands: Sequence[Sequence[str]], rounds: Sequence[int]) -> list[dict[str, Any]]:
    """Runs the commands one after the other, then again; each command's runs as one.

    Args:
        commands: what to run; each prints a JSON line with `seconds`, `gemm_gflops`, `peak_mb` and `out`.
        rounds: how often each command is run.

    Returns:
        For each command the shortest seconds, the best rate of matrix products seen beside them, the largest
        memory, and the rest of the last run.
    """
    found: list[list[dict[str, Any]]] = [[] for _ in commands]
    for turn in range(max(rounds)):
        for command, wanted, runs in zip(commands, rounds, found, strict=True):
            if turn < wanted:
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                runs.append(json.loads(done.stdout.splitlines()[-1]))
    return [
        {
            **runs[-1],
            "seconds": min(second for run in runs for second in run["seconds"]),
            "gemm_gflops": max(run["gemm_gflops"] for run in runs),
            "peak_mb": max(run["peak_mb"] for run in runs),
        }
        for runs in found
    ]


def figures(measured: dict[str, Any], items: int) -> dict[str, float]:
    """What a table shows of a measurement of so many pictures or captions."""
    shown = {
        "seconds": round(measured["seconds"], 3),
        "per_second": round(items / measured["seconds"], 3),
        "gemm_gflops": round(measured["gemm_gflops"], 1),
        "peak_mb": round(measured["peak_mb"]),
    }
    if "gflop" in measured:
        reached = measured["gflop"] / measured["seconds"]
        shown["gflop"] = round(measured["gflop"], 1)
        shown["share_of_flop_limit"] = round(reached / measured["gemm_gflops"], 3)
    return shown
