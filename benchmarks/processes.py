"""Measurements in processes of their own: what one run leaves in memory and caches cannot help another."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import workload


def arguments(description: str | None) -> argparse.ArgumentParser:
    """The options that every comparison with the original has."""
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


@contextmanager
def inputs_folder() -> Iterator[Path]:
    """A temporary folder with the weights and inputs of the workload."""
    with tempfile.TemporaryDirectory() as name:
        workload.write(Path(name))
        yield Path(name)


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
