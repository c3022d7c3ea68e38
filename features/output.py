"""The output of an extraction: what is already there, what is added, and the merge at the end.

``regions.h5`` is being made in ``regions.h5.parts``, a folder of sealed files. Every run looks at both
first, so an extraction that was interrupted goes on where it stopped. The pictures of an extraction are cut,
in their order, into windows of one size; a sealed file is called after the window its pictures are of, and
each window belongs to one shard of the extraction. So shards that work side by side never write the same
file, and which of them removes what a killed writer left behind is settled too.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from features.compression import Compression
from features.locks import OutputError, Shard, door, parts_folder, remove_if_empty
from features.schema import Layout, Regions, StoreError, StoreMeta
from features.shards import fsync, merge_shards, write_shard
from features.store_file import StoreFile, is_regions_file

__all__ = ["Output", "ShardWriter", "delete_output"]

_SHARD = re.compile(r"shard-(\d{5,})(-\d+)?\.h5(\.tmp)?")


@dataclass
class Output:
    """A regions file in the making.

    Attributes:
        path: The regions file.
        meta: Of this run.
        shard: Which share of it this process writes.
        done: Pictures whose regions are sealed.
        failed: Pictures recorded as unusable -> reason.
        merged: Of both, those that the regions file itself holds already.
        layout: What of the optional datasets its pictures have; None where there are none yet.
        shards: Sealed files not yet merged.
        notes: What a user should hear about what was found.
    """

    path: Path
    meta: StoreMeta
    shard: Shard
    done: set[str]
    failed: dict[str, str]
    merged: set[str]
    shards: list[Path]
    notes: list[str]
    layout: Layout | None = None

    @property
    def parts(self) -> Path:
        """Folder of the sealed files."""
        return parts_folder(self.path)

    @staticmethod
    def open(
        path: Path,
        meta: StoreMeta,
        *,
        overwrite: bool = False,
        shard: Shard | None = None,
        repair: bool = True,
    ) -> Output:
        """Look at what is there.

        Args:
            path: The regions file.
            meta: Of this run; what is there must have its fingerprint.
            overwrite: Delete what is there instead.
            shard: Share of the caller, who holds its lock; all by default.
            repair: Delete what a killed writer left of the share.

        Raises:
            OutputError: It was extracted differently, or is no regions file (which ``overwrite`` keeps too).
        """
        output = Output(path, meta, shard or Shard(), set(), {}, set(), [], [])
        if overwrite:
            delete_output(path)
        output._look(repair=repair)
        return output

    def _look(self, *, repair: bool) -> None:
        self.done, self.failed, self.shards = set(), {}, []
        if self.path.exists():
            try:
                self._take(StoreFile(self.path))
            except StoreError as error:
                if is_regions_file(self.path):
                    raise OutputError(str(error)) from error
                raise OutputError(f"{error} Nothing was changed: name another output.") from error
        self.merged = self.done | self.failed.keys()
        for shard in _sealed_files(self.parts):
            ours = repair and self.shard.owns(_window_of(shard))
            if shard.suffix == ".tmp":  # its writer was killed, or is another shard and still at it
                if ours:
                    shard.unlink()
                continue
            try:
                self._take(StoreFile(shard))
            except StoreError as error:
                if ours:
                    self.notes.append(f"{error} It is deleted, and its pictures are extracted again.")
                    shard.unlink()
                continue
            self.shards.append(shard)
        self.failed = {name: why for name, why in self.failed.items() if name not in self.done}

    def _take(self, file: StoreFile) -> None:
        try:
            if file.meta.fingerprint != self.meta.fingerprint:
                raise OutputError(
                    f"{file.path} was extracted differently: {differences(file.meta, self.meta)}. "
                    "Use the same settings, name another output, or start over with --overwrite."
                )
            self.done.update(file.image_ids)
            if file.image_ids:
                self.layout = file.layout
            self.failed.update(file.failed)
        finally:
            file.close()

    def next_shard(self, window: int | None = None) -> Path:
        """A name for one more sealed file.

        Args:
            window: Whose pictures it will hold; by default it gets the next free number.
        """
        self.parts.mkdir(parents=True, exist_ok=True)
        if window is None:
            window = max(map(_window_of, self.shards), default=-1) + 1
        taken = {shard.name for shard in self.shards}
        names = (f"shard-{window:05d}{f'-{again}' if again else ''}.h5" for again in count())
        return self.parts / next(name for name in names if name not in taken)

    def check_layout(self, regions: Regions) -> None:
        """Raises OutputError where pictures have other optional datasets than those that are there."""
        if self.layout is not None and regions.layout != self.layout:
            raise OutputError(
                f"{self.path} holds pictures with {self.layout}, these have {regions.layout}. Use the same "
                "--attributes and --class_topk, choose another --out, or start over with --overwrite."
            )

    def finish(self, wanted: Collection[str] = (), *, compression: Compression | None = None) -> bool:
        """Merge file and sealed files into the file, then remove them, if nothing is missing.

        Of several shards that end together one merges, while the others wait.

        Args:
            wanted: Pictures of all shards; those that are neither extracted nor failed are missing.
            compression: Of the feature vectors of the file.

        Returns:
            Whether the file is complete.

        Raises:
            StoreError: A sealed file whose bytes changed on disk.
            OSError: The disk; nothing that was sealed is lost.
        """
        with door(self.path):
            if self.shard.count > 1:  # others have written too
                self._look(repair=False)
                if any(name not in self.done and name not in self.failed for name in wanted):
                    return False
            if self.shards:
                present = [self.path] if self.path.exists() else []
                merge_shards([*present, *self.shards], self.path, compression=compression)
                for shard in self.shards:
                    shard.unlink()
                self.shards.clear()
            remove_if_empty(self.parts)
            fsync(self.path.parent)
        return True


def delete_output(path: Path) -> None:
    """Delete a regions file and what it was being made from; the caller holds its lock.

    Raises:
        OutputError: What is there is something else, or so damaged that this cannot be told.
    """
    if path.exists() and not is_regions_file(path):
        raise OutputError(
            f"{path} is no regions file, or too damaged to tell, and is not deleted: name another output, or "
            "delete it yourself."
        )
    path.unlink(missing_ok=True)
    for shard in _sealed_files(parts_folder(path)):
        shard.unlink()


def _sealed_files(parts: Path) -> list[Path]:
    """And those that are being written."""
    if not parts.is_dir():
        return []
    return sorted(path for path in parts.iterdir() if _SHARD.fullmatch(path.name))


def _window_of(shard: Path) -> int:
    match = _SHARD.fullmatch(shard.name)
    assert match is not None  # noqa: S101  (found by this pattern)
    return int(match[1])


def differences(found: StoreMeta, wanted: StoreMeta) -> str:
    """What sets two extractions apart, in words."""
    if found.backend != wanted.backend:
        return f"by the back end {found.backend!r}, this run uses {wanted.backend!r}"
    changed = [
        f"{key} {_short(before)} (now {_short(now)})"
        for key, before, now in _changed(found.description, wanted.description)
    ]
    return "with " + ", ".join(changed or ["another class vocabulary"])


def _changed(
    found: Mapping[str, Any], wanted: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """Fields that differ, those of nested ones by dotted names: name, what was found, what is wanted."""
    for key in sorted(found.keys() | wanted.keys()):
        before, now = found.get(key), wanted.get(key)
        if isinstance(before, Mapping) and isinstance(now, Mapping):
            yield from _changed(before, now, f"{prefix}{key}.")
        elif before != now:
            yield f"{prefix}{key}", before, now


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 100 else f"{text[:97]}…"


class ShardWriter:
    """Seals files in a thread, one at a time, while the detector goes on."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="shard-writer")
        self._pending: Future[None] | None = None

    def write(self, records: list[Regions], failed: dict[str, str], window: int | None = None) -> None:
        """Hand over what one file shall hold; waits for the one before, and raises what that one met."""
        self.wait()
        if not records and not failed:
            return
        path = self._output.next_shard(window)
        self._pending = self._pool.submit(write_shard, path, records, self._output.meta, failed)
        self._output.shards.append(path)

    def wait(self) -> None:
        """Until everything handed over is sealed.

        Raises:
            OSError: The disk.
        """
        if self._pending is not None:
            pending, self._pending = self._pending, None
            try:
                pending.result()
            except BaseException:
                self._output.shards.pop()
                raise

    def close(self) -> None:
        """End the thread."""
        self._pool.shutdown()
