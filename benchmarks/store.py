"""Reading regions files: against bare ``np.memmap``s, raw against zstd, in worker processes.

    OMP_NUM_THREADS=1 python -m benchmarks.store --out benchmarks/results/store.json

The bare read copies the rows of a picture (features, boxes, geometry, classes, scores) out of one
``np.memmap`` a dataset; the reader does that too, looks the picture up by its name, and adds size and
digest. Beside it stands a bare read of the features alone. Pictures are read in random order from the page
cache; readers take turns, and each counts with its best round. Vectors are synthetic (half of the numbers
zero, as after a ReLU) and, for compression, also real: the sample pictures by the mini detector.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from torch.utils.data import DataLoader, Dataset

from benchmarks.machine import machine
from benchmarks.results import tell
from features.extractor import RegionExtractor
from features.images import scan_images
from features.schema import Regions, StoreMeta, box_geometry
from features.store import RegionStore, merge_shards, write_shard

N_REGIONS, DIM = 36, 2048
ROUNDS = 7
SAMPLES = Path("examples/images")


def synthetic(n_pictures: int) -> tuple[list[Regions], StoreMeta]:
    """Pictures of 36 regions with 2,048 numbers each; 200 different ones."""
    random = np.random.default_rng(0)
    vectors = np.maximum(random.standard_normal((200, N_REGIONS, DIM), np.float32), 0).astype(np.float16)
    corners = np.sort(random.random((N_REGIONS, 2, 2), np.float32), axis=1).reshape(N_REGIONS, 4) * 400
    record: dict[str, Any] = {
        "width": 400,
        "height": 400,
        "boxes": corners,
        "geometry": box_geometry(corners, 400, 400),
        "object_ids": np.arange(N_REGIONS, dtype=np.int32),
        "object_scores": np.linspace(0.9, 0.2, N_REGIONS, dtype=np.float32),
    }
    pictures = [
        Regions(image_id=f"{number:06}.jpg", features=vectors[number % len(vectors)], **record)
        for number in range(n_pictures)
    ]
    meta = StoreMeta(
        backend="synthetic",
        description={},
        vocabulary=tuple(f"thing {number}" for number in range(N_REGIONS)),
        vocabulary_id="synthetic",
        feature_dim=DIM,
    )
    return pictures, meta


def real() -> tuple[list[Regions], StoreMeta]:
    """The sample pictures by the mini detector."""
    extractor = RegionExtractor("mini", device="cpu")
    names = scan_images(SAMPLES).image_ids
    found = [regions for regions in extractor.extract([Path(name) for name in names], SAMPLES)]
    return [regions for regions in found if isinstance(regions, Regions)], extractor.meta()


def rate(n_pictures: int, read: Callable[[], None]) -> float:
    """Pictures a second of one round."""
    start = time.perf_counter()
    read()
    return n_pictures / (time.perf_counter() - start)


def against_memmap(path: Path) -> dict[str, Any]:
    """Both readers in turn over the same random order."""
    store = RegionStore(path)
    names = store.image_ids
    order = np.random.default_rng(1).permutation(len(names)).tolist()
    with h5py.File(path) as file:
        maps = [
            np.memmap(path, file[name].dtype, "r", offset=file[name].id.get_offset(), shape=file[name].shape)
            for name in ("features", "boxes", "geometry", "object_ids", "object_scores")
        ]
        offsets = file["offsets"][...].tolist()

    def bare() -> None:
        for picture in order:
            start, stop = offsets[picture], offsets[picture + 1]
            for rows in maps:
                np.array(rows[start:stop])

    def bare_features() -> None:
        for picture in order:
            np.array(maps[0][offsets[picture] : offsets[picture + 1]])

    def ours() -> None:
        for picture in order:
            store.regions(names[picture])

    readers = {"memmap": bare, "memmap_features_only": bare_features, "ours": ours}
    rates: dict[str, list[float]] = {name: [] for name in readers}
    for _ in range(ROUNDS):
        for name, read in readers.items():
            rates[name].append(rate(len(order), read))
    best = {name: max(values) for name, values in rates.items()}
    return {
        "pictures_per_second": {name: round(value) for name, value in best.items()},
        "ratio_same_rows": round(best["ours"] / best["memmap"], 3),
        "ratio_features_only": round(best["ours"] / best["memmap_features_only"], 3),
    }


def compression(pictures: list[Regions], meta: StoreMeta, folder: Path) -> dict[str, Any]:
    """Size, and rates of writing and of reading in random order, raw and zstd."""
    found: dict[str, Any] = {}
    for name in ("raw", "zstd"):
        path = folder / f"{meta.backend}-{name}.h5"
        start = time.perf_counter()
        write_shard(path, pictures, meta, compression="zstd" if name == "zstd" else None)
        seconds = time.perf_counter() - start
        store = RegionStore(path)
        order = np.random.default_rng(1).permutation(store.image_ids).tolist()

        def read(store: RegionStore = store, order: list[str] = order) -> None:
            for image_id in order:
                store.regions(image_id)

        found[name] = {
            "megabytes": round(path.stat().st_size / 1e6, 2),
            "written_pictures_per_second": round(len(pictures) / seconds),
            "read_pictures_per_second": round(max(rate(len(order), read) for _ in range(3))),
        }
        store.close()
    vectors = np.concatenate([regions.features for regions in pictures])
    return {
        "pictures": len(pictures),
        "regions": len(vectors),
        "width": meta.feature_dim,
        "zeros": round(float((vectors == 0).mean()), 3),
        **found,
        "size_ratio": round(found["zstd"]["megabytes"] / found["raw"]["megabytes"], 3),
    }


class Sums(Dataset[float]):
    """What a training dataset does: looks pictures up in its own process."""

    def __init__(self, path: Path) -> None:
        self.store = RegionStore(path)
        self.names = self.store.image_ids

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> float:
        regions = self.store.regions(self.names[index])
        return float(regions.features.astype(np.float64).sum() + regions.boxes.sum())


def workers_read_the_same(path: Path) -> bool:
    """Whether two workers of a DataLoader read what this process reads, from a store that is open already."""
    dataset = Sums(path)
    here = [dataset[index] for index in range(len(dataset))]
    return list(DataLoader(dataset, batch_size=None, num_workers=2)) == here


def main() -> None:
    """Measure everything, print and write it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path)
    parser.add_argument("--pictures", type=int, default=4000, help="synthetic ones; 147 kB each")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pictures, meta = synthetic(arguments.pictures)
        path = folder / "raw.h5"
        write_shard(path, pictures, meta)
        samples, samples_meta = real()
        result = {
            "what": f"{len(pictures)} pictures x {N_REGIONS} regions x {DIM} float16, page cache",
            "command": "OMP_NUM_THREADS=1 python -m benchmarks.store",
            "machine": machine(),
            "reader": against_memmap(path),
            "zstd_on_synthetic_vectors": compression(pictures[:1000], meta, folder),
            "zstd_on_real_vectors": compression(samples, samples_meta, folder),
            "two_workers_read_the_same": workers_read_the_same(path),
        }
        merge_shards([path], folder / "zstd.h5", compression="zstd")
        result["two_workers_read_the_same_of_zstd"] = workers_read_the_same(folder / "zstd.h5")
    tell(result, arguments.out)


if __name__ == "__main__":
    main()
