"""What changes when pictures pass through 224 x 224: two regions files of the same pictures, compared.

    python -m features.extract --images originals --backend mini --out originals.h5
    python -m features.extract --images copies --backend mini --out copies.h5
    python -m benchmarks.two_copies originals.h5 copies.h5 --out benchmarks/results/two_copies.json

Boxes are compared in shares of the picture, so that a squashed copy and its original agree where they see
the same.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torchvision.ops import box_iou

from benchmarks.results import tell
from features.store import Regions, RegionStore

SURE = 0.3  # score from which a region is expected again
OVERLAP = 0.5  # IoU from which two boxes are the same place


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Cosine of the angle between two vectors."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def found_again(one: Regions, other: Regions) -> list[float]:
    """For every sure region of one picture: cosine to the same thing in the other, NaN where it is gone."""
    rows = np.flatnonzero(one.object_scores >= SURE)
    if not len(rows) or not len(other.boxes):
        return [float("nan")] * len(rows)
    overlaps = box_iou(
        torch.from_numpy(one.geometry[rows, :4]), torch.from_numpy(other.geometry[:, :4])
    ).numpy()
    overlaps[one.object_ids[rows][:, None] != other.object_ids[None]] = 0
    best = overlaps.argmax(1)
    return [
        cosine(one.features[row], other.features[match]) if overlap[match] >= OVERLAP else float("nan")
        for row, match, overlap in zip(rows, best, overlaps, strict=True)
    ]


def main() -> None:
    """Compare, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("one", type=Path)
    parser.add_argument("other", type=Path)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with RegionStore(arguments.one) as one, RegionStore(arguments.other) as other:
        pairs = [(one.regions(i), other.regions(i)) for i in one.image_ids]
    wholes = [
        cosine(a.global_feature, b.global_feature)
        for a, b in pairs
        if a.global_feature is not None and b.global_feature is not None
    ]
    regions = np.array([value for a, b in pairs for value in found_again(a, b)])
    result = {
        "pictures": len(pairs),
        "cosine_of_whole_picture_vectors": {
            "median": round(float(np.median(wholes)), 4),
            "lowest_tenth": round(float(np.quantile(wholes, 0.1)), 4),
        },
        f"regions_scored_{SURE}_or_more": len(regions),
        f"found_again_same_class_iou_{OVERLAP}": round(float(np.isfinite(regions).mean()), 4),
        "cosine_of_region_vectors_median": round(float(np.nanmedian(regions)), 4),
    }
    tell(result, arguments.out)


if __name__ == "__main__":
    main()
