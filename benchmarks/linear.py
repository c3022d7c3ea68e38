"""What turning a product round is worth on this CPU: `oscar.linear.linear` against torch's, with few rows.

    OMP_NUM_THREADS=2 python -m benchmarks.linear --out benchmarks/results/linear.json

Each product goes through so many matrices that none is still in the cache when its turn comes again, as in
decoding. Minima over the repeats, both taken in turn.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.machine import gemm_gflops, machine
from benchmarks.results import tell
from oscar.linear import linear

SHAPES = {"768 to 768": (768, 768), "768 to 3072": (768, 3072), "3072 to 768": (3072, 768)}
"""Name -> inputs and outputs of a layer of BERT-base."""
ROWS = (1, 2, 8, 10, 16, 40, 80, 160, 640)
WEIGHTS_BYTES = 150e6  # more than any cache holds
REPEATS = 20


def milliseconds(product: Callable[[Tensor, Tensor, Tensor], Tensor], rows: Tensor, weights: Tensor) -> float:
    """Of one pass through all the weights, for one product."""
    bias = torch.zeros(weights.shape[1])
    start = time.perf_counter()
    for weight in weights:
        product(rows, weight, bias)
    return (time.perf_counter() - start) * 1000 / len(weights)


@torch.inference_mode()
def compare(width_in: int, width_out: int) -> dict[str, dict[str, float]]:
    """Number of rows -> milliseconds of both, and how many times faster ours is."""
    weights = torch.randn(int(WEIGHTS_BYTES / 4 / width_in / width_out), width_out, width_in)
    found = {}
    for n_rows in ROWS:
        rows = torch.randn(n_rows, width_in)
        pairs = [
            (milliseconds(functional.linear, rows, weights), milliseconds(linear, rows, weights))
            for _ in range(REPEATS)
        ]
        theirs, ours = (min(column) for column in zip(*pairs, strict=True))
        found[str(n_rows)] = {
            "torch_ms": round(theirs, 3),
            "ours_ms": round(ours, 3),
            "times": round(theirs / ours, 2),
        }
    return found


def main() -> None:
    """Compare, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rows = {name: compare(*shape) for name, shape in SHAPES.items()}
    tell({"machine": machine(), "gemm_gflops": round(gemm_gflops(), 1), "rows": rows}, given.out)


if __name__ == "__main__":
    main()
