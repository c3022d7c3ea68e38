"""Room on the disk: what an extraction will write, known from its first pictures."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from features.locks import OutputError
from features.output import Output
from features.schema import Regions

__all__ = ["SAMPLE", "DiskNeed"]

SAMPLE = 20
"""Pictures that show how large the others will be."""
_TEXT_BYTES = 200  # a picture's id, digest, sizes and offset
_MB = 1e6


@dataclass(frozen=True, kw_only=True)
class DiskNeed:
    """Room that an output takes, in bytes; compression is not counted on.

    Attributes:
        parts: Sealed files that are still to be written.
        merged: The finished file, which stands beside them until it is complete.
        free: On the disk of the output.
    """

    parts: int
    merged: int
    free: int

    @staticmethod
    def of(output: Output, n_missing: int, sample: Sequence[Regions]) -> DiskNeed:
        """Estimate.

        Args:
            output: What is there already.
            n_missing: Pictures still to be extracted.
            sample: Some of them.
        """
        a_picture = sum(map(_bytes_of, sample)) / len(sample)
        parts = round(a_picture * n_missing)
        present = [*output.shards, output.path]
        return DiskNeed(
            parts=parts,
            merged=parts + sum(map(_size, present)),
            free=shutil.disk_usage(_existing(output.path.parent)).free,
        )

    @property
    def total(self) -> int:
        """At the end of the merge."""
        return self.parts + self.merged

    def check(self, out: Path) -> None:
        """Raises OutputError where the disk is too small."""
        if self.total > self.free:
            raise OutputError(
                f"{out}: will be {self.merged / _MB:.0f} MB, and as much again until it is merged "
                f"({self.total / _MB:.0f} MB in all); the disk has {self.free / _MB:.0f} MB free. Make room, "
                "choose an --out on another disk, or keep fewer regions (--selection.max_regions)."
            )

    def __str__(self) -> str:
        return (
            f"{self.merged / _MB:.0f} MB ({self.total / _MB:.0f} MB while it is merged; "
            f"{self.free / _MB:.0f} MB free)"
        )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # not yet, or merged by another shard just now
        return 0


def _existing(folder: Path) -> Path:
    """The folder, or the nearest above it that is there already."""
    return next(place for place in (folder, *folder.absolute().parents) if place.exists())


def _bytes_of(regions: Regions) -> int:
    arrays = (getattr(regions, field.name) for field in fields(regions))
    return _TEXT_BYTES + sum(array.nbytes for array in arrays if isinstance(array, np.ndarray))
