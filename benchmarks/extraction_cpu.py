"""Extraction on a processor: its wall time over the CPU seconds that the work itself takes.

    python -m benchmarks.extraction_cpu --out benchmarks/results/extraction_cpu.json

The mini detector on repeated samples, in one process, which works on two batches side by side, and in one a
core (--devices cpu,cpu): wall time, of processes that start afresh, over the CPU seconds of decoding and of
the detector, each alone, before and after, spread over all cores; and where the time went. What is alone has
caches and memory for itself; so the one process is also asked for how much of all cores' time it was busy.
With a GPU the same program measures it; the CPU seconds then are of the processor's part alone.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from benchmarks.captioning_at_scale import link_samples
from benchmarks.extraction import BATCH, SHARD_SIZE, extract, shares
from benchmarks.machine import machine
from benchmarks.results import tell
from features.backends.base import Backend, load_backend, pick_device
from features.decoding import Failure, PictureDataset, cores
from features.devices import extract_on_devices
from features.extract_config import ExtractConfig
from features.images import find_images
from features.pipeline import form_batches
from features.report import Report

ROUNDS = 2


def afresh(backend: str, weights: Path | None, root: Path, image_ids: list[str]) -> tuple[Report, float]:
    """An extraction in a process of its own, as the command's is; and the CPU seconds that it took.

    One that has used a detector holds much memory, all of which its decode processes would share: each page
    that the detector then writes to would be copied first.
    """
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(_afresh, backend, weights, root, image_ids).result()


def _afresh(backend: str, weights: Path | None, root: Path, image_ids: list[str]) -> tuple[Report, float]:
    loaded = load_backend(backend, weights)
    before = _cpu_seconds_so_far()
    report = extract(loaded, pick_device("auto"), root, image_ids)
    return report, _cpu_seconds_so_far() - before


def _cpu_seconds_so_far() -> float:
    """Of this process and of those that it has seen end."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def with_mini_detector(root: Path, image_ids: list[str], processes: int) -> dict[str, Any]:
    """Wall time beside the CPU seconds that the work takes, in rounds: the machine has slow phases.

    Args:
        root: folder of the pictures.
        image_ids: of all rounds.
        processes: 1, whose detector uses all cores, or as many as there are cores, each with its detector
            and its decode process (--devices cpu,cpu).
    """
    backend, device = load_backend("mini"), pick_device("auto")
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads // processes))
    cpu_seconds(backend, root, image_ids[:BATCH])  # warm
    decoding = detecting = 0.0
    rounds = []
    for number in range(ROUNDS):
        names = image_ids[number::ROUNDS]
        half = len(names) // 2
        before = cpu_seconds(backend, root, names[:half])
        if processes == 1:
            report, own = afresh("mini", None, root, names)
        else:
            report, own = on_cores(root, names, processes), None  # whose start cannot be told apart
        after = cpu_seconds(backend, root, names[half:])
        decoding += before[0] + after[0]
        detecting += before[1] + after[1]
        rounds.append((report, sum(before + after), own))
    torch.set_num_threads(threads)
    wall = sum(report.seconds for report, _, _ in rounds)
    return {
        "device": str(device),
        "cores": cores(),
        "processes": processes,
        "pictures": len(image_ids),
        "cpu_seconds_decoding": round(decoding, 2),
        "cpu_seconds_detector": round(detecting, 2),
        "wall_seconds": round(wall, 2),
        "wall_over_cpu_seconds_per_core": round(wall * cores() / (decoding + detecting), 3),
        "of each round": [round(report.seconds * cores() / cpu, 3) for report, cpu, _ in rounds],
        "busy": [round(own / report.seconds / cores(), 3) for report, _, own in rounds if own is not None],
        "pictures_per_second": round(len(image_ids) / wall, 2),
        "shares of the last round": shares(rounds[-1][0]),
    }


def on_cores(root: Path, image_ids: list[str], processes: int) -> Report:
    """An extraction by several processes on the CPU, as the command runs it with --devices."""
    with tempfile.TemporaryDirectory(dir=root.parent) as folder:
        images = Path(folder, "images")
        for image_id in image_ids:
            link = images / image_id
            link.parent.mkdir(parents=True, exist_ok=True)
            link.hardlink_to(root / image_id)
        config = ExtractConfig(
            images=images,
            out=Path(folder, "regions.h5"),
            backend="mini",
            batch_size=BATCH,
            shard_size=SHARD_SIZE,
        )
        return extract_on_devices(config, ["cpu"] * processes)


def cpu_seconds(backend: Backend, root: Path, image_ids: list[str]) -> tuple[float, float]:
    """CPU seconds of decoding, and of the detector, one after the other."""
    pictures = PictureDataset(root, image_ids, backend.preprocessor)
    decoding = detecting = 0.0
    for start in range(0, len(image_ids), BATCH):
        began = time.process_time()
        decoded = [pictures[number] for number in range(start, min(start + BATCH, len(image_ids)))]
        decoding += time.process_time() - began
        for batch in form_batches(decoded, BATCH):
            if isinstance(batch, Failure):
                sys.exit(f"{batch.image_id}: {batch.reason}")
            began = time.process_time()
            backend.detect(batch.pixels, [(one.height, one.width) for one in batch.pictures])
            detecting += time.process_time() - began
    return decoding, detecting


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=1536)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=".", prefix=".extraction-") as folder:
        root = Path(folder, "links")
        link_samples(root, arguments.pictures)
        image_ids = find_images(root)
        result = {
            "what": f"mini detector, samples repeated, batches of {BATCH}, a finished regions file",
            "machine": machine(),
            **{
                f"{processes} process{'es' * (processes > 1)}": with_mini_detector(root, image_ids, processes)
                for processes in dict.fromkeys((1, cores()))
            },
        }
    tell(result, arguments.out)


if __name__ == "__main__":
    main()
