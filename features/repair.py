"""What can be saved of a damaged regions file, written as a new one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from features.schema import Regions, box_geometry
from features.shards import merge_shards, write_shard
from features.verification import Examined

__all__ = ["repair"]

_PICTURES_A_SHARD = 512


def repair(found: Examined, out: Path) -> int:
    """Write the good pictures; geometry is recomputed, and bad pictures become failures.

    Args:
        found: Of :func:`features.verification.examine`; ``found.repairable`` must hold.
        out: Must not exist.

    Returns:
        How many pictures were saved.

    Raises:
        FileExistsError: ``out`` is there already.
        ValueError: The file cannot be repaired, or no picture of it is good.
    """
    file = found.file
    if file is None or not found.repairable:
        fatal = [problem.what for problem in found.problems if not problem.cure]
        raise ValueError(f"{found.path}: cannot be repaired: {'; '.join(fatal)}")
    if out.exists():
        raise FileExistsError(f"{out}: is there already and is not replaced; name another output")
    if "geometry" not in file.rows:  # it is recomputed anyway
        file.per_region.append(("geometry", np.zeros((int(file.offsets[-1]), 6), np.float32)))
    good = [row for row in range(len(file.image_ids)) if row not in found.bad_rows]
    if not good:
        raise ValueError(f"{found.path}: no picture of it is good")
    saved = {file.image_ids[row] for row in good}
    failed = {name: reason for name, reason in file.failed.items() if name not in saved}
    for row, what in found.bad_rows.items():
        if (name := file.image_ids[row]) and name not in saved:
            failed[name] = f"left out of a damaged file: {what}"
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        shards: list[Path] = []
        for records in _in_shards(_records(found, good)):
            shards.append(Path(folder, f"{len(shards)}.h5"))
            write_shard(shards[-1], records, file.meta, {} if len(shards) > 1 else failed)
        merge_shards(shards, out)
    return len(good)


def _records(found: Examined, rows: Sequence[int]) -> Iterator[Regions]:
    assert found.file is not None  # noqa: S101  (it is repairable)
    for row in rows:
        regions = found.file.regions(row)
        geometry = box_geometry(regions.boxes, regions.width, regions.height)
        yield replace(regions, geometry=geometry)


def _in_shards(records: Iterator[Regions]) -> Iterator[list[Regions]]:
    while shard := list(islice(records, _PICTURES_A_SHARD)):
        yield shard
