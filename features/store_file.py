"""One sealed regions file, proved before it is used (numpy and h5py, no torch)."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from features.compression import missing_filter
from features.schema import (
    FORMAT,
    IMAGE_DATASETS,
    OPTIONAL_DATASETS,
    PAIRS,
    ROW_DATASETS,
    VERSION,
    Layout,
    Regions,
    StoreError,
    StoreMeta,
    dataset_types,
)

__all__ = ["OpenFiles", "StoreFile", "is_regions_file", "meta_of_all", "whole_number"]

_NO_DIGEST = bytes(32)
AGAIN = "Copy the file again, or delete it and run the command that made it again."
"""What helps when a file cannot be trusted: a regions file, or a part of an unfinished one."""


def is_regions_file(path: Path) -> bool:
    """Whether a file says in its head that it is a regions file, finished or not, of any version."""
    try:
        with h5py.File(path, "r", locking=False) as file:
            return bool(_plain(file.attrs.get("format")) == FORMAT)
    except (OSError, KeyError, RuntimeError, ValueError, TypeError):  # no HDF5, or its structure is damaged
        return False


class StoreFile:
    """Rows of one file as arrays: memory-mapped where they are contiguous, else read through h5py.

    Everything is checked on opening: the seal, the datasets, their shapes and that the file is as long
    as they say. Holds operating-system handles: one object a process.

    Raises:
        StoreError: The file cannot be trusted.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: h5py.File | None = None
        self.rows: dict[str, Any] = {}  # dataset name -> array or h5py dataset
        self.per_region: list[tuple[str, Any]] = []  # of rows, those that a picture has several of
        self.strings: dict[str, list[str]] = {}
        try:
            self._file = h5py.File(path, "r", locking=False)  # sealed files never change
            self._read_head(self._file)
            self._read_datasets(self._file)
        except StoreError:
            self.close()
            raise
        except (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError) as error:
            self.close()
            raise StoreError(self._explain_unreadable(error)) from error
        if all(isinstance(rows, np.ndarray) for rows in self.rows.values()):
            self._close_hdf5()  # memory maps outlive it, and they survive a fork

    def _refuse(self, reason: str, dataset: str | None = None) -> None:
        """What is done about a file that cannot be trusted; ``features.verification`` goes on instead."""
        raise StoreError(reason)

    def close(self) -> None:
        """Let go of the file; its rows cannot be read any more."""
        self.rows = {}
        self.per_region = []
        self._close_hdf5()

    def _close_hdf5(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _explain_unreadable(self, error: Exception) -> str:
        if not self.path.is_file():
            return f"{self.path}: no such regions file. Make one with `python -m features.extract`."
        size = self.path.stat().st_size
        if not h5py.is_hdf5(self.path):
            return (
                f"{self.path}: not HDF5 ({size} bytes); wanted is a regions file, as `python -m "
                "features.extract` writes it. Name another file, or copy this one again."
            )
        return (
            f"{self.path}: broken or truncated HDF5 ({size} bytes; {error}); wanted is a sealed file. {AGAIN}"
        )

    def _read_head(self, file: h5py.File) -> None:
        attributes = {name: _plain(value) for name, value in file.attrs.items()}
        found = attributes.get("format")
        if found != FORMAT:
            names = ", ".join(sorted(file)[:5]) or "nothing"
            raise StoreError(
                f"{self.path}: HDF5, but no regions file: it holds {names}; wanted is format "
                f"{FORMAT!r}, as `python -m features.extract` writes it."
            )
        if attributes.get("version") != VERSION:
            raise StoreError(
                f"{self.path}: {FORMAT} version {attributes.get('version')}; this program reads version "
                f"{VERSION}. Use the release that wrote the file, or delete it and extract again."
            )
        if attributes.get("complete") != 1:
            self._refuse(f"{self.path}: was never finished (no complete = 1). {AGAIN}")
        for name in ("description", "run"):
            attributes[name] = json.loads(attributes[name])
        self.attributes = attributes
        self.names = list(file)
        present = {name for name in OPTIONAL_DATASETS if name in file}
        present.update(name for pair in PAIRS if present.intersection(pair) for name in pair)
        self.layout = Layout(
            optional=tuple(name for name in OPTIONAL_DATASETS if name in present),
            class_topk=self._dataset(file, "class_ids").shape[-1] if "class_ids" in present else 0,
        )
        self.meta = StoreMeta(
            backend=attributes["backend"],
            description=attributes["description"],
            vocabulary=tuple(self._strings(file, "vocab/objects")),
            vocabulary_id=attributes["vocabulary_id"],
            feature_dim=int(attributes["feature_dim"]),
            attribute_vocabulary=(
                tuple(self._strings(file, "vocab/attributes")) if "attribute_ids" in present else ()
            ),
            run=attributes["run"],
        )
        if attributes["fingerprint"] != self.meta.fingerprint:
            self._refuse(f"{self.path}: its attributes were changed after it was written. {AGAIN}")

    def _read_datasets(self, file: h5py.File) -> None:
        self.image_ids = self._strings(file, "image_ids")
        paths, reasons = self._strings(file, "failed/paths"), self._strings(file, "failed/reasons")
        self.failed = dict(zip(paths, reasons, strict=True))
        n_images = len(self.image_ids)
        n_rows = whole_number(self.attributes["num_regions"])
        if n_rows is None:
            raise StoreError(f"{self.path}: num_regions is {self.attributes['num_regions']!r}. {AGAIN}")
        whole = np.asarray(np.memmap(self.path, np.uint8, mode="r"))
        for name, (dtype, shape) in dataset_types(self.meta.feature_dim, self.layout).items():
            length = n_rows if name in ROW_DATASETS else n_images + (name == "offsets")
            try:
                self.rows[name] = self._rows(file, name, dtype, (length, *shape), whole)
            except StoreError as error:
                self._refuse(str(error), name)
        # What a picture's record takes of each row dataset; looked up once, because reading is measured in µs
        self.per_region = [(name, self.rows[name]) for name in ROW_DATASETS if name in self.rows]
        self.offsets = np.array(self.rows["offsets"])  # (M + 1,)
        self._starts = (
            self.offsets.data
        )  # a memoryview, which gives Python numbers, faster than an array does
        self._sizes = np.array(self.rows["image_sizes"]).data  # (M, 2)
        steps = np.diff(self.offsets)
        if self.offsets[0] != 0 or self.offsets[-1] != n_rows or (steps < 0).any():
            raise StoreError(
                f"{self.path}: offsets run from {self.offsets[0]} to {self.offsets[-1]}"
                f"{' and fall in between' if (steps < 0).any() else ''}; wanted is 0 to {n_rows}. {AGAIN}"
            )

    def _dataset(self, file: h5py.File, name: str) -> h5py.Dataset:
        *groups, last = name.split("/")
        place: Any = file
        for part in [*groups, last]:  # hard links only: others may lead to another file
            link = place.get(part, getlink=True) if isinstance(place, h5py.Group) else None
            if not isinstance(link, h5py.HardLink):
                raise StoreError(f"{self.path}: dataset {name!r} is missing. {AGAIN}")
            place = place[part]
        if not isinstance(place, h5py.Dataset) or place.external or place.is_virtual:
            raise StoreError(f"{self.path}: {name!r} is not a dataset stored in this file. {AGAIN}")
        return place

    def _strings(self, file: h5py.File, name: str) -> list[str]:
        self.strings[name] = [str(text) for text in self._dataset(file, name).asstr()[...]]
        return self.strings[name]

    def _rows(
        self, file: h5py.File, name: str, dtype: np.dtype[Any], shape: tuple[int, ...], whole: np.ndarray
    ) -> np.ndarray | h5py.Dataset:
        dataset = self._dataset(file, name)
        if dataset.dtype != dtype or dataset.shape != shape:
            raise StoreError(
                f"{self.path}: {name} is {dataset.dtype} {dataset.shape}, wanted is {dtype} {shape}. {AGAIN}"
            )
        if dataset.size == 0:
            return np.empty(shape, dtype)
        offset = dataset.id.get_offset()  # None where it is chunked (compressed)
        if offset is None:
            if reason := missing_filter(dataset):
                raise StoreError(f"{self.path}: {name} cannot be decompressed: {reason}")
            return dataset
        end = offset + dataset.nbytes
        if end > len(whole):
            raise StoreError(
                f"{self.path}: truncated: {name} ends at byte {end}, the file at {len(whole)}. {AGAIN}"
            )
        return whole[offset:end].view(dtype).reshape(shape)

    def regions(self, row: int) -> Regions:
        """Copy one picture's regions out of the file.

        Args:
            row: Of the picture, in ``image_ids``.

        Raises:
            StoreError: Compressed vectors that cannot be decompressed.
        """
        own = slice(self._starts[row], self._starts[row + 1])
        digest = self.rows["image_sha256"][row].tobytes()
        fields: dict[str, Any] = {
            "image_id": self.image_ids[row],
            "height": self._sizes[row, 0],
            "width": self._sizes[row, 1],
            "image_sha256": digest if digest != _NO_DIGEST else None,
        }
        try:
            for name, rows in self.per_region:
                fields[name] = rows[own].copy()
        except OSError as error:
            raise StoreError(
                f"{self.path}: {fields['image_id']!r} is unreadable ({error}). {AGAIN}"
            ) from error
        if "globals" in self.rows:
            fields["global_feature"] = self.rows["globals"][row].copy()
        if "num_proposals" in self.rows:
            fields["num_proposals"] = int(self.rows["num_proposals"][row])
        return Regions.of(fields)

    def block(self, name: str, row: int) -> np.ndarray:
        """What one picture owns of a dataset: its rows, or its own row with a first dimension of 1."""
        if name in IMAGE_DATASETS:
            return np.asarray(self.rows[name][row : row + 1])
        return np.asarray(self.rows[name][self.offsets[row] : self.offsets[row + 1]])

    def count(self, row: int) -> int:
        """Regions of one picture."""
        return int(self.offsets[row + 1] - self.offsets[row])


class OpenFiles:
    """Sealed files by number, a bounded number of them open at a time.

    A mapped file holds a descriptor, and a long extraction has more shards than a process may have of those.
    """

    def __init__(self, paths: Sequence[Path], limit: int = 128) -> None:
        self.paths = list(paths)
        self._limit = limit
        self._open: OrderedDict[int, StoreFile] = OrderedDict()  # least recently used first

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> StoreFile:
        """The file, opened (again) where need be.

        Raises:
            StoreError: It cannot be trusted.
        """
        file = self._open.get(number)
        if file is None:
            file = StoreFile(self.paths[number])
            if len(self._open) >= self._limit:
                self._open.popitem(last=False)[1].close()
            self._open[number] = file
        elif len(self.paths) > 1:
            self._open.move_to_end(number)
        return file

    def close(self) -> None:
        """Close what is open; a later look-up opens it again."""
        while self._open:
            self._open.popitem()[1].close()


def meta_of_all(files: OpenFiles) -> StoreMeta:
    """Of files of one extraction: the last one's, with the attribute names of one that has pictures."""
    metas = [files[number].meta for number in range(len(files))]
    names = next((meta.attribute_vocabulary for meta in metas if meta.attribute_vocabulary), ())
    return replace(metas[-1], attribute_vocabulary=names)


def whole_number(value: Any) -> int | None:
    """An HDF5 attribute that was written as a whole number; None where it is anything else."""
    return int(value) if isinstance(value, int | np.integer) else None


def _plain(value: Any) -> Any:
    """HDF5 attribute -> Python value."""
    return value.item() if isinstance(value, np.generic) else value
