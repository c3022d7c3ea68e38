"""Writing regions files so that no crash can spoil one: written aside, synced, then renamed.

A file that is being appended to does not survive a killed writer, so none ever is: pictures are
written as small sealed files (shards) and merged into one at the end.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from features.compression import Compression, chunked
from features.disk_file import DiskFile
from features.schema import (
    DTYPE,
    FORMAT,
    ROW_DATASETS,
    VERSION,
    Layout,
    Regions,
    StoreError,
    StoreMeta,
    canonical_json,
    check_regions,
    common_layout,
    dataset_types,
)
from features.store_file import AGAIN, OpenFiles, StoreFile, meta_of_all, whole_number

__all__ = ["merge_shards", "write_shard"]

_BLOCK_BYTES = 1 << 26
_LIBVER = "v110"  # HDF5's structures carry checksums from then on, and a spoilt one is refused
Blocks = Callable[[str], Iterator[np.ndarray]]


@dataclass(frozen=True, kw_only=True)
class _Index:
    image_ids: list[str]
    counts: list[int]  # regions a picture
    failed: Mapping[str, str]
    layout: Layout


def write_shard(
    path: Path,
    records: Sequence[Regions],
    meta: StoreMeta,
    failed: Mapping[str, str] | None = None,
    *,
    compression: Compression | None = None,
) -> None:
    """Write one sealed file; it appears under its name complete, or not at all.

    Args:
        path: Replaced where it exists.
        records: Pictures, in any order; they are written in the order of their ids.
        meta: Of all of them.
        failed: Picture id -> reason, for those that could not be used.
        compression: Of the feature vectors; None leaves them raw, which reads fastest.

    Raises:
        ValueError: A record that does not fit the schema or the others, an id that occurs twice, or a
            compression that is not installed.
        OSError: The disk; nothing is left under ``path``, nor beside it.
    """
    records = sorted(records, key=lambda regions: regions.image_id)
    for regions in records:
        try:
            check_regions(regions, meta.feature_dim, len(meta.vocabulary), len(meta.attribute_vocabulary))
        except ValueError as error:
            raise ValueError(f"{path}: picture {regions.image_id!r}: {error}") from error
    try:
        layout = common_layout({regions.layout: repr(regions.image_id) for regions in records})
    except StoreError as error:
        raise ValueError(f"{path}: {error}") from error
    index = _Index(
        image_ids=[regions.image_id for regions in records],
        counts=[len(regions.features) for regions in records],
        failed=failed or {},
        layout=layout,
    )
    if len(set(index.image_ids)) != len(records):
        raise ValueError(f"{path}: a picture id occurs twice")
    _seal(path, meta, index, lambda name: (_block_of(regions, name) for regions in records), compression)


def _block_of(regions: Regions, name: str) -> np.ndarray:
    if name == "image_sizes":
        return np.array([[regions.height, regions.width]], np.int32)
    if name == "image_sha256":
        return np.frombuffer(regions.image_sha256 or bytes(32), np.uint8)[None]
    if name == "num_proposals":
        return np.array([regions.num_proposals], np.int32)
    if name == "globals":
        assert regions.global_feature is not None  # noqa: S101  (it is among the datasets of the file)
        return regions.global_feature[None]
    return np.asarray(getattr(regions, name))


def merge_shards(shards: Sequence[Path], out: Path, *, compression: Compression | None = None) -> None:
    """Merge sealed files into one, sorted by picture id; streams, so memory stays flat.

    A picture that several files hold is taken from the first of them; a failure counts only where
    no file holds the picture.

    Args:
        shards: Sealed files of one fingerprint; ``out`` itself may be among them.
        out: Replaced only by the complete result.
        compression: Of the feature vectors of ``out``, whatever the shards have.

    Raises:
        StoreError: A file that cannot be trusted, whose checksums do not hold, of another fingerprint, or
            with other optional datasets than the rest.
        ValueError: A compression that is not installed.
        OSError: The disk; ``out`` is as it was.
    """
    if not shards:
        raise StoreError(f"{out}: there are no shards to merge")
    files = OpenFiles(shards)
    try:
        place, index = _plan_merge(files)
        meta = meta_of_all(files)

        def blocks(name: str) -> Iterator[np.ndarray]:
            for image_id in index.image_ids:
                number, row = place[image_id]
                yield files[number].block(name, row)

        _seal(out, meta, index, blocks, compression)
    finally:
        files.close()


def _plan_merge(files: OpenFiles) -> tuple[dict[str, tuple[int, int]], _Index]:
    """Where each picture is taken from (file, row), and what the result will hold."""
    first = files[0].meta
    place: dict[str, tuple[int, int]] = {}
    counts: dict[str, int] = {}
    failed: dict[str, str] = {}
    layouts: dict[Layout, Path] = {}
    for number in range(len(files)):
        file = files[number]
        if file.meta.fingerprint != first.fingerprint:
            raise StoreError(
                f"{file.path} and {files.paths[0]} were extracted differently (fingerprints "
                f"{file.meta.fingerprint[:12]} and {first.fingerprint[:12]}); they cannot be merged."
            )
        verify_checksums(file)
        failed.update(file.failed)
        if file.image_ids:
            layouts[file.layout] = file.path
        for row, image_id in enumerate(file.image_ids):
            if image_id not in place:
                place[image_id] = (number, row)
                counts[image_id] = file.count(row)
    layout = common_layout(layouts)
    order = sorted(place)
    return place, _Index(
        image_ids=order,
        counts=[counts[image_id] for image_id in order],
        failed={path: reason for path, reason in failed.items() if path not in place},
        layout=layout,
    )


def verify_checksums(file: StoreFile) -> None:
    """Prove that every dataset still has the bytes that were written.

    Raises:
        StoreError: Names the dataset that changed.
    """
    for _, change in changed_datasets(file):
        raise StoreError(f"{file.path}: {change}. {AGAIN}")


def changed_datasets(file: StoreFile) -> Iterator[tuple[str, str]]:
    """Datasets whose bytes are not those that were written: their names, and that in words."""
    with h5py.File(file.path, "r", locking=False) as handle:
        for name, rows in file.rows.items():
            found = 0
            try:
                for start in range(0, len(rows), step := _rows_a_block(rows)):
                    found = zlib.crc32(np.ascontiguousarray(rows[start : start + step]).data, found)
            except OSError:  # compressed bytes that cannot be decompressed any more
                found = 0
            wanted = whole_number(handle[name].attrs.get("crc32"))
            if found != wanted:
                yield name, _change(name, found, wanted)
        for name, texts in file.strings.items():
            attributes = handle[name].attrs
            if "crc32" not in attributes:  # files of the first releases have none
                continue
            found, wanted = _text_crc(texts), whole_number(attributes["crc32"])
            if found != wanted:
                yield name, _change(name, found, wanted)


def _change(name: str, found: int, wanted: int | None) -> str:
    written = "no number" if wanted is None else f"{wanted:08x}"
    return f"the bytes of {name} changed on disk (CRC-32 {found:08x}, written was {written})"


def _text_crc(texts: Sequence[str]) -> int:
    return zlib.crc32("\0".join(texts).encode("utf-8"))


def _rows_a_block(rows: np.ndarray | h5py.Dataset) -> int:
    width = int(np.prod(rows.shape[1:], dtype=np.int64)) * rows.dtype.itemsize
    return max(1, _BLOCK_BYTES // max(1, width))


def _seal(
    path: Path, meta: StoreMeta, index: _Index, blocks: Blocks, compression: Compression | None
) -> None:
    temporary = path.with_name(path.name + ".tmp")
    try:
        with DiskFile(temporary) as disk:

            def checked(name: str) -> Iterator[np.ndarray]:
                for block in blocks(name):
                    disk.check()  # a full disk ends the work now, not after the last picture
                    yield block

            with h5py.File(disk, "w", libver=_LIBVER) as file:
                _write(file, meta, index, checked, compression)
            disk.sync()
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync(path.parent)


def fsync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(
    file: h5py.File, meta: StoreMeta, index: _Index, blocks: Blocks, compression: Compression | None
) -> None:
    n_images, n_rows = len(index.image_ids), sum(index.counts)
    types = dataset_types(meta.feature_dim, index.layout)
    _write_strings(file, "image_ids", index.image_ids)
    _write_strings(file, "vocab/objects", meta.vocabulary)
    if "attribute_ids" in index.layout.optional:
        _write_strings(file, "vocab/attributes", meta.attribute_vocabulary)
    failed = sorted(index.failed)
    _write_strings(file, "failed/paths", failed)
    _write_strings(file, "failed/reasons", [index.failed[path] for path in failed])
    offsets = np.concatenate([[0], np.cumsum(index.counts, dtype=np.int64)]).astype("<i8")
    for name, (dtype, shape) in types.items():
        length = n_rows if name in ROW_DATASETS else n_images + (name == "offsets")
        storage = chunked(compression, (length, *shape)) if name == "features" else {}
        dataset = file.create_dataset(name, (length, *shape), dtype, **storage)  # contiguous: can be mapped
        stream = iter([offsets]) if name == "offsets" else blocks(name)
        start, checksum = 0, 0
        for block in _gathered(stream):
            dataset[start : start + len(block)] = block
            start += len(block)
            checksum = zlib.crc32(np.ascontiguousarray(block).data, checksum)
        dataset.attrs["crc32"] = np.uint32(checksum)
    file.attrs.update(
        {
            "format": FORMAT,
            "version": VERSION,
            "order": "score_desc",
            "dtype": DTYPE,
            "backend": meta.backend,
            "description": canonical_json(meta.description),
            "vocabulary_id": meta.vocabulary_id,
            "feature_dim": meta.feature_dim,
            "fingerprint": meta.fingerprint,
            "run": canonical_json(meta.run),
            "num_images": n_images,
            "num_regions": n_rows,
            "num_failed": len(failed),
        }
    )
    file.attrs["complete"] = 1


def _write_strings(file: h5py.File, name: str, texts: Sequence[str]) -> None:
    dataset = file.create_dataset(name, (len(texts),), h5py.string_dtype("utf-8"), data=list(texts) or None)
    dataset.attrs["crc32"] = np.uint32(_text_crc(texts))


def _gathered(blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Small blocks joined to large ones, so that HDF5 is called seldom."""
    waiting: list[np.ndarray] = []
    size = 0
    for block in blocks:
        waiting.append(block)
        size += block.nbytes
        if size >= _BLOCK_BYTES:
            yield np.concatenate(waiting)
            waiting, size = [], 0
    if waiting:
        yield np.concatenate(waiting)
