"""Regions files: reading them by picture (numpy and h5py, no torch).

The schema and the record of a picture are in ``features.schema``, writing in ``features.shards``;
both are offered here too, so that a user of regions files imports this module alone.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any

import numpy as np

from features.schema import (
    GLOBAL_GEOMETRY,
    IMPORTED,
    Layout,
    Regions,
    StoreError,
    StoreMeta,
    box_geometry,
    check_regions,
    common_layout,
)
from features.shards import merge_shards, write_shard
from features.store_file import OpenFiles, meta_of_all

__all__ = [
    "GLOBAL_GEOMETRY",
    "IMPORTED",
    "RegionStore",
    "Regions",
    "StoreError",
    "StoreMeta",
    "box_geometry",
    "check_regions",
    "merge_shards",
    "write_shard",
]


@dataclass(kw_only=True)
class _Opened:
    """What one process has open, and what all files say together."""

    process: int
    files: OpenFiles
    meta: StoreMeta
    attributes: dict[str, Any]
    place: dict[str, tuple[int, int]]  # picture id -> file, row
    failed: dict[str, str]
    layout: Layout
    aliases: dict[str, str | None] | None = None  # shorter name -> picture id; None where several share it


class RegionStore:
    """Regions by picture id, from a regions file or from a folder of sealed shards.

    Only the path and ``expect`` travel when it is pickled; each process opens the file itself, on first use.
    A picture may also be asked for by its bare name, or without suffix, where one picture only has it.

    Args:
        path: ``regions.h5``, or the ``regions.h5.parts`` of an extraction that is not finished.
        expect: What must be true of the detector, by the names of this class (``fingerprint``,
            ``feature_dim``, ``backend``, ``vocabulary_id``, ``has_globals``, ``layout``), so that nobody
            reads vectors of another one.

    Raises:
        StoreError: Nothing is there; on first use, that the file cannot be trusted, or is not as expected.
    """

    def __init__(self, path: str | Path, expect: Mapping[str, Any] | None = None) -> None:
        self.path = Path(path)
        self.expect = dict(expect or {})
        self._opened: _Opened | None = None
        if not self.path.exists():
            parts = self.path.with_name(self.path.name + ".parts")
            raise StoreError(
                f"{self.path}: no such regions file. "
                + (
                    f"Its extraction is not finished: run it again, or read {parts} as it is."
                    if parts.is_dir()
                    else "Make one with `python -m features.extract --images DIR`."
                )
            )

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "expect": self.expect, "_opened": None}

    def __enter__(self) -> RegionStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of what this process has open; the next look-up opens it again."""
        if self._opened is not None and self._opened.process == os.getpid():
            self._opened.files.close()
        self._opened = None

    def _open(self) -> _Opened:
        if self._opened is None or self._opened.process != os.getpid():  # h5py handles do not survive a fork
            self._opened = _open_files(self.path)
            self._check_expected()
        return self._opened

    def _check_expected(self) -> None:
        found = {name: getattr(self, name) for name in self.expect}
        wrong = [
            f"{name} {value!r}, not {self.expect[name]!r}"
            for name, value in found.items()
            if value != self.expect[name]
        ]
        if wrong:
            self.close()
            raise StoreError(
                f"{self.path}: regions of another detector than expected: {'; '.join(wrong)}. "
                "Extract again with the expected one."
            )

    def __len__(self) -> int:
        return len(self._open().place)

    @property
    def image_ids(self) -> list[str]:
        """Sorted picture ids."""
        return sorted(self._open().place)

    def __contains__(self, image_id: str) -> bool:
        return image_id in self._open().place or self._alias(image_id) is not None

    def _alias(self, name: str) -> str | None:
        opened = self._open()
        if opened.aliases is None:
            opened.aliases = _aliases(opened.place)
        return opened.aliases.get(name)

    def regions(self, image_id: str) -> Regions:
        """Copy one picture's regions out of the file.

        Raises:
            StoreError: No picture has this id, or several have this bare name.
        """
        number, row = self._place(image_id)
        return self._open().files[number].regions(row)

    def objects(self, image_id: str) -> tuple[np.ndarray, np.ndarray]:
        """Classes and scores of one picture's regions, (R,) each; raises as `regions` does.

        Their vectors, nearly all of a file's bytes, are not touched.
        """
        number, row = self._place(image_id)
        file = self._open().files[number]
        return file.block("object_ids", row), file.block("object_scores", row)

    def digest(self) -> str:
        """SHA-256 of the pictures: their ids, digests of their files, what their regions show.

        It is that of the pictures, not of the files that hold them: shards and what is merged from them have
        the same. Vectors, nearly all of a file's bytes, are not touched; a detector that made others made
        other scores.
        """
        opened, found = self._open(), hashlib.sha256()
        for image_id in self.image_ids:
            number, row = opened.place[image_id]
            file = opened.files[number]
            found.update(json.dumps(image_id).encode())
            for name in ("image_sha256", "object_ids", "object_scores"):
                found.update(file.block(name, row).tobytes())
        return found.hexdigest()

    def _place(self, image_id: str) -> tuple[int, int]:
        opened = self._open()
        found = opened.place.get(image_id)
        if found is None:
            full = self._alias(image_id)
            if full is None:
                raise StoreError(self._explain_missing(image_id))
            found = opened.place[full]
        return found

    def _explain_missing(self, image_id: str) -> str:
        opened = self._open()
        if reason := self.failed.get(image_id):
            return f"{self.path}: picture {image_id!r} could not be used when it was extracted: {reason}"
        if opened.aliases and image_id in opened.aliases:
            return f"{self.path}: several pictures are called {image_id!r}; give the path inside the folder"
        example = next(iter(opened.place), None)
        held = f"{len(opened.place)} pictures" + (f", such as {example!r}" if example else "")
        return f"{self.path}: has no picture {image_id!r}; it holds {held}"

    @property
    def meta(self) -> StoreMeta:
        """What is true of every picture."""
        return self._open().meta

    @property
    def feature_dim(self) -> int:
        """D, width of an appearance vector."""
        return self.meta.feature_dim

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """English class names; object id i is ``vocabulary[i]``."""
        return self.meta.vocabulary

    @property
    def vocabulary_id(self) -> str:
        """Names the class list and its lexicon."""
        return self.meta.vocabulary_id

    @property
    def backend(self) -> str:
        """The detector's name."""
        return self.meta.backend

    @property
    def fingerprint(self) -> str:
        """Of all that changes the numbers."""
        return self.meta.fingerprint

    @property
    def has_globals(self) -> bool:
        """Whether pictures carry a vector of the whole picture."""
        return "globals" in self.layout.optional

    @property
    def layout(self) -> Layout:
        """What of the optional datasets pictures have."""
        return self._open().layout

    @property
    def attribute_vocabulary(self) -> tuple[str, ...]:
        """English attribute names; empty where regions carry no attributes."""
        return self.meta.attribute_vocabulary

    @property
    def attributes(self) -> dict[str, Any]:
        """Root attributes, JSON decoded; of a folder, those of its first shard with the counts of all."""
        return dict(self._open().attributes)

    @property
    def failed(self) -> dict[str, str]:
        """Pictures that could not be used -> reason."""
        return dict(self._open().failed)


