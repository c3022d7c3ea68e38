"""What a regions file holds (schema ``region-features``, version 1): names, types, one picture's record.

One HDF5 file, ragged by offsets: picture i owns rows ``offsets[i]:offsets[i + 1]`` of every row dataset.

===================  ==============  ===================================================================
``features``         (N, D) f2       appearance vectors, score-descending within a picture
``boxes``            (N, 4) f4       xyxy in pixels of the upright original
``geometry``         (N, 6) f4       x1/W y1/H x2/W y2/H w/W h/H
``object_ids``       (N,) i4         rows of ``vocab/objects``; background is never stored
``object_scores``    (N,) f4         in [0, 1]
``attribute_ids``    (N,) i4         optional: rows of ``vocab/attributes``, -1 for none of them
``attribute_scores`` (N,) f4         optional, with them: in [0, 1]
``class_ids``        (N, K) i4       optional: the K best classes of each region, best first
``class_scores``     (N, K) f2       optional, with them: in [0, 1]
``globals``          (M, D) f2       optional: the whole picture's vector
``num_proposals``    (M,) i4         optional: of how many proposals the regions were chosen
``offsets``          (M + 1,) i8     0 regions are legal
``image_ids``        (M,) UTF-8      relative POSIX paths with suffix
``image_sizes``      (M, 2) i4       height, width
``image_sha256``     (M, 32) u1      of the picture file; zeros where it did not come from a file
``failed/``          paths, reasons  pictures that could not be used
``vocab/objects``    (C,) UTF-8      English class names
``vocab/attributes`` (A,) UTF-8      optional, with ``attribute_ids``: English attribute names
===================  ==============  ===================================================================

What is optional, all pictures of a file have or none. It changes no other number, so it is no part of
the fingerprint. ``features`` are contiguous, or compressed with zstd in chunks of 32 rows.

Root attributes carry the format, the counts, the detector's description, the fingerprint and, written
last, ``complete`` = 1. Every dataset carries the CRC-32 of its bytes.
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
    "IMPORTED",
    "Layout",
    "Regions",
    "StoreError",
    "StoreMeta",
    "box_geometry",
    "check_regions",
    "common_layout",
    "dataset_types",
]

FORMAT = "region-features"
VERSION = 1
IMPORTED = "oscar-tsv"
"""Stands for the detector in files that were imported from others' features, not extracted."""
DTYPE = "float16"
GLOBAL_GEOMETRY = (0.0, 0.0, 1.0, 1.0, 1.0, 1.0)
"""Geometry of the whole picture, as of a region that covers it."""

ROW_DATASETS = (
    "features",
    "boxes",
    "geometry",
    "object_ids",
    "object_scores",
    "attribute_ids",
    "attribute_scores",
    "class_ids",
    "class_scores",
)
IMAGE_DATASETS = ("image_sizes", "image_sha256", "globals", "num_proposals")
OPTIONAL_DATASETS = (
    "attribute_ids",
    "attribute_scores",
    "class_ids",
    "class_scores",
    "globals",
    "num_proposals",
)

KNOWN_NAMES = (*ROW_DATASETS, *IMAGE_DATASETS, "offsets", "image_ids", "failed", "vocab")
"""All that the root of a file may hold."""
PAIRS = (("attribute_ids", "attribute_scores"), ("class_ids", "class_scores"))
"""Optional datasets that come together."""
RECORD_FIELDS = {name: name for name in OPTIONAL_DATASETS} | {"globals": "global_feature"}
"""Optional dataset -> field of :class:`Regions`."""


class StoreError(ValueError):
    """A regions file that cannot be trusted or does not fit; the message says what to do."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What of the optional pictures have; the same for all pictures of a file.

    Attributes:
        optional: Names of ``OPTIONAL_DATASETS``, in its order.
        class_topk: K, where ``class_ids`` is among them.
    """

    optional: tuple[str, ...] = ()
    class_topk: int = 0

    def __str__(self) -> str:
        names = [f"{self.class_topk} {name}" if name == "class_ids" else name for name in self.optional]
        return ", ".join(names) or "none of the optional datasets"


def common_layout(owners: Mapping[Layout, object]) -> Layout:
    """The one layout of all.

    Args:
        owners: Layout -> something that has it, named in the message.

    Raises:
        StoreError: There are several.
    """
    if len(owners) > 1:
        (one, its), (other, theirs) = list(owners.items())[:2]
        raise StoreError(
            f"pictures of one file have the same datasets: {its} has {one}; {theirs} has {other}. "
            "Extract all of them with the same options."
        )
    return next(iter(owners), Layout())


