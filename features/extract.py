"""``python -m features.extract --images DIR``: the regions of every picture of a folder, in one HDF5 file.

Resumes by default: what is sealed is not done again, and pictures that were added since are extracted
and merged. Exit codes: 0 all pictures, 3 some could not be used (they are listed, and recorded in the
file), 2 wrong usage, 1 nothing could be done, 130 and 143 after SIGINT and SIGTERM (everything that was
done is sealed).
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from features.arguments import parse_config
from features.backends.base import BACKENDS, pick_device
from features.extraction import Extraction, Report, WorkerLost, peak_memory
from features.extractor import RegionExtractor
from features.images import IMAGE_SUFFIXES, FoundPictures, scan_images
from features.pipeline import default_workers
from features.progress import failure_lines, printable, say

__all__ = ["ExtractConfig", "RegionExtractor", "extract", "main"]

FATAL = 1


@dataclass(frozen=True, kw_only=True)
class ExtractConfig:
    """Find the regions of every picture in a folder and write one HDF5 file."""

    images: Path
    """Folder of pictures; folders inside it are searched too."""
    out: Path = Path("regions.h5")
    """The regions file; unfinished work is kept beside it in OUT.parts."""
    backend: str = "auto"
    """Detector: torchvision, mini, or auto (the best whose weights are on this machine)."""
    weights: Path | None = None
    """Weights file of the detector; torchvision also takes the names fasterrcnn_resnet50_fpn and
    fasterrcnn_resnet50_fpn_v2, and downloads them."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1."""
    batch_size: int = 8
    """Pictures a batch, at most; only pictures of one prepared shape share a batch."""
    workers: int | None = None
    """Processes that decode pictures; by default the cores less one, at most 8; 0 decodes in the main one."""
    shard_size: int = 512
    """Pictures a sealed shard; a crash loses at most so many."""
    limit: int | None = None
    """Only the first so many pictures, in the order of their names."""
    overwrite: bool = False
    """Delete OUT and OUT.parts and start over."""
    retry_failed: bool = False
    """Try pictures again that an earlier run recorded as failed."""

    def __post_init__(self) -> None:
        if self.backend != "auto" and self.backend not in BACKENDS:
            raise ValueError(
                f"unknown back end {self.backend!r}; choose from auto, {', '.join(sorted(BACKENDS))}"
            )
        if self.backend == "auto" and self.weights is not None:
            raise ValueError("weights belong to one back end: name it with --backend")
        for name, least in (("batch_size", 1), ("shard_size", 1), ("workers", 0), ("limit", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} must be {least} or more, got {value}")


def extract(config: ExtractConfig) -> Report:
    """Do what the command does, less its last words.

    Raises:
        OSError: No such folder, no pictures in it, or the disk.
        ValueError: Weights, a back end or an output that do not fit.
        WorkerLost: A decode process was killed.
    """
    found = scan_images(config.images)
    image_ids = found.image_ids[: config.limit]
    if not image_ids and not found.failed:
        raise FileNotFoundError(_nothing_found(config.images, found))
    if found.outside:
        say(f"{len(found.outside)} links lead out of {config.images} and are not followed")
    extractor = RegionExtractor(config.backend, config.weights, config.device)
    if config.backend == "auto":
        say(f"back end: {extractor.backend.name} (the best whose weights are on this machine)")
    return Extraction(
        root=config.images,
        image_ids=image_ids,
        unusable=found.failed,
        backend=extractor.backend,
        meta=extractor.meta(_run_record(config)),
        out=config.out,
        batch_size=config.batch_size,
        workers=default_workers() if config.workers is None else config.workers,
        shard_size=config.shard_size,
        overwrite=config.overwrite,
        retry_failed=config.retry_failed,
    ).run()


def _nothing_found(images: Path, found: FoundPictures) -> str:
    links = f"; {len(found.outside)} links lead out of it and are not followed" if found.outside else ""
    return f"{images}: no pictures here or below (looked for {' '.join(sorted(IMAGE_SUFFIXES))}{links})"


def _run_record(config: ExtractConfig) -> dict[str, Any]:
    """How the file comes about; recorded, and no part of the fingerprint."""
    device = pick_device(config.device)
    return {
        "images": str(config.images),
        "command": sys.argv,
        "time_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "versions": {
            name: _version(name) for name in ("tushuo", "torch", "torchvision", "pillow", "numpy", "h5py")
        },
        "cuda": torch.version.cuda,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "tf32": torch.backends.cudnn.allow_tf32,
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _summary(config: ExtractConfig, report: Report) -> Iterator[str]:
    yield from failure_lines(report.failed)
    n_ok, n_failed = report.ok, len(report.failed)
    if report.signal is not None:
        yield f"stopped: {n_ok} ok / {n_failed} failed so far, all sealed; run the same command to go on"
        return
    size = config.out.stat().st_size / 1e6
    yield f"{n_ok} ok / {n_failed} failed -> {printable(str(config.out))} ({size:.1f} MB)"
    if report.extracted == 0:
        yield "nothing to do: every picture was extracted before"
        return
    own, worker = peak_memory()
    yield (
        f"{report.extracted} pictures in {report.seconds:.1f} s: "
        f"{report.extracted / report.seconds:.1f} pictures/s, "
        f"{report.model_seconds / report.seconds:.0%} of the time in the model, peak memory {own:.0f} MB"
        + (f" (a decode process {worker:.0f} MB, mostly shared with it)" if worker else "")
    )


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    config: ExtractConfig = parse_config("features.extract", ExtractConfig, argv)
    try:
        report = extract(config)
    except (OSError, ValueError, WorkerLost) as error:
        sys.stderr.write(f"error: {printable(str(error))}\n")
        return FATAL
    for line in _summary(config, report):
        sys.stdout.write(line + "\n")
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
