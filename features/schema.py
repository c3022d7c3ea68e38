"""What a regions file holds (schema ``region-features``, version 1): names, types, one picture's record.

One HDF5 file, ragged by offsets: picture i owns rows ``offsets[i]:offsets[i + 1]`` of every row dataset.

=================  ==============  =====================================================================
``features``       (N, D) f2       appearance vectors, score-descending within a picture
``boxes``          (N, 4) f4       xyxy in pixels of the upright original
``geometry``       (N, 6) f4       x1/W y1/H x2/W y2/H w/W h/H
``object_ids``     (N,) i4         rows of ``vocab/objects``; background is never stored
``object_scores``  (N,) f4         in [0, 1]
``globals``        (M, D) f2       optional: the whole picture's vector
``offsets``        (M + 1,) i8     0 regions are legal
``image_ids``      (M,) UTF-8      relative POSIX paths with suffix
``image_sizes``    (M, 2) i4       height, width
``image_sha256``   (M, 32) u1      of the picture file; zeros where it did not come from a file
``failed/``        paths, reasons  pictures that could not be used
``vocab/objects``  (C,) UTF-8      English class names
=================  ==============  =====================================================================

Root attributes carry the format, the counts, the detector's description, the fingerprint and, written
last, ``complete`` = 1. Every numeric dataset carries the CRC-32 of its bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = [
    "GLOBAL_GEOMETRY",
    "Regions",
    "StoreError",
    "StoreMeta",
    "box_geometry",
    "check_regions",
    "dataset_types",
]

FORMAT = "region-features"
VERSION = 1
DTYPE = "float16"
GLOBAL_GEOMETRY = (0.0, 0.0, 1.0, 1.0, 1.0, 1.0)
"""Geometry of the whole picture, as of a region that covers it."""

ROW_DATASETS = ("features", "boxes", "geometry", "object_ids", "object_scores")
IMAGE_DATASETS = ("image_sizes", "image_sha256", "globals")


class StoreError(ValueError):
    """A regions file that cannot be trusted or does not fit; the message says what to do."""


def dataset_types(feature_dim: int) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
    """Type and shape (less the first dimension) of every numeric dataset."""
    return {
        "features": (np.dtype("<f2"), (feature_dim,)),
        "boxes": (np.dtype("<f4"), (4,)),
        "geometry": (np.dtype("<f4"), (6,)),
        "object_ids": (np.dtype("<i4"), ()),
        "object_scores": (np.dtype("<f4"), ()),
        "image_sizes": (np.dtype("<i4"), (2,)),
        "image_sha256": (np.dtype("u1"), (32,)),
        "globals": (np.dtype("<f2"), (feature_dim,)),
        "offsets": (np.dtype("<i8"), ()),
    }


@dataclass(frozen=True, kw_only=True, eq=False)
class Regions:
    """The regions of one picture, score-descending.

    Attributes:
        image_id: Relative POSIX path with suffix.
        width, height: Pixels of the upright original.
        features: (R, D) float16 appearance vectors.
        boxes: (R, 4) float32, xyxy in pixels.
        geometry: (R, 6) float32, see :func:`box_geometry`.
        object_ids: (R,) int32, rows of the vocabulary.
        object_scores: (R,) float32 in [0, 1].
        global_feature: (D,) float16, the whole picture's vector, where the detector gives one.
        image_sha256: Digest (32 bytes) of the picture's file, where it came from one.
    """

    image_id: str
    width: int
    height: int
    features: np.ndarray
    boxes: np.ndarray
    geometry: np.ndarray
    object_ids: np.ndarray
    object_scores: np.ndarray
    global_feature: np.ndarray | None = None
    image_sha256: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class StoreMeta:
    """What is true of every picture of a regions file.

    Attributes:
        backend: The detector's name.
        description: All that changes the numbers (weights, profile, selection), JSON-able.
        vocabulary: English class names; object id i is ``vocabulary[i]``.
        vocabulary_id: Names the class list and its lexicon.
        feature_dim: D.
        run: How the file came about (versions, device, command, time); no part of the fingerprint.
    """

    backend: str
    description: Mapping[str, Any]
    vocabulary: tuple[str, ...]
    vocabulary_id: str
    feature_dim: int
    run: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all that changes the numbers: equal fingerprints may share a file."""
        covered = {
            "format": FORMAT,
            "version": VERSION,
            "dtype": DTYPE,
            "backend": self.backend,
            "description": self.description,
            "vocabulary": list(self.vocabulary),
            "vocabulary_id": self.vocabulary_id,
            "feature_dim": self.feature_dim,
        }
        return hashlib.sha256(canonical_json(covered).encode("utf-8")).hexdigest()


def canonical_json(value: object) -> str:
    """JSON with one spelling a value, so that it can be hashed."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def box_geometry(boxes: np.ndarray, width: int, height: int) -> np.ndarray:
    """Box numbers of Oscar and VinVL: x1/W y1/H x2/W y2/H w/W h/H.

    Args:
        boxes: (R, 4) xyxy in pixels.
        width: W of the picture.
        height: H of the picture.

    Returns:
        (R, 6) float32; width before height, as VinVL's released features have it.
    """
    scaled = np.asarray(boxes, np.float32) / np.array([width, height, width, height], np.float32)
    return np.concatenate([scaled, scaled[:, 2:] - scaled[:, :2]], axis=1)


def check_regions(regions: Regions, feature_dim: int, n_classes: int) -> None:
    """Prove that one picture's record fits the schema.

    Raises:
        ValueError: What does not fit, without the picture's name.
    """
    n_regions = len(regions.features)
    types = dataset_types(feature_dim)
    for name in ROW_DATASETS:
        array, (dtype, shape) = getattr(regions, name), types[name]
        if array.dtype != dtype or array.shape != (n_regions, *shape):
            raise ValueError(
                f"{name} is {array.dtype} {array.shape}, wanted is {dtype} {(n_regions, *shape)}"
            )
        if dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"{name} holds NaN, or numbers beyond the range of {dtype}")
    if regions.global_feature is not None:
        if regions.global_feature.dtype != np.float16 or regions.global_feature.shape != (feature_dim,):
            raise ValueError(f"the global vector is not float16 of width {feature_dim}")
        if not np.isfinite(regions.global_feature).all():
            raise ValueError("the global vector holds NaN, or numbers beyond the range of float16")
    if regions.width < 1 or regions.height < 1:
        raise ValueError(f"the picture is {regions.width} pixels wide and {regions.height} high")
    if n_regions and not 0 <= regions.object_ids.min() <= regions.object_ids.max() < n_classes:
        raise ValueError(
            f"object ids {regions.object_ids.min()}..{regions.object_ids.max()} of {n_classes} classes"
        )
    if (np.diff(regions.object_scores) > 0).any():
        raise ValueError("regions are not in descending order of score")
