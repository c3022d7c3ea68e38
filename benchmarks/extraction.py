"""How fast pictures become regions, beside the decoding of pictures and the detector, each alone.

    python -m benchmarks.extraction --out benchmarks/results/extraction.json

The detector is replaced by one that only waits, so many pictures a second, as a GPU would; the samples are
repeated as hard links. Measured is the extraction of the command, from its start to the last sealed file: its
rate over the smaller of the detector's and of the decode processes' alone (their first picture to their last,
before and after). `extraction_cpu` measures a real detector, `extraction_peers` a plain loop.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.captioning_at_scale import link_samples
from benchmarks.machine import machine
from benchmarks.results import tell
from benchmarks.waiting_detector import Waiting
from features.backends.base import Backend
from features.backends.mini import SquashPreprocessor
from features.decoding import Failure, decode_pictures, default_workers
from features.extraction import Extraction
from features.images import find_images
from features.report import Report
from features.schema import StoreMeta

RATES = (20, 100, 300)
"""Pictures a second of the detector that only waits."""
SECONDS = 60
"""At each of these rates: starting and sealing the last file take half a second, however many pictures."""
GPU = torch.device("cuda")
"""What the detector that only waits stands for."""
BATCH = 8
SHARD_SIZE = 384
"""Pictures a sealed file, and dealt to a process at a time: of 768 two processes get as many each."""
ALONE = 680
"""Pictures that show the rate of the decode processes."""


def extract(backend: Backend, device: torch.device, root: Path, image_ids: list[str]) -> Report:
    """What the command does, once its detector is loaded."""
    meta = StoreMeta(
        backend=backend.name,
        description=backend.description(),
        vocabulary=backend.vocabulary,
        vocabulary_id=backend.vocabulary_id,
        feature_dim=backend.feature_dim,
    )
    with tempfile.TemporaryDirectory(dir=root.parent) as folder:
        report = Extraction(
            root=root,
            image_ids=image_ids,
            unusable={},
            backend=backend,
            meta=meta,
            out=Path(folder, "regions.h5"),
            batch_size=BATCH,
            workers=default_workers(device),
            shard_size=SHARD_SIZE,
        ).run()
    if report.failed or report.signal is not None:
        sys.exit(f"the extraction failed: {report.failed}")
    return report


def shares(report: Report) -> dict[str, float]:
    """Where an extraction's time went."""
    return {
        "model": round(report.model_seconds / report.seconds, 3),
        "waiting for pictures": round(report.waiting_seconds / report.seconds, 3),
        "waiting for the disk": round(report.writing_seconds / report.seconds, 3),
        "merging": round(report.merge_seconds / report.seconds, 3),
    }


def with_waiting_detector(root: Path, image_ids: list[str]) -> dict[str, Any]:
    """The pipeline beside its slower half alone, at several speeds of the detector."""

    def decode_alone() -> float:
        times = []
        for item in decode_pictures(root, image_ids[:ALONE], SquashPreprocessor(), default_workers(GPU)):
            times.append(time.perf_counter())
            if isinstance(item, Failure):
                sys.exit(f"{item.image_id}: {item.reason}")
        return (len(times) - 1) / (times[-1] - times[0])

    found: dict[str, Any] = {"decode_processes": default_workers(GPU)}
    before = decode_alone()
    for rate in RATES:
        names = image_ids[: int(SECONDS * min(rate, before))]
        report = extract(Waiting(rate), GPU, root, names)
        after = decode_alone()
        reached = len(names) / (report.seconds - report.merge_seconds)
        alone = (before + after) / 2
        found[f"{rate} pictures/s"] = {
            "pictures": len(names),
            "decode_alone_per_second": round(alone, 1),
            "pipeline_per_second": round(reached, 1),
            "pipeline_and_merge_per_second": round(len(names) / report.seconds, 1),
            "of_the_slower_alone": round(reached / min(rate, alone), 3),
            "shares": shares(report),
        }
        before = after
    return found


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=".", prefix=".extraction-") as folder:
        root = Path(folder, "links")
        link_samples(root, SECONDS * max(RATES))
        result = {
            "what": f"samples repeated, batches of {BATCH}, a finished regions file",
            "machine": machine(),
            "detector that waits": with_waiting_detector(root, find_images(root)),
        }
    tell(result, arguments.out)


if __name__ == "__main__":
    main()
