"""How far boxes overlap, in numpy; what detectors suppress by is in ``features.suppression``."""

from __future__ import annotations

import numpy as np

__all__ = ["box_iou"]


def box_iou(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """(N, 4) and (M, 4) xyxy boxes -> (N, M) intersection over union; 0 for boxes without area."""
    ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
    upper = np.minimum(ours[:, None, 2:], theirs[None, :, 2:])
    lower = np.maximum(ours[:, None, :2], theirs[None, :, :2])
    shared = (upper - lower).clip(min=0).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).clip(min=0).prod(axis=1) for boxes in (ours, theirs)]
    union = areas[0][:, None] + areas[1][None, :] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
