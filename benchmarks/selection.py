"""Region selection against one compiled suppression a class, on the same pictures in the same run.

    OMP_NUM_THREADS=1 python -m benchmarks.selection --out benchmarks/results/selection.json

The rival is what the published extractors do: 1,600 calls of a compiled suppression (torchvision's here,
with the last pixel counted and 0.3 itself suppressing), then the best surviving class of each box. Both
must keep the same rows. Pictures are random: 300 boxes in clusters around 40 things, whose class
distributions are sharp (as a trained detector's), weak (fewer than 10 regions pass 0.2) or flat (as an
untrained one's; every pair has to be looked at).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import nms

from benchmarks.machine import machine
from benchmarks.results import tell
from features.regions import PROFILES, select_regions

N_BOXES, N_CLASSES, N_THINGS = 300, 1600, 40
PICTURES = {"sharp": 3.0, "weak": 1.0, "flat": 0.01}
REPEATS = 10


def picture(sharpness: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Class probabilities (N, C) and boxes (N, 4) of one picture."""
    generator = torch.Generator().manual_seed(seed)
    things = torch.randint(0, N_THINGS, (N_BOXES,), generator=generator)
    centre = (torch.rand(N_THINGS, 2, generator=generator) * 600 + 100)[things]
    centre = centre + torch.randn(N_BOXES, 2, generator=generator) * 20
    side = (torch.rand(N_THINGS, 2, generator=generator) * 150 + 30)[things]
    side = side * (1 + 0.2 * torch.randn(N_BOXES, 2, generator=generator)).clamp(min=0.5)
    logits = torch.randn(N_THINGS, N_CLASSES, generator=generator)[things]
    logits = logits + torch.randn(N_BOXES, N_CLASSES, generator=generator)
    foreground = torch.rand(N_BOXES, 1, generator=generator)
    boxes = torch.cat([centre - side / 2, centre + side / 2], dim=1)
    return (logits * sharpness).softmax(dim=1) * foreground, boxes.clamp(0, 800)


def one_call_a_class(probabilities: Tensor, boxes: Tensor) -> list[int]:
    """Rows that VinVL's rule keeps, by a loop over classes."""
    rule = PROFILES["vinvl"]
    with_last_pixel = boxes + torch.tensor([0.0, 0.0, 1.0, 1.0])
    just_below = float(np.nextafter(rule.nms_iou, 0))
    strength = torch.zeros(len(boxes))
    for scores in probabilities.T.contiguous():
        left = nms(with_last_pixel, scores, just_below)
        strength[left] = torch.maximum(strength[left], scores[left])
    best = strength.sort(descending=True, stable=True)
    n_sure = int((best.values >= rule.min_score).sum())
    return best.indices[: min(max(n_sure, rule.min_regions), rule.max_regions)].tolist()


def ours(probabilities: Tensor, boxes: Tensor) -> list[int]:
    """The same by ``features.regions``."""
    return select_regions(probabilities, boxes, PROFILES["vinvl"]).rows.tolist()


def milliseconds(select: Callable[[Tensor, Tensor], list[int]], inputs: tuple[Tensor, Tensor]) -> float:
    """The shortest of some runs."""
    shortest = float("inf")
    for _ in range(REPEATS):
        start = time.perf_counter()
        select(*inputs)
        shortest = min(shortest, time.perf_counter() - start)
    return round(shortest * 1e3, 2)


def main() -> None:
    """Measure all pictures, print and write the comparison."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    pictures: dict[str, Any] = {}
    for name, sharpness in PICTURES.items():
        inputs = picture(sharpness)
        kept = ours(*inputs)
        if kept != one_call_a_class(*inputs):
            raise SystemExit(f"{name}: both do not keep the same regions")
        loop, mine = milliseconds(one_call_a_class, inputs), milliseconds(ours, inputs)
        pictures[name] = {
            "pairs_above_min_score": int((inputs[0] >= PROFILES["vinvl"].min_score).sum()),
            "kept": len(kept),
            "loop_ms": loop,
            "ours_ms": mine,
            "speed_up": round(loop / mine, 1),
        }
    result = {
        "what": f"profile vinvl, {N_BOXES} boxes x {N_CLASSES} classes, one thread, shortest of {REPEATS}",
        "command": "OMP_NUM_THREADS=1 python -m benchmarks.selection",
        "machine": machine(),
        "pictures": pictures,
    }
    tell(result, arguments.out)


if __name__ == "__main__":
    main()
