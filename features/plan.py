"""From the settings of an extraction to the extraction: pictures found, detector loaded."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from features.backends.base import pick_device
from features.compression import chunked
from features.decoding import default_workers
from features.extract_config import ExtractConfig
from features.extraction import Counter, Extraction
from features.extractor import RegionExtractor
from features.given_boxes import GivenBoxes
from features.images import IMAGE_SUFFIXES, FoundPictures, scan_images
from features.progress import ExtractionProgress, say

__all__ = ["plan"]


def plan(
    config: ExtractConfig,
    progress: Callable[[int], AbstractContextManager[Counter]] = ExtractionProgress,
) -> Extraction:
    """What the settings mean.

    Args:
        config: With at most one device.
        progress: Makes the counter of so many pictures.

    Raises:
        OSError: No such folder, or no pictures in it.
        ValueError: Weights, a back end, options or boxes that do not fit, or a missing compression.
    """
    chunked(config.compression, (1, 1))  # said now, not after hours
    found = scan_images(config.images)
    image_ids = found.image_ids[: config.limit]
    if not image_ids and not found.failed:
        raise FileNotFoundError(_nothing_found(config.images, found))
    if found.outside:
        say(f"{len(found.outside)} links lead out of {config.images} and are not followed")
    boxes = GivenBoxes.load(config.boxes) if config.boxes is not None else None
    if boxes is not None and (unknown := boxes.unknown(image_ids)):
        say(f"{config.boxes}: boxes of {len(unknown)} pictures that are not here, {unknown[0]!r} for one")
    extractor = RegionExtractor(config.backend, config.weights, config.device, config.options)
    if config.backend == "auto":
        say(f"back end: {extractor.backend.name} (the best whose weights are on this machine)")
    meta = extractor.meta(_run_record(config))
    if boxes is not None:
        meta = replace(meta, description={**meta.description, "boxes": f"given, SHA-256 {boxes.sha256}"})
    return Extraction(
        root=config.images,
        image_ids=image_ids,
        unusable=found.failed,
        backend=extractor.backend,
        meta=meta,
        out=config.out,
        batch_size=config.batch_size,
        workers=default_workers(pick_device(config.device)) if config.workers is None else config.workers,
        shard_size=config.shard_size,
        shard=config.part,
        boxes=boxes,
        compression=config.compression,
        overwrite=config.overwrite,
        retry_failed=config.retry_failed,
        max_errors=config.errors_allowed,
        wait=config.wait,
        progress=progress,
    )


def _nothing_found(images: Path, found: FoundPictures) -> str:
    links = f"; {len(found.outside)} links lead out of it and are not followed" if found.outside else ""
    return f"{images}: no pictures here or below (looked for {' '.join(sorted(IMAGE_SUFFIXES))}{links})"


def _run_record(config: ExtractConfig) -> dict[str, Any]:
    """How the file comes about; recorded, and no part of the fingerprint."""
    device = pick_device(config.device)
    return {
        "images": str(config.images),
        "options": asdict(config.options),
        "command": sys.argv,
        "time_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "versions": {
            name: _version(name) for name in ("tushuo", "torch", "torchvision", "pillow", "numpy", "h5py")
        },
        "cuda": torch.version.cuda,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