def dataset_types(
    feature_dim: int, layout: Layout = Layout()
) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
    """Type and shape (less the first dimension) of the numeric datasets of a file."""
    types: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {
        "features": (np.dtype("<f2"), (feature_dim,)),
        "boxes": (np.dtype("<f4"), (4,)),
        "geometry": (np.dtype("<f4"), (6,)),
        "object_ids": (np.dtype("<i4"), ()),
        "object_scores": (np.dtype("<f4"), ()),
        "attribute_ids": (np.dtype("<i4"), ()),
        "attribute_scores": (np.dtype("<f4"), ()),
        "class_ids": (np.dtype("<i4"), (layout.class_topk,)),
        "class_scores": (np.dtype("<f2"), (layout.class_topk,)),
        "image_sizes": (np.dtype("<i4"), (2,)),
        "image_sha256": (np.dtype("u1"), (32,)),
        "globals": (np.dtype("<f2"), (feature_dim,)),
        "num_proposals": (np.dtype("<i4"), ()),
        "offsets": (np.dtype("<i8"), ()),
    }
    absent = set(OPTIONAL_DATASETS).difference(layout.optional)
    return {name: kind for name, kind in types.items() if name not in absent}


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
        attribute_ids: (R,) int32, rows of the attribute vocabulary, -1 for none of them; where asked for.
        attribute_scores: (R,) float32 in [0, 1], beside ``attribute_ids``.
        class_ids: (R, K) int32, the K best classes of each region, best first; where asked for.
        class_scores: (R, K) float16 in [0, 1], beside ``class_ids``.
        global_feature: (D,) float16, the whole picture's vector, where the detector gives one.
        num_proposals: Of how many proposals the regions were chosen, where the detector tells.
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
    attribute_ids: np.ndarray | None = None
    attribute_scores: np.ndarray | None = None
    class_ids: np.ndarray | None = None
    class_scores: np.ndarray | None = None
    global_feature: np.ndarray | None = None
    num_proposals: int | None = None
    image_sha256: bytes | None = None

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Regions:
        """The same as ``Regions(**fields)``, five times as fast, for the reader.

        A frozen dataclass sets its fields one by one through ``object.__setattr__``, which takes as long as
        a third of the reading of 36 regions; what is left out has its default from the class.
        """
        regions = object.__new__(cls)
        regions.__dict__.update(fields)
        return regions

    @property
    def layout(self) -> Layout:
        """What of the optional it has."""
        held = (name for name in OPTIONAL_DATASETS if getattr(self, RECORD_FIELDS[name]) is not None)
        return Layout(
            optional=tuple(held), class_topk=0 if self.class_ids is None else self.class_ids.shape[-1]
        )


@dataclass(frozen=True, kw_only=True)
class StoreMeta:
    """What is true of every picture of a regions file.

    Attributes:
        backend: The detector's name.
        description: All that changes the numbers (weights, profile, selection), JSON-able.
        vocabulary: English class names; object id i is ``vocabulary[i]``.
        vocabulary_id: Names the class list and its lexicon.
        feature_dim: D.
        attribute_vocabulary: English attribute names, where regions may carry attributes; no part of the
            fingerprint, nor are attributes.
        run: How the file came about (versions, device, command, time); no part of the fingerprint.
    """

    backend: str
    description: Mapping[str, Any]
    vocabulary: tuple[str, ...]
    vocabulary_id: str
    feature_dim: int
    attribute_vocabulary: tuple[str, ...] = ()
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


def box_geometry(boxes: np.ndarray, width: int | np.ndarray, height: int | np.ndarray) -> np.ndarray:
    """Box numbers of Oscar and VinVL: x1/W y1/H x2/W y2/H w/W h/H.

    Args:
        boxes: (R, 4) xyxy in pixels.
        width: W of the picture, or (R,) of the picture of each box.
        height: H, likewise.

    Returns:
        (R, 6) float32; width before height, as VinVL's released features have it.
    """
    sides = np.stack(np.broadcast_arrays(width, height, width, height), axis=-1).astype(np.float32)
    scaled = np.asarray(boxes, np.float32) / sides
    return np.concatenate([scaled, scaled[:, 2:] - scaled[:, :2]], axis=1)


def check_regions(regions: Regions, feature_dim: int, n_classes: int, n_attributes: int = 0) -> None:
    """Prove that one picture's record fits the schema.

    Raises:
        ValueError: What does not fit, without the picture's name.
    """
    if regions.width < 1 or regions.height < 1:
        raise ValueError(f"the picture is {regions.width} pixels wide and {regions.height} high")
    _check_pairs(regions)
    n_regions = len(regions.features)
    for name, (dtype, shape) in dataset_types(feature_dim, regions.layout).items():
        if name in ROW_DATASETS:
            _check_array(name, getattr(regions, name), dtype, (n_regions, *shape))
        elif name == "globals":
            _check_array("the global vector", regions.global_feature, dtype, shape)
    _check_ids("object", regions.object_ids, 0, n_classes)
    _check_ids("class", regions.class_ids, 0, n_classes)
    _check_ids("attribute", regions.attribute_ids, -1, n_attributes)
    if (np.diff(regions.object_scores) > 0).any():
        raise ValueError("regions are not in descending order of score")


def _check_pairs(regions: Regions) -> None:
    for ids, scores in PAIRS:
        if (getattr(regions, ids) is None) != (getattr(regions, scores) is None):
            raise ValueError(f"{ids} and {scores} come together or not at all")


def _check_array(name: str, array: np.ndarray | None, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    assert array is not None  # noqa: S101  (it is among the datasets that the record has)
    if array.dtype != dtype or array.shape != shape:
        raise ValueError(f"{name} is {array.dtype} {array.shape}, wanted is {dtype} {shape}")
    if dtype.kind == "f" and not _is_finite(array):
        raise ValueError(f"{name} holds NaN, or numbers beyond the range of {dtype}")


def _is_finite(array: np.ndarray) -> bool:
    if array.dtype == np.float16:  # numpy's own takes eight times as long for these
        exponents = array.view(np.uint16) & 0x7C00
        return not (exponents == 0x7C00).any()
    return bool(np.isfinite(array).all())


def _check_ids(kind: str, ids: np.ndarray | None, least: int, end: int) -> None:
    if ids is not None and ids.size and not least <= ids.min() <= ids.max() < end:
        names = {"object": "classes", "class": "classes", "attribute": "attributes"}[kind]
        raise ValueError(f"{kind} ids {ids.min()}..{ids.max()} of {end} {names}")