def _open_files(path: Path) -> _Opened:
    paths = sorted(path.glob("*.h5")) if path.is_dir() else [path]
    if not paths:
        raise StoreError(
            f"{path}: a folder without sealed shards (*.h5). Name a regions file, or extract again."
        )
    files = OpenFiles(paths)
    first = files[0]
    place: dict[str, tuple[int, int]] = {}
    failed: dict[str, str] = {}
    layouts: dict[Layout, Path] = {}
    n_regions = 0
    for number in range(len(files)):
        file = files[number]
        if file.meta.fingerprint != first.meta.fingerprint:
            raise StoreError(
                f"{path}: {file.path.name} and {first.path.name} were extracted differently "
                f"({file.meta.backend} and {first.meta.backend}); remove the ones you do not want."
            )
        failed.update(file.failed)
        if file.image_ids:
            layouts[file.layout] = file.path
        n_regions += file.attributes["num_regions"]
        for row, image_id in enumerate(file.image_ids):
            place.setdefault(image_id, (number, row))
    failed = {name: reason for name, reason in failed.items() if name not in place}
    counts = {"num_images": len(place), "num_regions": n_regions, "num_failed": len(failed)}
    return _Opened(
        process=os.getpid(),
        files=files,
        meta=meta_of_all(files),
        attributes={**first.attributes, **counts},
        place=place,
        failed=failed,
        layout=common_layout(layouts),
    )


def _aliases(place: dict[str, tuple[int, int]]) -> dict[str, str | None]:
    """Bare names and names without suffix -> picture id, None where several pictures share one."""
    found: dict[str, str | None] = {}
    for image_id in place:
        path = PurePosixPath(image_id)
        for alias in {path.name, path.stem, str(path.with_suffix(""))} - {image_id}:
            found[alias] = None if alias in found else image_id
    return found
